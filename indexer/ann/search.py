"""Search by an approximate index: never under a selective filter, always with k answers."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from indexer.ann.hnsw_ivf import LEFT_OUT, Approximate
from indexer.search.exact_index import ExactIndex
from indexer.search.row_filter import RowFilter
from indexer.search.vector_index import Neighbours, Plan, Rows, prepared
from indexer.types import Ids, Vectors

SPARE = 16  # candidates asked for beyond k: what bytes leave open
DEEPEST = 0.25  # of all items; who asks for more is answered exactly


class Nearly:
    """Vectors of a revision, sought by an approximate index of this or an earlier one.

    What the index proposes is ranked exactly, and what it does not know yet is looked at one by
    one. The answer is the exact search's under a filter that leaves few, for a k that is a large
    part of all items, and where too little was proposed.
    """

    def __init__(self, vectors: ExactIndex, index: Approximate) -> None:
        self._vectors, self._index = vectors, index

    def nearest(self, queries: Vectors, k: int, wanted: RowFilter | None = None) -> Neighbours:
        """As :meth:`ExactIndex.nearest`, with most of its answers."""
        wanted = wanted or self._vectors.row_filter(None)
        plan = self._vectors.plan(wanted)
        depth = -(-(k + SPARE) * plan.total // max(plan.matching, 1))
        far = depth > DEEPEST * len(self._index.ids)
        if plan.kind == "gather" or far or len(self._unknown) > LEFT_OUT:
            return self._vectors.nearest(queries, k, wanted)
        found = self._index.near(prepared(queries, self._vectors.metric), depth)
        candidates = [self._rows(ids, wanted) for ids in found]
        if any(len(rows) < min(k, plan.matching) for rows in candidates):
            return self._vectors.nearest(queries, k, wanted)
        bytes_read = self._index.scanned_bytes(depth)
        plan = Plan(self._index.kind, plan.matching, plan.total, bytes_read)
        return self._vectors.ranked(queries, candidates, k, plan)

    def _rows(self, ids: Ids, wanted: RowFilter) -> Rows:
        """The rows of what was proposed and of what is unknown, as far as they count."""
        present, rows = self._by_id
        ids = np.unique(ids)
        at = np.minimum(np.searchsorted(present, ids), len(present) - 1)
        here = np.concatenate([rows[at[present[at] == ids]], self._unknown])
        return here if wanted.mask is None else here[wanted.mask[here]]

    @cached_property
    def _by_id(self) -> tuple[Ids, Rows]:
        """The numbers of the items there are, ascending, and the row of each."""
        live = self._vectors.row_filter(None).rows
        ids = self._vectors.row_ids[live]
        order = np.argsort(ids, kind="stable")
        return ids[order], live[order]

    @cached_property
    def _unknown(self) -> Rows:
        """Rows of what is not in the approximate index."""
        present, rows = self._by_id
        return rows[~np.isin(present, self._index.ids)]
