"""The definition of nearest-neighbour search, and a plain reference implementation.

A larger score is nearer, everywhere. Under ``cosine``, stored vectors and queries are normalized to
length 1, and the score is their inner product, -1 to 1. Under ``l2`` the score is the *negative
Euclidean distance* (not squared), at most 0.

Every index scores in the same way: products of float32, summed in float64 and rounded once to
float32. A fast index finds candidates by cheaper means and ranks them by :func:`exact_scores`, so
that all indexes agree to the last bit, and ties are in the order of their ids.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from indexer.types import Ids, Metric, Vectors

Device = Literal["cpu", "cuda"]
PlanKind = Literal["everything", "gather", "selector", "hnsw"]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, slots=True)
class SearchPlan:
    """The way a search is carried out under its filter.

    Attributes:
        kind: ``everything`` scans all vectors; ``gather`` copies the matching ones out and scans
            those; ``selector`` scans all in place and skips rows that do not match; ``hnsw``
            searches the graph of an approximate index.
        matching: number of vectors that match the filter.
        total: number of all vectors.
        scanned_bytes: bytes that the scan for one block of queries reads before ranking; for an
            approximate index an estimate for one query.
    """

    kind: PlanKind
    matching: int
    total: int
    scanned_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest vectors of each query, best first, ties by id.

    ``ids`` is (q, k) int64 and ``scores`` (q, k) float32. If fewer than k match, the rest is id -1
    and score -inf.
    """

    ids: Ids
    scores: Vectors
    plan: SearchPlan


def prepared(vectors: Vectors, metric: Metric) -> Vectors:
    """Return (n, dim) vectors as an index stores them: of length 1 under cosine, else unchanged.

    A zero vector has no direction and stays zero: under cosine it scores 0.
    """
    vectors = np.ascontiguousarray(vectors, dtype="<f4")
    if metric == "l2":
        return vectors
    lengths = norms(vectors)[:, None]  # (n, 1)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype("<f4")


def norms(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (n,) Euclidean norms, summed in float64."""
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return np.asarray(np.sqrt(squares))


def exact_scores(query: Vectors, vectors: Vectors, metric: Metric) -> Vectors:
    """Return (n,) scores of one (dim,) query against (n, dim) vectors, both prepared."""
    wide = vectors.astype(np.float64)
    if metric == "cosine":
        scores = np.sum(wide * query, axis=1)
    else:
        scores = 0.0 - np.sqrt(np.sum((wide - query) ** 2, axis=1))
    return np.asarray(scores, np.float32)


class NumpyIndex:
    """The reference: scores every matching vector and sorts them."""

    def __init__(self, dim: int, metric: Metric) -> None:
        self._dim, self._metric = dim, metric
        self._ids: Ids = np.empty(0, np.int64)
        self._vectors: Vectors = np.empty((0, dim), np.float32)

    @property
    def ids(self) -> Ids:
        """(n,) int64 ids in the order they were added."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add (n,) ids with their (n, dim) vectors; ValueError for invalid ones."""
        ids = checked(ids, vectors, self._dim, self._ids)
        self._ids = np.concatenate([self._ids, ids])
        self._vectors = np.concatenate([self._vectors, prepared(vectors, self._metric)])

    def remove(self, ids: Ids) -> None:
        """Remove vectors; unknown ids are ignored."""
        keep = ~np.isin(self._ids, ids)
        self._ids, self._vectors = self._ids[keep], self._vectors[keep]

    def search(self, queries: Vectors, k: int, among: Ids | None = None) -> Neighbours:
        """Return the k nearest of each of the (q, dim) queries, ``among`` these ids only."""
        rows = np.arange(len(self)) if among is None else np.flatnonzero(np.isin(self._ids, among))
        kind: PlanKind = "everything" if len(rows) == len(self) else "gather"
        top = TopK(len(queries), k)
        for q, query in enumerate(prepared(queries, self._metric)):
            scores = exact_scores(query, self._vectors[rows], self._metric)
            top.put(q, self._ids[rows], scores)
        plan = SearchPlan(kind, len(rows), len(self), 4 * self._dim * len(rows))
        return Neighbours(top.ids, top.scores, plan)

    def vectors_of(self, ids: Ids) -> Vectors:
        """Return (n, dim) stored vectors; KeyError for an unknown id."""
        return self._vectors[rows_of(self._ids, ids)]


class TopK:
    """(q, k) ids and scores, padded, filled query by query."""

    def __init__(self, queries: int, k: int) -> None:
        self.ids: Ids = np.full((queries, k), -1, np.int64)
        self.scores: Vectors = np.full((queries, k), -np.inf, np.float32)

    def put(self, q: int, ids: Ids, scores: Vectors) -> None:
        """Set the best of these for query ``q``: by score, then by id."""
        best = np.lexsort((ids, -scores))[: self.ids.shape[1]]
        self.ids[q, : len(best)] = ids[best]
        self.scores[q, : len(best)] = scores[best]


def checked(ids: Ids, vectors: Vectors, dim: int, present: Ids) -> Ids:
    """Return (n,) int64 ids that may be added; ValueError for invalid ids or vectors."""
    ids = np.asarray(ids, np.int64)
    if vectors.shape != (len(ids), dim):
        raise ValueError(f"vectors of shape {vectors.shape} for {len(ids)} ids of {dim} dimensions")
    if not np.isfinite(vectors).all():
        raise ValueError("a vector is not finite")
    if len(np.unique(ids)) < len(ids) or np.isin(ids, present).any():
        raise ValueError("an id is there already")
    return ids


def rows_of(present: Ids, ids: Ids) -> Rows:
    """Return the positions of ids among those present; KeyError for an unknown one."""
    order = np.argsort(present, kind="stable")  # fast, as they are usually in order
    at = np.searchsorted(present, ids, sorter=order)
    rows: Rows = order[np.minimum(at, len(order) - 1)] if len(order) else np.empty(0, np.intp)
    if len(rows) < len(ids) or (present[rows] != ids).any():
        raise KeyError("an id is not in this index")
    return rows
