"""Nearest-neighbour search over numbered vectors: what it means, and a plain reference.

A larger score is nearer, everywhere. Under ``cosine`` vectors are brought to length 1 when they
are added and when they are asked with, and the score is their inner product, -1 to 1. Under
``l2`` the score is the *negative Euclidean distance* (not squared), at most 0.

Every index scores in the same way: products of float32 summed in float64 and rounded once to
float32. A fast index finds candidates by cheaper means and has :func:`exact_scores` rank them,
so that all agree to the last bit and ties are always in the order of their ids.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.types import Ids, Metric, Vectors

Device = Literal["cpu", "cuda"]
PlanKind = Literal["everything", "gather", "selector", "hnsw"]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """How a search went about its filter.

    ``everything`` scans all vectors; ``gather`` copies the ``matching`` ones of ``total`` out
    and scans those; ``selector`` scans all in place and skips the ones that do not match.
    ``hnsw`` searches the graph of an approximate index. ``scanned_bytes`` is what the scan for one
    block of queries reads before it ranks, for an approximate index about and for one query.
    """

    kind: PlanKind
    matching: int
    total: int
    scanned_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest vectors of each query, best first, ties by id.

    ``ids`` is (q, k) int64 and ``scores`` (q, k) float32; where fewer than k match, the rest is
    id -1 and score -inf.
    """

    ids: Ids
    scores: Vectors
    plan: Plan


class VectorIndex(Protocol):
    """Numbered vectors that can be searched."""

    @property
    def ids(self) -> Ids:
        """(n,) int64, in the order they were added."""

    def __len__(self) -> int: ...

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add (n,) ids, new ones, with their (n, dim) vectors, finite."""

    def remove(self, ids: Ids) -> None:
        """Take vectors out; ids that are not there are passed over."""

    def search(self, queries: Vectors, k: int, among: Ids | None = None) -> Neighbours:
        """The k nearest of each of the (q, dim) queries, ``among`` these ids only."""

    def vectors_of(self, ids: Ids) -> Vectors:
        """(n, dim) vectors as they are kept, of ids that are all there."""


def prepared(vectors: Vectors, metric: Metric) -> Vectors:
    """(n, dim) vectors as an index keeps them: of length 1 under cosine, else as they are.

    A vector of zeros has no direction and stays as it is: under cosine it scores 0.
    """
    vectors = np.ascontiguousarray(vectors, dtype="<f4")
    if metric == "l2":
        return vectors
    lengths = lengths_of(vectors)[:, None]  # (n, 1)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype("<f4")


def lengths_of(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n,) Euclidean lengths, summed in float64."""
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return np.asarray(np.sqrt(squares))


def exact_scores(query: Vectors, vectors: Vectors, metric: Metric) -> Vectors:
    """(n,) scores of one (dim,) query against (n, dim) vectors, both prepared."""
    wide = vectors.astype(np.float64)
    if metric == "cosine":
        scores = np.sum(wide * query, axis=1)
    else:
        scores = 0.0 - np.sqrt(np.sum((wide - query) ** 2, axis=1))
    return np.asarray(scores, np.float32)


class NumpyIndex:
    """The permanent reference: scores everything that matches and sorts it."""

    def __init__(self, dim: int, metric: Metric) -> None:
        self._dim, self._metric = dim, metric
        self._ids: Ids = np.empty(0, np.int64)
        self._vectors: Vectors = np.empty((0, dim), np.float32)

    @property
    def ids(self) -> Ids:
        """(n,) int64, in the order they were added."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add (n,) ids with their (n, dim) vectors; ValueError for what cannot be kept."""
        ids = checked(ids, vectors, self._dim, self._ids)
        self._ids = np.concatenate([self._ids, ids])
        self._vectors = np.concatenate([self._vectors, prepared(vectors, self._metric)])

    def remove(self, ids: Ids) -> None:
        """Take vectors out; ids that are not there are passed over."""
        keep = ~np.isin(self._ids, ids)
        self._ids, self._vectors = self._ids[keep], self._vectors[keep]

    def search(self, queries: Vectors, k: int, among: Ids | None = None) -> Neighbours:
        """The k nearest of each of the (q, dim) queries, ``among`` these ids only."""
        rows = np.arange(len(self)) if among is None else np.flatnonzero(np.isin(self._ids, among))
        kind: PlanKind = "everything" if len(rows) == len(self) else "gather"
        out = Ranked(len(queries), k)
        for q, query in enumerate(prepared(queries, self._metric)):
            scores = exact_scores(query, self._vectors[rows], self._metric)
            out.put(q, self._ids[rows], scores)
        plan = Plan(kind, len(rows), len(self), 4 * self._dim * len(rows))
        return Neighbours(out.ids, out.scores, plan)

    def vectors_of(self, ids: Ids) -> Vectors:
        """(n, dim) vectors as they are kept; KeyError for an id that is not there."""
        return self._vectors[rows_of(self._ids, ids)]


class Ranked:
    """(q, k) ids and scores, padded, filled in query by query."""

    def __init__(self, queries: int, k: int) -> None:
        self.ids: Ids = np.full((queries, k), -1, np.int64)
        self.scores: Vectors = np.full((queries, k), -np.inf, np.float32)

    def put(self, q: int, ids: Ids, scores: Vectors) -> None:
        """The best of these for query ``q``: by score, then by id."""
        best = np.lexsort((ids, -scores))[: self.ids.shape[1]]
        self.ids[q, : len(best)] = ids[best]
        self.scores[q, : len(best)] = scores[best]


def checked(ids: Ids, vectors: Vectors, dim: int, present: Ids) -> Ids:
    """(n,) int64 ids that may be added; ValueError for ids or vectors that cannot be kept."""
    ids = np.asarray(ids, np.int64)
    if vectors.shape != (len(ids), dim):
        raise ValueError(f"vectors of shape {vectors.shape} for {len(ids)} ids of {dim} dimensions")
    if not np.isfinite(vectors).all():
        raise ValueError("a vector is not finite")
    if len(np.unique(ids)) < len(ids) or np.isin(ids, present).any():
        raise ValueError("an id is there already")
    return ids


def rows_of(present: Ids, ids: Ids) -> Rows:
    """Where ids stand among those present; KeyError for one that does not."""
    order = np.argsort(present, kind="stable")  # already in order, as a rule: then it is quick
    at = np.searchsorted(present, ids, sorter=order)
    rows: Rows = order[np.minimum(at, len(order) - 1)] if len(order) else np.empty(0, np.intp)
    if len(rows) < len(ids) or (present[rows] != ids).any():
        raise KeyError("an id is not in this index")
    return rows
