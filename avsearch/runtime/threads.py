"""Threads that share the cores, each working alone, where torch is loaded too.

Several small pieces of work, one a core, take less time than one after the other with all cores
at each: torch's helper threads wait for each other busily at every layer, and while one of them
has to make way for a decoder, all of them wait.
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
    """What ``work`` gives, from a thread in which torch uses one core; waits for its turn."""
    return _submit(work, *arguments).result()


def on_all_cores(work: Callable[[Argument], Result], arguments: Iterable[Argument]) -> list[Result]:
    """What ``work`` gives for each argument, in order, one core at each.

    Must not be called from within such work.
    """
    return [future.result() for future in [_submit(work, argument) for argument in arguments]]


def torch_alone() -> None:
    """Let torch use one core in the thread that calls this."""
    import torch

    torch.get_num_threads()  # a thread's first question sets its number: ask before setting it
    torch.set_num_threads(1)


def _submit(work: Callable[..., Result], *arguments: object) -> Future[Result]:
    with _making:
        pool = _torch_pool() if sys.modules.get("torch") else _pool()
    return pool.submit(work, *arguments)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """A thread a core, for as long as nobody has loaded torch."""
    return ThreadPoolExecutor(threads.cores(), "core")


@functools.cache
def _torch_pool() -> ThreadPoolExecutor:
    """As many threads as torch would use by itself where this is first called."""
    import torch

    count = torch.get_num_threads()
    born = threading.Barrier(count + 1)

    def begin() -> None:
        torch_alone()
        with contextlib.suppress(threading.BrokenBarrierError):
            born.wait()

    pool = ThreadPoolExecutor(count, "core", initializer=begin)
    try:
        for _ in range(count):  # a thread is born with a task, as long as none is idle
            pool.submit(int)
        born.wait()
    except BaseException:  # such as Ctrl-C: those that were born would wait for the others for ever
        born.abort()
        raise
    torch.set_num_threads(count)  # what new threads begin with: the last one set anywhere
    return pool


def _forget_pools() -> None:
    _pool.cache_clear()
    _torch_pool.cache_clear()


os.register_at_fork(after_in_child=_forget_pools)  # threads do not survive a fork
