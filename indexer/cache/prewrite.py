"""Segments made by a thread from items that are still being written to the catalog."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import numpy as np

from indexer.cache.refresh import READ_AT_ONCE
from indexer.search.segment import People, Segment
from indexer.search.vector_index import Mask
from indexer.types import Ids, Metric, Vectors

Columns = tuple[Ids, People, Mask, Vectors]


class Prewriter:
    """Gathers items by id and passes them to ``write``, a segment at a time.

    One segment is made while the next is gathered. A context manager.
    """

    def __init__(self, write: Callable[[Segment], None], metric: Metric) -> None:
        self._write, self._metric = write, metric
        self._gathered: list[Columns] = []
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1, "segment")
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def add(self, ids: Ids, people: People, faces: Mask, vectors: Vectors) -> None:
        """Add n items, with ids above all before, and their (n, dim) vectors."""
        if len(ids):
            self._gathered.append((ids, people, faces, vectors))
        if sum(len(each[0]) for each in self._gathered) >= READ_AT_ONCE:
            self._submit()

    def finish(self) -> None:
        """Write the remaining items, and wait for it."""
        if self._gathered:
            self._submit()
        self._wait()

    def _submit(self) -> None:
        self._wait()
        gathered, self._gathered = self._gathered, []

        def make() -> None:
            ids, people, faces, vectors = (
                np.concatenate(each) for each in zip(*gathered, strict=True)
            )
            self._write(Segment.of(ids, people, faces, vectors, self._metric))

        self._writing = self._pool.submit(make)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
