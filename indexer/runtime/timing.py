"""Timing for the log."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Generator, Iterator
from typing import TypeVar

Event = TypeVar("Event")


@contextlib.contextmanager
def timed(logger: logging.Logger, what: str) -> Iterator[None]:
    """Log a task and its duration when it ends."""
    start = time.perf_counter()
    yield
    logger.info("%s, %.2f s", what, time.perf_counter() - start)


class Stopwatch:
    """Sums up the time spent in a generator, without that of its consumer."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def run(self, events: Generator[Event, None, None]) -> Generator[Event, None, None]:
        """Yield the events of a generator."""
        while True:
            start = time.perf_counter()
            try:
                event = next(events)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - start
            yield event
