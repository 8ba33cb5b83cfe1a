"""Prefetching by worker threads, in bounded memory."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, Self, TypeVar

Job = TypeVar("Job")
Event = TypeVar("Event")

TICK_S = 0.5  # seconds without an event after which None is yielded


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Done:
    """The end of one worker."""


class Prefetcher(Generic[Job, Event]):
    """Runs ``read`` on jobs in worker threads; iteration yields their events.

    Events of one job come in order, those of several jobs are mixed. None is yielded if nothing
    came for half a second. An exception of a worker is raised in the iteration. A context manager:
    leaving it stops the workers after their present event.

    Args:
        jobs: the jobs.
        read: yields the events of a job.
        workers: number of threads.
        depth: number of events that may wait, which bounds the memory.
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

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Event | None]:
        working = len(self._threads)
        while working:
            event: Event | _Failure | _Done | None = None
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=TICK_S)
            if isinstance(event, _Failure):
                raise event.error
            if isinstance(event, _Done):
                working -= 1
            else:
                yield event

    def _work(self) -> None:
        try:
            while (job := self._take()) is not None and not self._stopped.is_set():
                with contextlib.closing(self._read(job)) as events:
                    for event in events:
                        if not self._put(event):
                            break
            self._put(_Done())
        except BaseException as error:  # raised again in the iteration
            self._put(_Failure(error))

    def _take(self) -> Job | None:
        with self._taking:
            return next(self._jobs, None)

    def _put(self, event: Event | _Failure | _Done) -> bool:
        """Queue an event; return False if the work was stopped before."""
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._events.put(event, timeout=TICK_S / 5)
                return True
        return False
