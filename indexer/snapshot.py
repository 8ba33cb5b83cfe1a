"""One revision of the index in memory: its vectors, and whose they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import BadRequest
from indexer.reader import Reader
from indexer.records import PERSON_COLUMNS, Person, Revision, gender_code
from indexer.types import Ids, Modality, Vectors
from indexer.vectors import FaissIndex, Neighbours

BLOCK = 256  # queries whose people are sought at once, which bounds the memory it takes
GROWTH = 4  # how much deeper to look each time too few people were found


@dataclasses.dataclass(frozen=True, slots=True)
class Owners:
    """Whose each item is: (n,) arrays, by item id ascending.

    ``people`` are row numbers of the person table, keys of ``by_row``.
    """

    ids: Ids
    people: Ids
    faces: NDArray[np.bool_]
    by_row: dict[int, Person]

    @classmethod
    def of(cls, read: Reader) -> Owners:
        """The owners in one revision."""
        ids, people, faces = read.owners()
        return cls(ids, people, np.array(faces, bool), read.people())

    def among(self, modality: Modality | None, where: Mapping[str, str]) -> Ids | None:
        """Ids of the items that match; None where nothing was asked for."""
        if modality is None and not where:
            return None
        matching = np.ones(len(self.ids), bool)
        if modality is not None:
            matching &= self.faces == (modality == "face")
        if where:
            matching &= np.isin(self.people, self._people_where(where))
        return self.ids[matching]

    def people_of(self, ids: Ids) -> Ids:
        """Row numbers of the people these items are of."""
        return self.people[np.searchsorted(self.ids, ids)]

    def columns(self) -> list[str]:
        """The columns there are to ask by."""
        further = {column for who in self.by_row.values() for column in who.attributes}
        return [*PERSON_COLUMNS, *sorted(further)]

    def _people_where(self, where: Mapping[str, str]) -> list[int]:
        self._check_columns(where)
        wanted = {column: _comparable(column, text) for column, text in where.items()}
        return [row for row, who in self.by_row.items() if wanted.items() <= _cells(who).items()]

    def _check_columns(self, where: Mapping[str, str]) -> None:
        columns = self.columns()
        unknown = [column for column in where if column not in columns]
        if unknown:
            raise BadRequest(
                f"There is no {unknown[0]!r} to filter by; this index has {', '.join(columns)}."
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """The vectors of one revision and their owners."""

    revision: Revision
    vectors: FaissIndex
    owners: Owners

    def best_of_people(self, queries: Vectors, k: int, among: Ids | None) -> Neighbours:
        """The best item of each person, the k nearest people; as many as there are."""
        blocks = [
            self._best_in_block(queries[start : start + BLOCK], k, among)
            for start in range(0, max(len(queries), 1), BLOCK)
        ]
        return Neighbours(
            ids=np.concatenate([block.ids for block in blocks]),
            scores=np.concatenate([block.scores for block in blocks]),
            plan=blocks[0].plan,
        )

    def _best_in_block(self, queries: Vectors, k: int, among: Ids | None) -> Neighbours:
        """Look deeper for the queries that have too few people yet, until all have enough."""
        enough = min(k, self._people_among(among))
        ids = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        pending = np.arange(len(queries))
        depth = k
        while True:
            depth *= GROWTH
            depth = min(depth, max(len(self.vectors), 1))
            near = self.vectors.search(queries[pending], depth, among)
            firsts = [self._first_of_each(row)[:k] for row in near.ids]
            for at, query, first in zip(range(len(firsts)), pending, firsts, strict=True):
                ids[query, : len(first)] = near.ids[at, first]
                scores[query, : len(first)] = near.scores[at, first]
            pending = pending[[len(first) < enough for first in firsts]]
            if not len(pending):
                return Neighbours(ids, scores, near.plan)

    def _people_among(self, among: Ids | None) -> int:
        items = self.owners.ids if among is None else among
        return len(np.unique(self.owners.people_of(items)))

    def _first_of_each(self, ranked: Ids) -> Ids:
        """Positions of the first item of each person in a ranking, in its order."""
        found = ranked[ranked >= 0]
        _, firsts = np.unique(self.owners.people_of(found), return_index=True)
        return np.sort(firsts).astype(np.int64)


def bring_up_to_date(vectors: FaissIndex, owners: Owners, read: Reader) -> None:
    """Make vectors of an earlier revision those of the one being read.

    An item's number and vector never change, so the difference of the ids is all there is.
    """
    vectors.remove(np.setdiff1d(vectors.ids, owners.ids))
    missing = np.setdiff1d(owners.ids, vectors.ids)
    for ids in _blocks(missing):
        vectors.add(ids, read.vectors(ids))


def _blocks(ids: Ids, size: int = 65536) -> Iterator[Ids]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _cells(who: Person) -> dict[str, Any]:
    return {column: _comparable(column, text) for column, text in who.cells().items()}


def _comparable(column: str, text: str) -> str:
    return gender_code(text).casefold() if column == "gender" else text.strip().casefold()
