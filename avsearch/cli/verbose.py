"""What modules log, as lines on standard error: ``--verbose``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from avsearch.cli.output import one_line

_PACKAGES = ("avsearch", "indexer", "trainer")


class _Lines(logging.Formatter):
    """A line a record: the seconds since the start, and what is said."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, whatever a file may be called."""
        said = one_line(record.getMessage())
        return f"avsearch: {record.relativeCreated / 1000:.2f} s: {said}"


def log_to_stderr(level: int) -> Callable[[], None]:
    """Write what is logged to standard error: at level 1 what is done, from 2 on everything.

    Returns what ends it.
    """
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
