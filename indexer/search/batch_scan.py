"""Candidates for many queries at once: every row that the error bound does not rule out.

A probe of a few thousand rows, spread over all, gives each query a first threshold: the k-th
largest lower bound of nearness. Then all rows are multiplied with all queries in integers, block by
block, and rows whose upper bound is below the threshold are dropped at once. The threshold rises as
nearer rows are found. The bound is the one of :mod:`indexer.search.int8`: the true nearness lies
within ``RoundedQueries.error_bound`` of the quantized one, so no true neighbour is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.runtime import threads
from indexer.search import int8_matmul
from indexer.search.code_block import CodeBlock
from indexer.search.int8 import Codes, Floats, RoundedQueries
from indexer.search.vector_index import Rows
from indexer.types import Vectors

BLOCK = 8192  # rows multiplied at once: 256 products of each fit the second-level cache twice
PROBE_ROWS = 4096  # rows of the probe, at least; more for larger k
PATIENCE = 4  # times k hits per query that are worth sorting to raise the thresholds
INT32_MAX = 2**31 - 1
LANES = 16  # queries are padded to a multiple of this, for whole registers and words

# Query, row, lower and upper bound of nearness.
Hits = tuple[NDArray[np.intp], NDArray[np.intp], Floats, Floats]


def probe_rows(k: int) -> int:
    """Return the number of rows of the probe."""
    return max(PROBE_ROWS, 4 * k)


def candidates(queries: Vectors, k: int, blocks: Sequence[CodeBlock]) -> list[Rows]:
    """Return for each query the rows that may be among its k nearest, with all ties.

    Nearness is the inner product, under l2 less half the squared norm of the vector.

    Args:
        queries: (q, dim) prepared queries.
        k: neighbours wanted; more than ``probe_rows(k)`` rows must match.
        blocks: the codes to scan.
    """
    scan = _BatchScan(queries, k)
    scan.probe(blocks)
    pieces = [piece for block in blocks for piece in block.pieces(BLOCK)]
    each = map if int8_matmul.backend().threaded else threads.each
    for hits in each(scan.hits, pieces):
        scan.add(hits)
    return scan.rows()


class _BatchScan:
    """The threshold of each query, and the hits that have passed it so far."""

    def __init__(self, queries: Vectors, k: int) -> None:
        self._k, self._count = k, len(queries)
        spare = -len(queries) % LANES
        self._queries = RoundedQueries(np.pad(queries, ((0, spare), (0, 0))))
        self._threshold: Floats = np.full(len(queries) + spare, np.inf)
        self._hits: list[Hits] = []
        self._added = self._sorted = 0  # hits since the thresholds were raised, and before

    def probe(self, blocks: Sequence[CodeBlock]) -> None:
        """Set the first thresholds: the k-th largest lower bound among the rows of the probe."""
        step = max(sum(block.matching for block in blocks) // probe_rows(self._k), 1)
        lower = []
        for codes, half_sq_norms in (block.sample(step) for block in blocks):
            nearness, unit = self._nearness(codes, half_sq_norms)
            lower.append(np.asarray(nearness * unit - self._queries.error_bound(codes)))
        bounds = np.concatenate(lower)
        at = len(bounds) - self._k
        self._threshold[: self._count] = np.partition(bounds, at, axis=0)[at, : self._count]

    def hits(self, block: CodeBlock) -> Hits:
        """Return the rows of a block whose upper bound reaches the threshold."""
        bound = self._queries.error_bound(block.codes)
        nearness, unit = self._nearness(block.codes, block.half_sq_norms)
        thresholds = _rounded_down((self._threshold - bound) / unit, nearness)
        rows, queries = _reaching(nearness, thresholds)
        near: Floats = nearness[rows, queries].astype(np.float64) * unit[queries]
        if block.wanted is not None:
            counts = block.wanted[rows]
            rows, queries, near = rows[counts], queries[counts], near[counts]
        return queries, block.index_rows(rows), near - bound[queries], near + bound[queries]

    def add(self, hits: Hits) -> None:
        """Keep hits; raise the thresholds once enough have come since the last time."""
        self._hits.append(hits)
        self._added += len(hits[0])
        if self._added > 2 * self._sorted + PATIENCE * self._k * self._count:
            self._raise_thresholds()

    def rows(self) -> list[Rows]:
        """Return for each query the rows that may be among its nearest."""
        self._raise_thresholds()
        queries, rows, _, _ = self._hits[0]
        ends = np.cumsum(np.bincount(queries, minlength=self._count))
        return [np.sort(some) for some in np.split(rows, ends[:-1])][: self._count]

    def _nearness(self, codes: Codes, half_sq_norms: Vectors | None) -> tuple[NDArray[Any], Floats]:
        """Return (n, q) quantized nearness and (q,) the value of one unit of it."""
        whole = int8_matmul.backend().product(codes.content, self._queries.whole)
        unit = self._queries.scales * codes.scale
        if half_sq_norms is None:
            return whole, unit
        return whole * unit.astype(np.float32) - half_sq_norms[:, None], np.ones_like(unit)

    def _raise_thresholds(self) -> None:
        """Raise the thresholds to the k-th lower bound of the hits, and drop hits below them."""
        queries, rows, lower, upper = (
            np.concatenate(columns) for columns in zip(*self._hits, strict=True)
        )
        order = np.lexsort((-lower, queries))
        counts = np.bincount(queries, minlength=self._count)
        enough = np.flatnonzero(counts >= self._k)
        kth = (np.cumsum(counts) - counts + self._k - 1)[enough]
        threshold = self._threshold.copy()
        threshold[enough] = np.maximum(threshold[enough], lower[order[kth]])
        self._threshold = threshold
        order = order[upper[order] >= threshold[queries[order]]]
        self._hits = [(queries[order], rows[order], lower[order], upper[order])]
        self._added = self._sorted = len(order)


def _rounded_down(thresholds: Floats, like: NDArray[Any]) -> NDArray[Any]:
    """Return thresholds in the type of the compared numbers, rounded down so that none is lost."""
    if like.dtype.kind == "i":
        bounded = np.clip(np.floor(thresholds), -INT32_MAX, INT32_MAX)
        return np.asarray(bounded.astype(like.dtype))
    return np.nextafter(thresholds.astype(np.float32), np.float32(-np.inf))


def _reaching(nearness: NDArray[Any], thresholds: NDArray[Any]) -> tuple[Rows, Rows]:
    """Return rows and columns that reach the threshold; eight comparisons are tested at a time."""
    reached = np.ascontiguousarray(nearness >= thresholds).reshape(-1)
    words = np.flatnonzero(reached.view(np.uint64))
    word, byte = np.nonzero(reached.reshape(-1, 8)[words])
    rows, queries = np.divmod(words[word] * 8 + byte, len(thresholds))
    return rows, queries
