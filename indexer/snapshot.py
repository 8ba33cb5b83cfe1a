"""One revision ready to search: its vectors and their owners."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from indexer.approximate import ApproximateIndex
from indexer.attribute_filter import PeopleTable
from indexer.catalog.reader import CatalogReader
from indexer.records import Revision
from indexer.search.exact_index import ExactIndex
from indexer.search.row_filter import RowFilter
from indexer.search.segment import end_to_end
from indexer.search.vector_index import Mask, Neighbours
from indexer.types import Ids, Modality, Vectors

BLOCK = 256  # queries searched by person at once, which bounds the memory
GROWTH = 4  # factor on the depth of a search that found too few people


class Snapshot:
    """The vectors of one revision and their owners; threads may search it at the same time."""

    def __init__(self, revision: Revision, vectors: ExactIndex) -> None:
        self.revision = revision
        self.vectors = vectors
        self.approximate: ApproximateIndex | None = None  # set at the first approximate search
        self._table: PeopleTable | None = None
        # The last filter; one tuple, so that threads replace it as a whole.
        self._last: tuple[object, RowFilter | None] = ((None, {}), None)

    def row_filter(
        self, read: CatalogReader, modality: Modality | None, where: Mapping[str, str]
    ) -> RowFilter | None:
        """Return the rows that match a modality and columns of people; None for no filter."""
        key, row_filter = self._last
        if key == (modality, where):
            return row_filter
        mask = None if modality is None else self._faces == (modality == "face")
        if where:
            table = self._table = self._table or PeopleTable(read.people())
            owned = self._owned_by(table.where(where))
            mask = owned if mask is None else mask & owned
        row_filter = None if mask is None else self.vectors.row_filter(mask)
        self._last = (modality, dict(where)), row_filter
        return row_filter

    def best_of_people(
        self,
        queries: Vectors,
        k: int,
        wanted: RowFilter | None,
        index: ExactIndex | ApproximateIndex | None = None,
    ) -> Neighbours:
        """Return the best item of each of the k nearest people, or of as many as match.

        ``index`` is searched, by default the exact one.
        """
        blocks = [
            self._best_in_block(queries[start : start + BLOCK], k, wanted, index or self.vectors)
            for start in range(0, max(len(queries), 1), BLOCK)
        ]
        return Neighbours(
            ids=np.concatenate([block.ids for block in blocks]),
            scores=np.concatenate([block.scores for block in blocks]),
            plan=blocks[0].plan,
        )

    def count_people(self, wanted: RowFilter | None) -> int:
        """Return the number of people with items under a filter; None means no filter."""
        if wanted is None:
            return self._people_count
        return _count_distinct(self._owners[wanted.rows])

    def _best_in_block(
        self,
        queries: Vectors,
        k: int,
        wanted: RowFilter | None,
        index: ExactIndex | ApproximateIndex,
    ) -> Neighbours:
        """Search deeper for the queries with too few people, until all have enough."""
        enough = min(k, self.count_people(wanted))
        ids = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        pending = np.arange(len(queries))
        depth = k
        while True:
            depth = min(GROWTH * depth, max(len(self.vectors), 1))
            found = index.nearest(queries[pending], depth, wanted)
            firsts = [self._first_of_each(row)[:k] for row in found.ids]
            for at, (query, first) in enumerate(zip(pending, firsts, strict=True)):
                ids[query, : len(first)] = found.ids[at, first]
                scores[query, : len(first)] = found.scores[at, first]
            pending = pending[[len(first) < enough for first in firsts]]
            if not len(pending):
                return Neighbours(ids, scores, found.plan)

    def _first_of_each(self, ranked: Ids) -> Ids:
        """Return the positions of the first item of each person in a ranking, ascending."""
        present, order = self._by_id
        found = ranked[ranked >= 0]
        people = self._owners[order[np.searchsorted(present, found)]]
        _, firsts = np.unique(people, return_index=True)
        return np.sort(firsts).astype(np.int64)

    def _owned_by(self, people: Ids) -> Mask:
        """Return the mask of the rows of these people."""
        mask = np.zeros(int(max(self._last_person, people.max(initial=0))) + 1, bool)
        mask[people] = True
        return np.asarray(mask.take(self._owners))

    @cached_property
    def _owners(self) -> Ids:
        return end_to_end([segment.people for segment in self.vectors.segments], np.int64)

    @cached_property
    def _last_person(self) -> int:
        return int(self._owners.max(initial=0))

    @cached_property
    def _people_count(self) -> int:
        return _count_distinct(self._owners[self._by_id[1]])

    @cached_property
    def _faces(self) -> Mask:
        return end_to_end([segment.faces for segment in self.vectors.segments], bool)

    @cached_property
    def _by_id(self) -> tuple[Ids, Ids]:
        """The ids of live items, ascending, and the row of each."""
        live = end_to_end([segment.live_mask for segment in self.vectors.segments], bool)
        rows = np.flatnonzero(live).astype(np.int64)
        ids = self.vectors.row_ids[rows]
        order = np.argsort(ids, kind="stable")
        return ids[order], rows[order]


def _count_distinct(owners: Ids) -> int:
    return int(np.count_nonzero(np.bincount(owners))) if len(owners) else 0
