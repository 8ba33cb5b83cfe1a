"""Candidates for many queries at once: those that no rounding can rule out.

A first look at a few thousand rows, spread over all, tells how near the k-th neighbour of each
query is at least. Then all rows are multiplied with all queries, block by block, in whole
numbers, and what is surely further is dropped at once. The mark rises as nearer rows are met.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.runtime import threads
from indexer.search import int8_matmul
from indexer.search.code_block import Stretch
from indexer.search.int8 import Codes, Floats, RoundedQueries
from indexer.search.vector_index import Rows
from indexer.types import Vectors

BLOCK = 8192  # rows multiplied at once: 256 products of each fit the second-level cache twice
FIRST_LOOK = 4096  # rows looked at first, at least; more for larger k
PATIENCE = 4  # times k hits a query that are worth the sorting that raises the marks
INT32_LARGEST = 2**31 - 1
LANES = 16  # queries are filled up to a multiple of this, for whole registers and words

Hits = tuple[NDArray[np.intp], NDArray[np.intp], Floats, Floats]  # query, row, least, most


def first_look(k: int) -> int:
    """How many rows are looked at before all others."""
    return max(FIRST_LOOK, 4 * k)


def candidates(queries: Vectors, k: int, stretches: Sequence[Stretch]) -> list[Rows]:
    """For each query the rows that may be among its k nearest, and all that tie with them.

    More than ``first_look(k)`` rows must count. Nearness is the inner product, less half the
    squared length of the vector under l2.
    """
    sieve = _Sieve(queries, k)
    sieve.look(stretches)
    blocks = [piece for stretch in stretches for piece in stretch.pieces(BLOCK)]
    each = map if int8_matmul.way().threaded else threads.each
    for hits in each(sieve.hits, blocks):
        sieve.put(hits)
    return sieve.rows()


class _Sieve:
    """The mark of each query, and what has passed it so far."""

    def __init__(self, queries: Vectors, k: int) -> None:
        self._k, self._count = k, len(queries)
        spare = -len(queries) % LANES
        self._queries = RoundedQueries(np.pad(queries, ((0, spare), (0, 0))))
        self._mark: Floats = np.full(len(queries) + spare, np.inf)
        self._kept: list[Hits] = []
        self._pending = self._settled = 0

    def look(self, stretches: Sequence[Stretch]) -> None:
        """Set the first mark: the k-th best of some rows, at its least."""
        step = max(sum(stretch.matching for stretch in stretches) // first_look(self._k), 1)
        least = np.concatenate([self._least(*stretch.spread(step)) for stretch in stretches])
        at = len(least) - self._k
        self._mark[: self._count] = np.partition(least, at, axis=0)[at, : self._count]

    def hits(self, stretch: Stretch) -> Hits:
        """What of a stretch may be at or above the mark."""
        unsure = self._queries.unsure(stretch.codes)
        nearness, worth = self._nearness(stretch.codes, stretch.halves)
        rows, queries = _at_least(nearness, _rounded_down((self._mark - unsure) / worth, nearness))
        near: Floats = nearness[rows, queries].astype(np.float64) * worth[queries]
        if stretch.wanted is not None:
            counts = stretch.wanted[rows]
            rows, queries, near = rows[counts], queries[counts], near[counts]
        return queries, stretch.numbers(rows), near - unsure[queries], near + unsure[queries]

    def put(self, hits: Hits) -> None:
        """Keep what passed; raise the marks once much has come since they were raised last."""
        self._kept.append(hits)
        self._pending += len(hits[0])
        if self._pending > 2 * self._settled + PATIENCE * self._k * self._count:
            self._settle()

    def rows(self) -> list[Rows]:
        """Of each query the rows that may still be among its nearest."""
        self._settle()
        queries, rows, _, _ = self._kept[0]
        ends = np.cumsum(np.bincount(queries, minlength=self._count))
        return [np.sort(some) for some in np.split(rows, ends[:-1])][: self._count]

    def _least(self, codes: Codes, halves: Vectors | None) -> Floats:
        nearness, worth = self._nearness(codes, halves)
        return np.asarray(nearness * worth - self._queries.unsure(codes))

    def _nearness(self, codes: Codes, halves: Vectors | None) -> tuple[NDArray[Any], Floats]:
        """(n, q) numbers that grow with nearness, and what one of them is worth."""
        whole = int8_matmul.way().product(codes.content, self._queries.whole)
        worth = self._queries.scales * codes.scale
        if halves is None:
            return whole, worth
        return whole * worth.astype(np.float32) - halves[:, None], np.ones_like(worth)

    def _settle(self) -> None:
        """Raise the marks to what the rows kept prove, and drop what is now below."""
        queries, rows, least, most = (
            np.concatenate(columns) for columns in zip(*self._kept, strict=True)
        )
        order = np.lexsort((-least, queries))
        counts = np.bincount(queries, minlength=self._count)
        enough = np.flatnonzero(counts >= self._k)
        kth = (np.cumsum(counts) - counts + self._k - 1)[enough]
        mark = self._mark.copy()
        mark[enough] = np.maximum(mark[enough], least[order[kth]])
        self._mark = mark
        order = order[most[order] >= mark[queries[order]]]
        self._kept = [(queries[order], rows[order], least[order], most[order])]
        self._pending = self._settled = len(order)


def _rounded_down(marks: Floats, like: NDArray[Any]) -> NDArray[Any]:
    """Marks in the type of the numbers they are compared with; never above what they were."""
    if like.dtype.kind == "i":
        bounded = np.clip(np.floor(marks), -INT32_LARGEST, INT32_LARGEST)
        return np.asarray(bounded.astype(like.dtype))
    return np.nextafter(marks.astype(np.float32), np.float32(-np.inf))


def _at_least(nearness: NDArray[Any], marks: NDArray[Any]) -> tuple[Rows, Rows]:
    """Rows and columns where a mark is reached; eight are ruled out at a time."""
    reached = np.ascontiguousarray(nearness >= marks).reshape(-1)
    words = np.flatnonzero(reached.view(np.uint64))
    word, byte = np.nonzero(reached.reshape(-1, 8)[words])
    rows, queries = np.divmod(words[word] * 8 + byte, len(marks))
    return rows, queries
