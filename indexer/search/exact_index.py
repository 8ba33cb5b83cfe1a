"""Exact search over the parts of an index: a plan, a scan for candidates, an exact ranking."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from indexer.search import batch_scan, brute_force, faiss_scan, int8_matmul
from indexer.search.code_block import Stretch
from indexer.search.faiss_scan import GpuCopy
from indexer.search.row_filter import Selection
from indexer.search.segment import Part, alive_in, end_to_end, vectors_at
from indexer.search.vector_index import (
    Device,
    Mask,
    Neighbours,
    Plan,
    Ranked,
    Rows,
    checked,
    exact_scores,
    prepared,
    rows_of,
)
from indexer.types import Ids, Metric, Vectors

GATHER_SHARE = 0.3  # copy the matching codes out while they are at most this share of all
BATCH = 256  # queries multiplied at once
FIRST_LOOKS = 1 << 22  # numbers a first look may give: fewer queries at once where k is large


class FaissIndex:
    """Exact search on the CPU or on GPUs, over parts that may be mapped from disk.

    A scan of one byte a component finds the candidates, with a bound that no true neighbour can
    be missed by; they are ranked by :func:`exact_scores`. GPUs scan float16 copies, made at the
    first search after a change; what matches a filter is copied out for them.
    """

    def __init__(
        self, dim: int, metric: Metric, device: Device = "cpu", parts: Iterable[Part] = ()
    ) -> None:
        faiss_scan.require_faiss(device)
        self._dim, self._metric, self._device = dim, metric, device
        self._copying = threading.Lock()
        self._set(list(parts))

    @property
    def parts(self) -> Sequence[Part]:
        """The parts searched."""
        return self._parts

    @property
    def metric(self) -> Metric:
        """What nearness is."""
        return self._metric

    @property
    def row_ids(self) -> Ids:
        """(n,) int64 of all rows of all parts, those deleted too."""
        return self._ids

    @property
    def ids(self) -> Ids:
        """(n,) int64, in the order they were added."""
        return self._ids if self._kept is None else self._ids[self._kept]

    def __len__(self) -> int:
        return self._alive

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add (n,) ids with their (n, dim) vectors; ValueError for what cannot be kept."""
        ids = checked(ids, vectors, self._dim, self.ids)
        if len(ids):
            order = np.argsort(ids)
            nobody, voices = np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
            new = Part.of(ids[order], nobody, voices, vectors[order], self._metric)
            self._set([*self._parts, new])

    def remove(self, ids: Ids) -> None:
        """Take vectors out; ids that are not there are passed over."""
        self._set([part.without(np.isin(part.ids, ids)) for part in self._parts])

    def search(self, queries: Vectors, k: int, among: Ids | None = None) -> Neighbours:
        """The k nearest of each of the (q, dim) queries, ``among`` these ids only."""
        mask = None if among is None else np.isin(self._ids, among)
        return self.nearest(queries, k, self.selection(mask))

    def selection(self, mask: Mask | None) -> Selection:
        """Those of a mask of all rows of all parts that are not deleted, to be sought among."""
        if mask is None:
            return self._everything
        return Selection(self._parts, self._dim, self._metric, _both(mask, self._kept))

    def nearest(self, queries: Vectors, k: int, wanted: Selection | None = None) -> Neighbours:
        """The same among the ``wanted`` ones, a :meth:`selection` of these very parts."""
        wanted = wanted or self._everything
        plan = self.plan(wanted)
        queries = prepared(queries, self._metric)
        out = Ranked(len(queries), k)
        if 0 < plan.matching <= max(brute_force.FEW, batch_scan.first_look(k)):
            found = wanted.few.candidates(queries, k)
            self._rank(queries, (wanted.rows[local] for local in found), out)
        elif plan.matching and len(queries):
            self._rank(queries, self._candidates(queries, k, wanted, plan), out)
        return Neighbours(out.ids, out.scores, plan)

    def ranked(
        self, queries: Vectors, candidates: Iterable[Rows], k: int, plan: Plan
    ) -> Neighbours:
        """The k nearest of each query among rows proposed for it, ranked exactly."""
        out = Ranked(len(queries), k)
        self._rank(prepared(queries, self._metric), candidates, out)
        return Neighbours(out.ids, out.scores, plan)

    def vectors_of(self, ids: Ids) -> Vectors:
        """(n, dim) vectors as they are kept; KeyError for an id that is not there."""
        rows = np.arange(len(self._ids)) if self._kept is None else np.flatnonzero(self._kept)
        return self._vectors(rows[rows_of(self.ids, ids)])

    def _set(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._gpu: GpuCopy | None = None
        self._alive = sum(part.alive for part in parts)
        self._ids: Ids = end_to_end([part.ids for part in parts], np.int64)
        self._kept: Mask | None = None
        if self._alive < len(self._ids):
            self._kept = end_to_end([alive_in(part) for part in parts], bool)
        self._everything = Selection(parts, self._dim, self._metric, self._kept)

    def plan(self, wanted: Selection) -> Plan:
        """How a search among these goes about it."""
        matching, total = wanted.matching, len(self)
        if matching == total:
            return Plan("everything", total, total, self._dim * len(self._ids))
        if self._device == "cuda" or matching <= GATHER_SHARE * total:
            return Plan("gather", matching, total, self._dim * matching)
        return Plan("selector", matching, total, self._dim * len(self._ids))

    def _candidates(
        self, queries: Vectors, k: int, wanted: Selection, plan: Plan
    ) -> Iterable[Rows]:
        """For each query rows that are sure to hold its k nearest and all that tie with them."""
        if self._device == "cuda":
            found = self._on_gpu(queries, k, wanted, plan)
            if found is not None:
                return found
        stretches = wanted.gathered() if plan.kind == "gather" else wanted.in_place
        return self._on_cpu(queries, k, stretches)

    def _on_cpu(self, queries: Vectors, k: int, stretches: Sequence[Stretch]) -> list[Rows]:
        if len(queries) <= int8_matmul.way().few:
            return faiss_scan.candidates(queries, k, stretches, self._metric)
        size = max(min(BATCH, FIRST_LOOKS // batch_scan.first_look(k)), 1)
        blocks = (queries[start : start + size] for start in range(0, len(queries), size))
        return [rows for block in blocks for rows in batch_scan.candidates(block, k, stretches)]

    def _on_gpu(self, queries: Vectors, k: int, wanted: Selection, plan: Plan) -> list[Rows] | None:
        rows = wanted.rows
        with self._copying:  # FAISS's GPU indexes are not for several threads at a time
            copy = self._gpu if plan.kind == "everything" else None
            if copy is None:
                copy = GpuCopy(self._vectors(rows), self._metric)
            if plan.kind == "everything":
                self._gpu = copy
            found = copy.candidates(queries, k)
        return None if found is None else [rows[local] for local in found]

    def _rank(self, queries: Vectors, candidates: Iterable[Rows], out: Ranked) -> None:
        for q, rows in enumerate(candidates):
            scores = exact_scores(queries[q], self._vectors(rows), self._metric)
            out.put(q, self._ids[rows], scores)

    def _vectors(self, rows: Rows) -> Vectors:
        return vectors_at(self._parts, rows, self._dim)


def _both(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
