"""Nearest-neighbour search over numbered vectors: a plain reference, and FAISS.

A larger score is nearer, everywhere. Under ``cosine`` vectors are brought to length 1 when they
are added and when they are asked with, and the score is their inner product, -1 to 1. Under
``l2`` the score is the *negative Euclidean distance* (not squared), at most 0. This is the only
module that flips a sign.

Both indexes score in the same way: products of float32 summed in float64 and rounded once to
float32. FAISS finds the candidates, :func:`exact_scores` ranks them, so the two agree to the
last bit and ties are always in the order of their ids.
"""

from __future__ import annotations

import dataclasses
import io
import types
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.errors import BadRequest
from indexer.types import Ids, Metric, Vectors

Device = Literal["cpu", "cuda"]
PlanKind = Literal["everything", "gather", "selector"]
Rows = NDArray[np.intp]

GATHER_SHARE = 0.1  # copy the matching vectors out while they are at most this share of all
SPARE = 32  # candidates asked of FAISS beyond k, so that most near-ties settle at once
GPU_DEEPEST = 2048  # FAISS answers with no more neighbours than this on a GPU


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """How a search went about its filter.

    ``everything`` scans all vectors; ``gather`` copies the ``matching`` ones of ``total`` out
    and scans those; ``selector`` scans all in place and skips the ones that do not match.
    """

    kind: PlanKind
    matching: int
    total: int


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

    def to_bytes(self) -> bytes:
        """The index as the content of a file."""


def prepared(vectors: Vectors, metric: Metric) -> Vectors:
    """(n, dim) vectors as an index keeps them: of length 1 under cosine, else as they are.

    A vector of zeros has no direction and stays as it is: under cosine it scores 0.
    """
    vectors = np.ascontiguousarray(vectors, dtype="<f4")
    if metric == "l2":
        return vectors
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    lengths = np.sqrt(squares)[:, None]  # (n, 1)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype("<f4")


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
        ids = _checked(ids, vectors, self._dim, self._ids)
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
        out = _Ranked(len(queries), k)
        for q, query in enumerate(prepared(queries, self._metric)):
            scores = exact_scores(query, self._vectors[rows], self._metric)
            out.put(q, self._ids[rows], scores)
        return Neighbours(out.ids, out.scores, Plan(kind, len(rows), len(self)))

    def vectors_of(self, ids: Ids) -> Vectors:
        """(n, dim) vectors as they are kept; KeyError for an id that is not there."""
        return self._vectors[_rows_of(self._ids, ids)]

    def to_bytes(self) -> bytes:
        """The index as the content of an ``.npz`` file."""
        file = io.BytesIO()
        np.savez(file, ids=self._ids, vectors=self._vectors)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, dim: int, metric: Metric) -> NumpyIndex:
        """What :meth:`to_bytes` wrote; the content must have been checked by its hash."""
        index = cls(dim, metric)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            index._ids, index._vectors = arrays["ids"], arrays["vectors"]
        return index


class FaissIndex:
    """Exact search by FAISS, on the CPU or on a GPU.

    The vectors are always held in main memory; a GPU has a copy, made at the first search after
    a change. Only searches without a filter and of at most 2048 neighbours are given to the
    copy: FAISS's GPU index drops an id selector without a word, so under a filter the matching
    vectors are copied out and made an index of their own.
    """

    def __init__(self, dim: int, metric: Metric, device: Device = "cpu") -> None:
        self._faiss = _import_faiss()
        if device == "cuda":
            _check_gpu(self._faiss)
        self._dim, self._metric, self._device = dim, metric, device
        self._ids: Ids = np.empty(0, np.int64)
        self._flat = self._new_flat()
        self._longest = 0.0  # no vector here is longer
        self._whole: _Scan | None = None

    @property
    def ids(self) -> Ids:
        """(n,) int64, in the order they were added."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add (n,) ids with their (n, dim) vectors; ValueError for what cannot be kept."""
        ids = _checked(ids, vectors, self._dim, self._ids)
        self._append(ids, prepared(vectors, self._metric))

    def remove(self, ids: Ids) -> None:
        """Take vectors out; ids that are not there are passed over."""
        gone = np.isin(self._ids, ids)
        if gone.any():
            self._flat.remove_ids(np.flatnonzero(gone).astype(np.int64))
            self._ids, self._whole = self._ids[~gone], None

    def search(self, queries: Vectors, k: int, among: Ids | None = None) -> Neighbours:
        """The k nearest of each of the (q, dim) queries, ``among`` these ids only."""
        rows = None if among is None else np.flatnonzero(np.isin(self._ids, among))
        plan = self._plan(rows)
        scan, names = self._scan(plan, rows)
        queries = prepared(queries, self._metric)
        out = _Ranked(len(queries), k)
        for q, found in enumerate(scan.candidates(queries, k) if plan.matching else ()):
            scores = exact_scores(queries[q], scan.vectors[found], self._metric)
            out.put(q, names[found], scores)
        return Neighbours(out.ids, out.scores, plan)

    def vectors_of(self, ids: Ids) -> Vectors:
        """(n, dim) vectors as they are kept; KeyError for an id that is not there."""
        return _view(self._faiss, self._flat)[_rows_of(self._ids, ids)]

    def to_bytes(self) -> bytes:
        """The index as the content of a file that FAISS itself reads (an ``IndexIDMap2``)."""
        numbered = self._faiss.IndexIDMap2(self._new_flat())
        numbered.add_with_ids(_view(self._faiss, self._flat), self._ids)
        return bytes(self._faiss.serialize_index(numbered))

    @classmethod
    def from_bytes(
        cls, content: bytes, dim: int, metric: Metric, device: Device = "cpu"
    ) -> FaissIndex:
        """What :meth:`to_bytes` wrote; the content must have been checked by its hash."""
        index = cls(dim, metric, device)
        faiss = index._faiss
        numbered = faiss.deserialize_index(np.frombuffer(content, np.uint8))
        flat = faiss.downcast_index(numbered.index)
        index._append(faiss.vector_to_array(numbered.id_map), _view(faiss, flat))
        return index

    def _append(self, ids: Ids, vectors: Vectors) -> None:
        if len(ids):
            self._flat.add(vectors)
            self._ids, self._whole = np.concatenate([self._ids, ids]), None
            self._longest = max(self._longest, float(np.linalg.norm(vectors, axis=1).max()))

    def _plan(self, rows: Rows | None) -> Plan:
        total = len(self)
        if rows is None or len(rows) == total:
            return Plan("everything", total, total)
        few = len(rows) <= GATHER_SHARE * total
        return Plan("gather" if few or self._device == "cuda" else "selector", len(rows), total)

    def _scan(self, plan: Plan, rows: Rows | None) -> tuple[_Scan, Ids]:
        """What to scan, and the ids of its rows."""
        if plan.kind == "gather":
            flat = self._new_flat()
            flat.add(_view(self._faiss, self._flat)[rows])
            return self._over(flat), self._ids[rows]
        if plan.kind == "selector":
            return _Scan(self._faiss, self._flat, self._longest, only=rows), self._ids
        if self._whole is None:
            self._whole = self._over(self._flat)
        return self._whole, self._ids

    def _over(self, flat: Any) -> _Scan:
        gpu = _to_gpu(self._faiss, flat) if self._device == "cuda" else None
        return _Scan(self._faiss, flat, self._longest, gpu=gpu)

    def _new_flat(self) -> Any:
        kind = self._faiss.IndexFlatIP if self._metric == "cosine" else self._faiss.IndexFlatL2
        return kind(self._dim)


class _Scan:
    """A flat FAISS index, what of it may be looked at, and the GPU copy if there is one."""

    def __init__(
        self, faiss: Any, flat: Any, longest: float, only: Rows | None = None, gpu: Any = None
    ) -> None:
        self._faiss, self._flat, self._longest, self._gpu = faiss, flat, longest, gpu
        self._params = None if only is None else self._selecting(only)
        self._matching = flat.ntotal if only is None else len(only)
        self.vectors = _view(faiss, flat)  # (n, dim)

    def candidates(self, queries: Vectors, k: int) -> list[Rows]:
        """For each query, rows that are sure to hold its k nearest and all that tie with them.

        FAISS computes in float32: it is asked for more and more until the last row it gives is
        further than the k-th by more than both could be wrong.
        """
        depth = min(k + SPARE, self._matching)
        nearness, rows = self._nearest(queries, depth)
        unsure = 2 * self._error(queries)
        while depth < self._matching:
            if np.all(nearness[:, k - 1] - nearness[:, -1] > unsure):
                break
            depth = min(4 * depth, self._matching)
            nearness, rows = self._nearest(queries, depth)
        return [row[row >= 0] for row in rows]

    def _nearest(self, queries: Vectors, depth: int) -> tuple[Vectors, Rows]:
        """(q, depth) nearness as FAISS sees it, larger is nearer, and the rows."""
        if self._gpu is not None and depth <= GPU_DEEPEST:
            found, rows = self._gpu.search(queries, depth)
        else:
            found, rows = self._flat.search(queries, depth, params=self._params)
        flipped = self._flat.metric_type == self._faiss.METRIC_L2
        return (-found if flipped else found), rows

    def _error(self, queries: Vectors) -> Vectors:
        """(q,) how far FAISS's float32 sums may be from the truth: rounding, once a term."""
        terms = queries.shape[1] + 8
        reach = np.linalg.norm(queries, axis=1) + self._longest
        bound: Vectors = np.finfo(np.float32).eps * terms * reach**2
        return bound

    def _selecting(self, rows: Rows) -> Any:
        wanted = np.zeros(self._flat.ntotal, dtype=bool)
        wanted[rows] = True
        bits = np.packbits(wanted, bitorder="little")
        return self._faiss.SearchParameters(sel=self._faiss.IDSelectorBitmap(bits))


class _Ranked:
    """(q, k) ids and scores, padded, filled in query by query."""

    def __init__(self, queries: int, k: int) -> None:
        self.ids: Ids = np.full((queries, k), -1, np.int64)
        self.scores: Vectors = np.full((queries, k), -np.inf, np.float32)

    def put(self, q: int, ids: Ids, scores: Vectors) -> None:
        """The best of these for query ``q``: by score, then by id."""
        best = np.lexsort((ids, -scores))[: self.ids.shape[1]]
        self.ids[q, : len(best)] = ids[best]
        self.scores[q, : len(best)] = scores[best]


def _checked(ids: Ids, vectors: Vectors, dim: int, present: Ids) -> Ids:
    ids = np.asarray(ids, np.int64)
    if vectors.shape != (len(ids), dim):
        raise ValueError(f"vectors of shape {vectors.shape} for {len(ids)} ids of {dim} dimensions")
    if not np.isfinite(vectors).all():
        raise ValueError("a vector is not finite")
    if len(np.unique(ids)) < len(ids) or np.isin(ids, present).any():
        raise ValueError("an id is there already")
    return ids


def _rows_of(present: Ids, ids: Ids) -> Rows:
    order = np.argsort(present)
    at = np.searchsorted(present, ids, sorter=order)
    rows: Rows = order[np.minimum(at, len(order) - 1)] if len(order) else np.empty(0, np.intp)
    if len(rows) < len(ids) or (present[rows] != ids).any():
        raise KeyError("an id is not in this index")
    return rows


def _view(faiss: Any, flat: Any) -> Vectors:
    """The (n, dim) vectors of a flat index, in place; valid until it changes."""
    if not flat.ntotal:
        return np.empty((0, flat.d), np.float32)
    view: Vectors = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
    return view.reshape(flat.ntotal, flat.d)


def _import_faiss() -> types.ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise BadRequest(
            "The index needs faiss, which is not installed: pip install 'avsearch[cpu]'."
        ) from error
    module: types.ModuleType = faiss
    return module


def _check_gpu(faiss: Any) -> None:
    if not hasattr(faiss, "StandardGpuResources"):
        raise BadRequest(
            "Search on cuda was asked for, but the faiss installed here has no GPU support: "
            "pip install 'avsearch[gpu]', or search on the cpu."
        )
    if faiss.get_num_gpus() < 1:
        raise BadRequest(
            "Search on cuda was asked for, but faiss finds no GPU here: search on the cpu."
        )


def _to_gpu(faiss: Any, flat: Any) -> Any:
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, flat)
