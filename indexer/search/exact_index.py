"""Exact search: plan the filter, scan codes for candidates, rank the candidates exactly."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from indexer.search import batch_scan, brute_force, faiss_scan, int8_matmul
from indexer.search.faiss_scan import GpuCopy
from indexer.search.row_filter import RowFilter
from indexer.search.segment import Segment, end_to_end, vectors_at
from indexer.search.vector_index import (
    Device,
    Mask,
    Neighbours,
    Rows,
    SearchPlan,
    TopK,
    checked,
    exact_scores,
    prepared,
    rows_of,
)
from indexer.types import Ids, Metric, Vectors

GATHER_SHARE = 0.3  # copy matching codes out if they are at most this share of all
BATCH = 256  # queries multiplied at once
PROBE_PRODUCTS = 1 << 22  # products of one probe: fewer queries at once where k is large


class ExactIndex:
    """Exact search on the CPU or on GPUs, over segments that may be mapped from disk.

    A scan of int8 codes finds candidates; the error bound of :mod:`indexer.search.int8`
    guarantees that the k nearest are among them. :func:`exact_scores` ranks them. GPUs scan
    float16 copies, made at the first search after a change; rows under a filter are copied out
    for them.

    Args:
        dim: the length of vectors.
        metric: cosine or l2.
        device: cpu or cuda.
        segments: what is searched.
    """

    def __init__(
        self, dim: int, metric: Metric, device: Device = "cpu", segments: Iterable[Segment] = ()
    ) -> None:
        faiss_scan.require_faiss(device)
        self._dim, self.metric, self._device = dim, metric, device
        self._copying = threading.Lock()
        self._set(list(segments))

    @property
    def segments(self) -> Sequence[Segment]:
        """The segments that are searched."""
        return self._segments

    @property
    def row_ids(self) -> Ids:
        """(n,) int64 ids of all rows of all segments, deleted ones included."""
        return self._ids

    @property
    def ids(self) -> Ids:
        """(n,) int64 ids in the order they were added."""
        return self._ids if self._live is None else self._ids[self._live]

    def __len__(self) -> int:
        return self._live_count

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add (n,) ids with their (n, dim) vectors; ValueError for invalid ones."""
        ids = checked(ids, vectors, self._dim, self.ids)
        if len(ids):
            order = np.argsort(ids)
            people, faces = np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
            new = Segment.of(ids[order], people, faces, vectors[order], self.metric)
            self._set([*self._segments, new])

    def remove(self, ids: Ids) -> None:
        """Remove vectors; unknown ids are ignored."""
        self._set([each.without(np.isin(each.ids, ids)) for each in self._segments])

    def search(self, queries: Vectors, k: int, among: Ids | None = None) -> Neighbours:
        """Return the k nearest of each of the (q, dim) queries, ``among`` these ids only."""
        mask = None if among is None else np.isin(self._ids, among)
        return self.nearest(queries, k, self.row_filter(mask))

    def row_filter(self, mask: Mask | None) -> RowFilter:
        """Return a filter for the live rows of a mask over all rows; None means all live rows."""
        if mask is None:
            return self._everything
        live = mask if self._live is None else mask & self._live
        return RowFilter(self._segments, self._dim, self.metric, live)

    def nearest(self, queries: Vectors, k: int, wanted: RowFilter | None = None) -> Neighbours:
        """Return the k nearest among the rows of a filter made by :meth:`row_filter`."""
        wanted = wanted or self._everything
        plan = self.plan(wanted)
        queries = prepared(queries, self.metric)
        found: Iterable[Rows] = ()
        if 0 < plan.matching <= max(brute_force.MAX_ROWS, batch_scan.probe_rows(k)):
            local = wanted.brute_force.candidates(queries, k)
            found = (wanted.rows[rows] for rows in local)
        elif plan.matching and len(queries):
            found = self._candidates(queries, k, wanted, plan)
        return self._ranked(queries, found, k, plan)

    def ranked(
        self, queries: Vectors, candidates: Iterable[Rows], k: int, plan: SearchPlan
    ) -> Neighbours:
        """Return the k nearest of each query among candidate rows, ranked exactly."""
        return self._ranked(prepared(queries, self.metric), candidates, k, plan)

    def vectors_of(self, ids: Ids) -> Vectors:
        """Return (n, dim) stored vectors; KeyError for an unknown id."""
        rows = np.arange(len(self._ids)) if self._live is None else np.flatnonzero(self._live)
        return self._vectors(rows[rows_of(self.ids, ids)])

    def plan(self, wanted: RowFilter) -> SearchPlan:
        """Return how a search under a filter is carried out."""
        matching, total = wanted.matching, len(self)
        if matching == total:
            return SearchPlan("everything", total, total, self._dim * len(self._ids))
        if self._device == "cuda" or matching <= GATHER_SHARE * total:
            return SearchPlan("gather", matching, total, self._dim * matching)
        return SearchPlan("selector", matching, total, self._dim * len(self._ids))

    def _set(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._gpu: GpuCopy | None = None
        self._live_count = sum(each.live_count for each in segments)
        self._ids: Ids = end_to_end([each.ids for each in segments], np.int64)
        self._live: Mask | None = None
        if self._live_count < len(self._ids):
            self._live = end_to_end([each.live_mask for each in segments], bool)
        self._everything = RowFilter(segments, self._dim, self.metric, self._live)

    def _candidates(
        self, queries: Vectors, k: int, wanted: RowFilter, plan: SearchPlan
    ) -> Iterable[Rows]:
        """Return for each query rows that contain its k nearest with all ties."""
        if self._device == "cuda":
            found = self._on_gpu(queries, k, wanted, plan)
            if found is not None:
                return found
        blocks = wanted.gathered() if plan.kind == "gather" else wanted.in_place
        if len(queries) <= int8_matmul.backend().max_faiss_queries:
            return faiss_scan.candidates(queries, k, blocks, self.metric)
        size = max(min(BATCH, PROBE_PRODUCTS // batch_scan.probe_rows(k)), 1)
        batches = (queries[start : start + size] for start in range(0, len(queries), size))
        return [rows for batch in batches for rows in batch_scan.candidates(batch, k, blocks)]

    def _on_gpu(
        self, queries: Vectors, k: int, wanted: RowFilter, plan: SearchPlan
    ) -> list[Rows] | None:
        rows = wanted.rows
        with self._copying:  # FAISS's GPU indexes are not thread-safe
            copy = self._gpu if plan.kind == "everything" else None
            if copy is None:
                copy = GpuCopy(self._vectors(rows), self.metric)
            if plan.kind == "everything":
                self._gpu = copy
            found = copy.candidates(queries, k)
        return None if found is None else [rows[local] for local in found]

    def _ranked(
        self, queries: Vectors, candidates: Iterable[Rows], k: int, plan: SearchPlan
    ) -> Neighbours:
        top = TopK(len(queries), k)
        for q, rows in enumerate(candidates):
            top.put(q, self._ids[rows], exact_scores(queries[q], self._vectors(rows), self.metric))
        return Neighbours(top.ids, top.scores, plan)

    def _vectors(self, rows: Rows) -> Vectors:
        return vectors_at(self._segments, rows, self._dim)
