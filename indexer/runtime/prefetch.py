"""Worker threads that read ahead of whoever uses what they read."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

Job = TypeVar("Job")
Event = TypeVar("Event")

TICK_S = 0.5  # how long to wait for an event before giving the user a turn


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Done:
    """One worker has no more to do."""


class ReadAhead(Generic[Job, Event]):
    """Calls ``read`` on jobs in a few threads; iterating gives their events.

    Events of one job come in order, those of several are mixed. At most ``depth`` wait to be
    used, so memory is bounded however much a job gives. None is given whenever nothing came for
    half a second. An exception of a worker is raised where the events are used. A context
    manager: leaving it stops the workers after the event each is at.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        read: Callable[[Job], Generator[Event, None, None]],
        *,
        workers: int,
        depth: int,
    ) -> None:
        self._jobs, self._read = iter(jobs), read
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        self._events: queue.Queue[Event | _Failure | _Done] = queue.Queue(max(depth, 1))
        self._threads = [threading.Thread(target=self._work) for _ in range(max(workers, 1))]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Event | None]:
        working = len(self._threads)
        while working:
            event = self._next()
            if isinstance(event, _Failure):
                raise event.error
            if isinstance(event, _Done):
                working -= 1
            else:
                yield event

    def _next(self) -> Event | _Failure | _Done | None:
        try:
            return self._events.get(timeout=TICK_S)
        except queue.Empty:
            return None

    def _work(self) -> None:
        try:
            while (job := self._take()) is not None and not self._stopped.is_set():
                self._pass_on(job)
            self._put(_Done())
        except BaseException as error:  # raised again in the thread of the user
            self._put(_Failure(error))

    def _take(self) -> Job | None:
        with self._taking:
            return next(self._jobs, None)

    def _pass_on(self, job: Job) -> None:
        with contextlib.closing(self._read(job)) as events:
            for event in events:
                if not self._put(event):
                    return

    def _put(self, event: Event | _Failure | _Done) -> bool:
        """Whether the event was taken before the work was stopped."""
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._events.put(event, timeout=TICK_S / 5)
                return True
        return False
