"""How long things take, for those who ask to be told."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Generator, Iterator
from typing import TypeVar

Event = TypeVar("Event")


@contextlib.contextmanager
def timed(logger: logging.Logger, what: str) -> Iterator[None]:
    """Log what was done and how long it took, once it is done."""
    start = time.perf_counter()
    yield
    logger.info("%s, %.2f s", what, time.perf_counter() - start)


class Stopwatch:
    """Sums up the time that a generator itself takes, whatever its consumer does in between."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def run(self, events: Generator[Event, None, None]) -> Generator[Event, None, None]:
        """Yield what the generator yields."""
        while True:
            start = time.perf_counter()
            try:
                event = next(events)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - start
            yield event
