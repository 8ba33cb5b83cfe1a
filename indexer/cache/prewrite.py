"""Items that are being written, made into parts of the cache by a thread meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from indexer.cache.refresh import READ_AT_ONCE
from indexer.search.segment import Part, People
from indexer.search.vector_index import Mask
from indexer.types import Ids, Metric, Vectors

Columns = tuple[Ids, People, Mask, Vectors]


class Keeping:
    """Gathers items by their numbers and has ``keep`` take them, a part at a time.

    One part is made while the next is gathered. A context manager.
    """

    def __init__(self, keep: Callable[[Part], None], metric: Metric) -> None:
        self._keep, self._metric = keep, metric
        self._gathered: list[Columns] = []
        self._made: Future[None] | None = None

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1, "part")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()

    def add(self, ids: Ids, people: People, faces: Mask, vectors: Vectors) -> None:
        """Take n items, with numbers above all before, and their (n, dim) vectors."""
        if len(ids):
            self._gathered.append((ids, people, faces, vectors))
        if sum(len(each[0]) for each in self._gathered) >= READ_AT_ONCE:
            self._make()

    def finish(self) -> None:
        """Have what is left taken, and wait for it."""
        if self._gathered:
            self._make()
        self._wait()

    def _make(self) -> None:
        self._wait()
        gathered, self._gathered = self._gathered, []
        self._made = self._pool.submit(self._take, gathered)

    def _take(self, gathered: list[Columns]) -> None:
        ids, people, faces, vectors = (np.concatenate(each) for each in zip(*gathered, strict=True))
        self._keep(Part.of(ids, people, faces, vectors, self._metric))

    def _wait(self) -> None:
        if self._made is not None:
            self._made.result()
