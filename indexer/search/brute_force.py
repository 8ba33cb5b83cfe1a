"""Candidates among few vectors: float32 products with all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from indexer.search.int8 import float_error
from indexer.search.vector_index import Rows, norms
from indexer.types import Metric, Vectors

MAX_ROWS = 16384  # up to this many rows, products with one query take less than to set up a scan
BATCH = 256  # queries at once
SINGLE = 4  # below this many queries one core is faster than the threads of BLAS


class BruteForce:
    """(n, dim) prepared vectors that are compared one and all."""

    def __init__(self, vectors: Vectors, metric: Metric) -> None:
        self._vectors = vectors
        lengths = norms(vectors)
        self._longest = float(lengths.max(initial=0))
        half_sq_norms = (lengths**2 / 2).astype(np.float32)
        self._half_sq_norms = half_sq_norms if metric == "l2" else np.float32(0)

    def candidates(self, queries: Vectors, k: int) -> Iterator[Rows]:
        """Yield for each query the rows that may be among its k nearest, with all ties.

        Nearness is the inner product, under l2 less half the squared norm of the vector. Each is
        off by at most ``float_error``, so a true neighbour is at most twice that below the k-th.
        """
        for start in range(0, len(queries), BATCH):
            block = queries[start : start + BATCH]
            nearness = self._products(block) - self._half_sq_norms
            thresholds = np.full(len(block), -np.inf)
            if k < len(self._vectors):
                kth = np.partition(nearness, -k, axis=1)[:, -k]
                bound = float_error(block.shape[1], norms(block) + self._longest)
                thresholds = np.asarray(kth - 2 * bound)
            for row, threshold in zip(nearness, thresholds, strict=True):
                yield np.flatnonzero(row >= threshold)

    def _products(self, queries: Vectors) -> Vectors:
        if len(queries) >= SINGLE:
            return queries @ self._vectors.T
        each = [np.einsum("nd,d->n", self._vectors, query) for query in queries]
        return np.stack(each) if each else np.empty((0, len(self._vectors)), np.float32)
