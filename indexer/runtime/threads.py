"""Threads that share the work of a search; made once, for it may be shorter than their start."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def cores() -> int:
    """How many threads work at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(work: Callable[[Given], Made], things: Iterable[Given]) -> Iterator[Made]:
    """What ``work`` makes of each, in order; the work must not share out more of its own."""
    return _pool().map(work, things)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="search")


# Threads do not survive a fork: the child makes its own.
os.register_at_fork(after_in_child=_pool.cache_clear)
