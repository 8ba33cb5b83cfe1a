"""A pool with one thread a core, in each of which torch uses one core.

Several small tasks, one a core, take less time than one after another on all cores: torch's
helper threads busy-wait for each other at every layer, and when one of them yields to a decoder,
all of them wait.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from indexer.runtime import threads

Result = TypeVar("Result")
Argument = TypeVar("Argument")

_making = threading.Lock()


def on_one_core(work: Callable[..., Result], *arguments: object) -> Result:
    """Return the result of ``work``, run in a thread of the pool."""
    return _submit(work, *arguments).result()


def on_all_cores(work: Callable[[Argument], Result], arguments: Iterable[Argument]) -> list[Result]:
    """Return the results of ``work`` for each argument, in order, one core each.

    Must not be called from within such work.
    """
    return [future.result() for future in [_submit(work, argument) for argument in arguments]]


def torch_alone() -> None:
    """Let torch use one core in the calling thread."""
    import torch

    torch.get_num_threads()  # a thread's first call sets its number: call before setting it
    torch.set_num_threads(1)


def _submit(work: Callable[..., Result], *arguments: object) -> Future[Result]:
    with _making:
        pool = _torch_pool() if sys.modules.get("torch") else _pool()
    return pool.submit(work, *arguments)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Return a pool with a thread a core, used while torch is not loaded."""
    return ThreadPoolExecutor(threads.cores(), "core")


@functools.cache
def _torch_pool() -> ThreadPoolExecutor:
    """Return a pool with as many threads as torch uses by default."""
    import torch

    count = torch.get_num_threads()
    started = threading.Barrier(count + 1)

    def begin() -> None:
        torch_alone()
        with contextlib.suppress(threading.BrokenBarrierError):
            started.wait()

    pool = ThreadPoolExecutor(count, "core", initializer=begin)
    try:
        for _ in range(count):  # a task starts a new thread while none is idle
            pool.submit(int)
        started.wait()
    except BaseException:  # such as Ctrl-C: started threads would wait for the others for ever
        started.abort()
        raise
    torch.set_num_threads(count)  # new threads start with the number that was set last
    return pool


def _forget_pools() -> None:
    _pool.cache_clear()
    _torch_pool.cache_clear()


os.register_at_fork(after_in_child=_forget_pools)  # threads do not survive a fork
