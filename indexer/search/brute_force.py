"""Candidates among vectors so few that every one is multiplied, in float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from indexer.search.int8 import Floats, float_error
from indexer.search.vector_index import Rows, lengths_of
from indexer.types import Metric, Vectors

FEW = 16384  # vectors whose products with one query take less than preparing a scan
BATCH = 256  # queries at once
SINGLY = 4  # queries that are sooner done on this core than threads of BLAS have met


class FewVectors:
    """(n, dim) prepared vectors, and what is needed of them to compare."""

    def __init__(self, vectors: Vectors, metric: Metric) -> None:
        self._vectors = vectors
        lengths = lengths_of(vectors)
        self._longest = float(lengths.max(initial=0))
        self._halves = (lengths**2 / 2).astype(np.float32) if metric == "l2" else np.float32(0)

    def candidates(self, queries: Vectors, k: int) -> Iterator[Rows]:
        """For each query the rows that may be among its k nearest, and all that tie with them."""
        for start in range(0, len(queries), BATCH):
            block = queries[start : start + BATCH]
            nearness = self._products(block) - self._halves
            for row, mark in zip(nearness, self._marks(nearness, block, k), strict=True):
                yield np.flatnonzero(row >= mark)

    def _marks(self, nearness: Vectors, queries: Vectors, k: int) -> Floats:
        """(q,) what the computed nearness of the k nearest is at least.

        Nearness is the inner product, less half the squared length of the vector under l2.
        """
        if k >= len(self._vectors):
            return np.full(len(queries), -np.inf)
        kth = np.partition(nearness, -k, axis=1)[:, -k]
        unsure = float_error(queries.shape[1], lengths_of(queries) + self._longest)
        return np.asarray(kth - 2 * unsure)

    def _products(self, queries: Vectors) -> Vectors:
        if len(queries) >= SINGLY:
            return queries @ self._vectors.T
        each = [np.einsum("nd,d->n", self._vectors, query) for query in queries]
        return np.stack(each) if each else np.empty((0, len(self._vectors)), np.float32)
