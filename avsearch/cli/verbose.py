"""``--verbose``: log records of the modules as lines on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from avsearch.cli.output import one_line

_PACKAGES = ("avsearch", "indexer", "trainer")


class _Lines(logging.Formatter):
    """Formats a record as one line with the seconds since the start."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, whatever a file is called."""
        message = one_line(record.getMessage())
        return f"avsearch: {record.relativeCreated / 1000:.2f} s: {message}"


def log_to_stderr(level: int) -> Callable[[], None]:
    """Log to standard error, steps at level 1 and everything from 2, and return what ends it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO if level == 1 else logging.DEBUG)

    def end() -> None:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)

    return end
