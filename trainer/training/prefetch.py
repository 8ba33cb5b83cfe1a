"""Batches made ahead of the model, by threads, so that it hardly waits for its inputs."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Protocol, Self

import torch

from avsearch.models.layers.batch import Batch
from avsearch.runtime.threads import torch_alone
from indexer.runtime import threads

_MOST = 16  # batches at a time, which all are in memory


class Batches(Protocol):
    """A maker of batches: planned one after the other, filled in any order."""

    def plan(self) -> Any:
        """Plan the next batch; only this changes the state."""

    def fill(self, plan: Any) -> Batch:
        """Make the batch of a plan; called in threads."""

    def state(self) -> dict[str, Any]:
        """Return the state of the planning, as JSON takes it."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state`."""


class BatchPrefetcher:
    """Batches of which up to ``depth`` are being made in as many threads.

    Their order and content are as without threads, and the state is that of the next batch to be
    taken. ``pinned`` batches are in page-locked memory, for a GPU. With ``in_turns`` the model
    waits until all ``depth`` batches are made, and runs undisturbed until the last is taken.
    """

    def __init__(
        self, batches: Batches, depth: int = 2, *, pinned: bool = False, in_turns: bool = False
    ) -> None:
        self._batches, self._depth = batches, depth
        self._pinned, self._in_turns = pinned, in_turns
        self._pool = ThreadPoolExecutor(depth, "batch", initializer=torch_alone)
        self._pending: deque[tuple[dict[str, Any], Any, Future[Batch]]] = deque()

    @classmethod
    def for_device(cls, batches: Batches, device: torch.device) -> Self:
        """Return a prefetcher beside a GPU, or in turns with a model on the same cores.

        On the cores that share a layer, a thread that makes a batch would keep all others waiting.
        """
        gpu = device.type == "cuda"
        return cls(batches, prefetch_depth(), pinned=gpu, in_turns=not gpu)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._drop()
        self._pool.shutdown()

    def next(self) -> tuple[Any, Batch]:
        """Return the next plan and its batch; errors of making the batch are raised here."""
        if not (self._in_turns and self._pending):
            while len(self._pending) < self._depth:
                before = self._batches.state()
                plan = self._batches.plan()
                self._pending.append((before, plan, self._pool.submit(self._make, plan)))
            if self._in_turns:
                wait([made for _, _, made in self._pending])
        _, plan, made = self._pending.popleft()
        return plan, made.result()

    def _make(self, plan: Any) -> Batch:
        made = self._batches.fill(plan)
        return made.pin() if self._pinned else made

    def state(self) -> dict[str, Any]:
        """Return the state of the planning before the next batch."""
        return self._pending[0][0] if self._pending else self._batches.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state`."""
        self._drop()
        self._batches.restore(state)

    def _drop(self) -> None:
        for _, _, made in self._pending:
            made.cancel()
        self._pending.clear()


def prefetch_depth() -> int:
    """Return the number of batches to make at a time: one for each core of this process."""
    cores = threads.cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(cores, _MOST))
