"""One revision of the index: its vectors, mapped or in memory, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from indexer.approximate import ApproximateIndex
from indexer.attribute_filter import PeopleTable
from indexer.catalog.lookup import Lookup
from indexer.records import Revision
from indexer.search.exact_index import FaissIndex
from indexer.search.row_filter import Selection
from indexer.search.segment import alive_in, end_to_end
from indexer.search.vector_index import Mask, Neighbours
from indexer.types import Ids, Modality, Vectors

BLOCK = 256  # queries whose people are sought at once, which bounds the memory it takes
GROWTH = 4  # how much deeper to look each time too few people were found


class Snapshot:
    """The vectors of one revision and their owners; threads may search one at the same time."""

    def __init__(self, revision: Revision, vectors: FaissIndex) -> None:
        self.revision = revision
        self.vectors = vectors
        self.approximate: ApproximateIndex | None = None  # after the first approximate search
        self._table: PeopleTable | None = None
        self._asked: tuple[object, Selection | None] = ((None, {}), None)  # the last filter

    def wanted(
        self, read: Lookup, modality: Modality | None, where: Mapping[str, str]
    ) -> Selection | None:
        """What matches; None where nothing was asked for."""
        asked, selected = self._asked  # another thread may ask something else meanwhile
        if asked != (modality, where):
            mask = self._matching(read, modality, where)
            selected = None if mask is None else self.vectors.selection(mask)
            self._asked = (modality, dict(where)), selected
        return selected

    def _matching(
        self, read: Lookup, modality: Modality | None, where: Mapping[str, str]
    ) -> Mask | None:
        mask = None if modality is None else self._faces == (modality == "face")
        if where:
            table = self._table = self._table or PeopleTable(read.people())
            theirs = self._owned_by(table.where(where))
            mask = theirs if mask is None else mask & theirs
        return mask

    def best_of_people(
        self,
        queries: Vectors,
        k: int,
        wanted: Selection | None,
        way: FaissIndex | ApproximateIndex | None = None,
    ) -> Neighbours:
        """The best item of each person, the k nearest people; as many as there are.

        ``way`` is what to ask, by default the vectors themselves.
        """
        blocks = [
            self._best_in_block(queries[start : start + BLOCK], k, wanted, way or self.vectors)
            for start in range(0, max(len(queries), 1), BLOCK)
        ]
        return Neighbours(
            ids=np.concatenate([block.ids for block in blocks]),
            scores=np.concatenate([block.scores for block in blocks]),
            plan=blocks[0].plan,
        )

    def _best_in_block(
        self, queries: Vectors, k: int, wanted: Selection | None, way: FaissIndex | ApproximateIndex
    ) -> Neighbours:
        """Look deeper for the queries that have too few people yet, until all have enough."""
        enough = min(k, self.people_among(wanted))
        ids = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        pending = np.arange(len(queries))
        depth = k
        while True:
            depth *= GROWTH
            depth = min(depth, max(len(self.vectors), 1))
            near = way.nearest(queries[pending], depth, wanted)
            firsts = [self._first_of_each(row)[:k] for row in near.ids]
            for at, query, first in zip(range(len(firsts)), pending, firsts, strict=True):
                ids[query, : len(first)] = near.ids[at, first]
                scores[query, : len(first)] = near.scores[at, first]
            pending = pending[[len(first) < enough for first in firsts]]
            if not len(pending):
                return Neighbours(ids, scores, near.plan)

    def people_among(self, wanted: Selection | None) -> int:
        """How many people have items among what matches; None means everything."""
        return self._people_count if wanted is None else _count_people(self._owners[wanted.rows])

    def _first_of_each(self, ranked: Ids) -> Ids:
        """Positions of the first item of each person in a ranking, in its order."""
        found = ranked[ranked >= 0]
        _, firsts = np.unique(self._people_of(found), return_index=True)
        return np.sort(firsts).astype(np.int64)

    def _people_of(self, ids: Ids) -> Ids:
        """Row numbers of the people these items are of."""
        present, order = self._by_id
        return self._owners[order[np.searchsorted(present, ids)]]

    def _owned_by(self, people: Ids) -> Mask:
        theirs = np.zeros(int(max(self._last_person, people.max(initial=0))) + 1, bool)
        theirs[people] = True
        return np.asarray(theirs.take(self._owners))

    @cached_property
    def _owners(self) -> Ids:
        return end_to_end([part.people for part in self.vectors.parts], np.int64)

    @cached_property
    def _last_person(self) -> int:
        return int(self._owners.max(initial=0))

    @cached_property
    def _people_count(self) -> int:
        return _count_people(self._owners[self._by_id[1]])

    @cached_property
    def _faces(self) -> Mask:
        return end_to_end([part.faces for part in self.vectors.parts], bool)

    @cached_property
    def _by_id(self) -> tuple[Ids, Ids]:
        """The ids of the items there are, ascending, and the row of each."""
        alive = end_to_end([alive_in(part) for part in self.vectors.parts], bool)
        rows = np.flatnonzero(alive).astype(np.int64)
        ids = end_to_end([part.ids for part in self.vectors.parts], np.int64)[rows]
        order = np.argsort(ids, kind="stable")
        return ids[order], rows[order]


def _count_people(owners: Ids) -> int:
    return int(np.count_nonzero(np.bincount(owners))) if len(owners) else 0
