"""Batches made ahead of the model, by threads, so that it hardly waits for their inputs."""

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

_MOST = 16  # batches at a time, which all lie in memory


class Batches(Protocol):
    """What makes batches: drawn one after the other, filled in any order."""

    def plan(self) -> Any:
        """What the next batch is to hold; this alone moves the state on."""

    def fill(self, plan: Any) -> Batch:
        """The batch of a plan; called in threads."""

    def state(self) -> dict[str, Any]:
        """Where the drawing stands, as JSON takes it."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was asked."""


class BatchPrefetcher:
    """Batches with up to ``depth`` of them under way in as many threads.

    They come in the order and with the content that they would have had without threads. The
    state is that of the next batch to be handed out, whatever is under way. ``pinned`` ones lie in
    page-locked memory, for a GPU. With ``in_turns`` the model stands still until all ``depth`` of
    them are made, and works undisturbed until the last is taken.
    """

    def __init__(
        self, batches: Batches, depth: int = 2, *, pinned: bool = False, in_turns: bool = False
    ) -> None:
        self._batches, self._depth = batches, depth
        self._pinned, self._in_turns = pinned, in_turns
        self._pool = ThreadPoolExecutor(depth, "batch", initializer=torch_alone)
        self._under_way: deque[tuple[dict[str, Any], Any, Future[Batch]]] = deque()

    @classmethod
    def of_device(cls, batches: Batches, device: torch.device) -> Self:
        """As suits a model on a device: beside a GPU, in turns with a model on the same cores.

        Where a batch is made on one of the cores that share a layer, the others wait for it busily,
        so that it costs as much on each of them.
        """
        gpu = device.type == "cuda"
        return cls(batches, threads_ahead(), pinned=gpu, in_turns=not gpu)

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
        """The next plan and its batch; what goes wrong in making it is raised here."""
        if not (self._in_turns and self._under_way):
            self._begin()
        _, plan, made = self._under_way.popleft()
        return plan, made.result()

    def _begin(self) -> None:
        while len(self._under_way) < self._depth:
            before = self._batches.state()
            plan = self._batches.plan()
            self._under_way.append((before, plan, self._pool.submit(self._make, plan)))
        if self._in_turns:
            wait([made for _, _, made in self._under_way])

    def _make(self, plan: Any) -> Batch:
        made = self._batches.fill(plan)
        return made.pin() if self._pinned else made

    def state(self) -> dict[str, Any]:
        """Where the drawing stands before the next batch."""
        return self._under_way[0][0] if self._under_way else self._batches.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was asked."""
        self._drop()
        self._batches.restore(state)

    def _drop(self) -> None:
        for _, _, made in self._under_way:
            made.cancel()
        self._under_way.clear()


def threads_ahead() -> int:
    """How many batches to make at a time: as many as a process's share of the cores can make."""
    cores = threads.cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(cores, _MOST))
