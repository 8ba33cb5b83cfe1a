"""Leave-one-out evaluation of an index: its own items are the queries.

The queries are items of people whose names are not among those of the model's training. Items
from the query's own file are left out of its answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from avsearch.calibration import direction
from indexer.index import Index
from indexer.records import Item
from indexer.search.vector_index import exact_scores, prepared
from indexer.types import Ids, Metric, Modality, Vectors

PEOPLE, EACH = 100, 10  # the most people with queries, and the most queries of each

DIRECTIONS: tuple[tuple[Modality, Modality], ...] = (
    ("voice", "face"),
    ("face", "voice"),
    ("voice", "voice"),
    ("face", "face"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class RankedItem:
    """One answer; ``right`` is True if it is of the query's person."""

    item: Item
    score: float
    right: bool


@dataclasses.dataclass(frozen=True, slots=True)
class ItemQuery:
    """An item as the query, and the nearest item of each other candidate, best first.

    One of the hits is right.
    """

    item: Item
    hits: Sequence[RankedItem]

    @property
    def place(self) -> int:
        """The rank of the right person, 1 for the first."""
        return next(rank for rank, hit in enumerate(self.hits, 1) if hit.right)


@dataclasses.dataclass(frozen=True, slots=True)
class DirectionResult:
    """The accuracy of the first answers in one direction, as means over the people, 0 to 1.

    Attributes:
        way: The direction, such as V-F for voices that find faces.
        people, questions: The number of people with queries, and of queries.
        right: The share of first answers that are the right person.
        right_by_chance: The same for a random order.
        gender, gender_by_chance: The same for the right gender; None if a gender is unknown.
    """

    way: str
    people: int
    questions: int
    right: float
    right_by_chance: float
    gender: float | None
    gender_by_chance: float | None


def query_own_items(index: Index, known: Set[str]) -> dict[str, list[ItemQuery]]:
    """Return random queries with a right answer, by direction as V-F.

    At most 100 people have queries, at most 10 each, and nobody with a key in ``known``.
    """
    items = _Items.of(index)
    return {direction(*each): list(_queries(items, *each, known)) for each in DIRECTIONS}


def summarize(way: str, queries: Sequence[ItemQuery]) -> DirectionResult:
    """Return the accuracy of one or more queries of a direction."""
    groups = by_person(queries)
    known = all(
        item.person.gender
        for each in queries
        for item in (each.item, *(hit.item for hit in each.hits))
    )

    def mean(value: Callable[[ItemQuery], float]) -> float:
        """Return the mean over people of each one's mean over their queries."""
        return float(np.mean([np.mean([value(each) for each in group]) for group in groups]))

    def same_gender(query: ItemQuery, first: int) -> float:
        gender = query.item.person.gender
        return float(np.mean([hit.item.person.gender == gender for hit in query.hits[:first]]))

    return DirectionResult(
        way,
        len(groups),
        len(queries),
        mean(lambda each: float(each.hits[0].right)),
        mean(lambda each: 1 / len(each.hits)),
        mean(lambda each: same_gender(each, 1)) if known else None,
        mean(lambda each: same_gender(each, len(each.hits))) if known else None,
    )


def by_person(queries: Sequence[ItemQuery]) -> list[list[ItemQuery]]:
    """Return the queries grouped by their person."""
    groups: dict[str, list[ItemQuery]] = {}
    for each in queries:
        groups.setdefault(each.item.person.key, []).append(each)
    return list(groups.values())


@dataclasses.dataclass(frozen=True, slots=True)
class _Items:
    """Every item of an index with its vector, and its person and file as numbers."""

    items: list[Item]
    vectors: Vectors  # (n, dim), prepared
    metric: Metric
    people: Ids
    files: Ids
    faces: NDArray[np.bool_]

    @classmethod
    def of(cls, index: Index) -> _Items:
        with index.catalog.read() as read:
            ids, people, faces = read.owners()
            found, vectors = read.items(ids), prepared(read.vectors(ids), index.space.metric)
        items = [found[number] for number in ids.tolist()]
        files = np.unique([str(item.path) for item in items], return_inverse=True)[1]
        return cls(items, vectors, index.space.metric, people, files.astype(np.int64), faces)

    def of_modality(self, modality: Modality) -> NDArray[np.bool_]:
        """Return the mask of the faces or of the voices."""
        return self.faces if modality == "face" else ~self.faces

    def query(self, at: int, wanted: Modality) -> ItemQuery:
        """Return an item as the query for all items of other files."""
        candidates = np.flatnonzero(self.of_modality(wanted) & (self.files != self.files[at]))
        scores = exact_scores(self.vectors[at], self.vectors[candidates], self.metric)
        order = np.argsort(-scores, kind="stable")
        _, firsts = np.unique(self.people[candidates[order]], return_index=True)
        best = order[np.sort(firsts)].tolist()
        return ItemQuery(
            self.items[at],
            [
                RankedItem(self.items[row], score, bool(self.people[row] == self.people[at]))
                for row, score in zip(candidates[best].tolist(), scores[best].tolist(), strict=True)
            ],
        )


def _queries(
    items: _Items, modality: Modality, wanted: Modality, known: Set[str]
) -> Iterator[ItemQuery]:
    """Yield random queries of people outside ``known`` who have items of both modalities."""
    new = np.array([item.person.key not in known for item in items.items], bool)
    askers, answerers = (items.people[new & items.of_modality(each)] for each in (modality, wanted))
    draw = np.random.default_rng(0)
    for person in draw.permutation(np.intersect1d(askers, answerers))[:PEOPLE]:
        own = np.flatnonzero((items.people == person) & items.of_modality(modality))
        for at in draw.permutation(own)[:EACH].tolist():
            query = items.query(at, wanted)
            if any(hit.right for hit in query.hits):
                yield query
