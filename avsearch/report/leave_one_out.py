"""An index asked with its own items, each left out of what answers it.

The questions are about people whom the model was not trained on, as far as their names tell.
What was cut from a question's own file does not answer it; everything else does.
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

PEOPLE, EACH = 100, 10  # people who are asked about at most, and questions about each

KINDS: tuple[tuple[Modality, Modality], ...] = (
    ("voice", "face"),
    ("face", "voice"),
    ("voice", "voice"),
    ("face", "face"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """One answer; ``right`` says whether it is of the person asked about."""

    item: Item
    score: float
    right: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """An item that asked, and of each person who could answer the nearest item, best first.

    One of them is right.
    """

    asked: Item
    hits: Sequence[Hit]

    @property
    def place(self) -> int:
        """The rank of the right person, 1 for the first."""
        return next(rank for rank, hit in enumerate(self.hits, 1) if hit.right)


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """How the questions of a kind were answered, as means over the people, 0 to 1.

    ``way`` is V-F where voices asked for faces. ``right`` is the share of first answers that were
    the right person, ``gender`` of the right gender, None where that is not known of everybody;
    ``by_chance`` is what a blind draw among those who could answer would give.
    """

    way: str
    people: int
    questions: int
    right: float
    right_by_chance: float
    gender: float | None
    gender_by_chance: float | None


def ask_itself(index: Index, known: Set[str]) -> dict[str, list[Question]]:
    """The questions of each kind that have a right answer, drawn, by direction as V-F.

    At most 100 people are asked about, at most 10 times each, and nobody ``known`` by their key.
    """
    held = _Held.of(index)
    return {direction(*kind): list(_questions(held, *kind, known)) for kind in KINDS}


def judged(way: str, questions: Sequence[Question]) -> Kind:
    """How one or more questions of a kind were answered."""
    own = by_person(questions)
    told = all(
        item.person.gender
        for each in questions
        for item in (each.asked, *(hit.item for hit in each.hits))
    )
    return Kind(
        way,
        len(own),
        len(questions),
        _mean(own, lambda each: float(each.hits[0].right)),
        _mean(own, lambda each: 1 / len(each.hits)),
        _mean(own, lambda each: _of_its_gender(each, 1)) if told else None,
        _mean(own, lambda each: _of_its_gender(each, len(each.hits))) if told else None,
    )


def by_person(questions: Sequence[Question]) -> list[list[Question]]:
    """Questions about the same person together."""
    own: dict[str, list[Question]] = {}
    for each in questions:
        own.setdefault(each.asked.person.key, []).append(each)
    return list(own.values())


@dataclasses.dataclass(frozen=True, slots=True)
class _Held:
    """Every item of an index: what it is, its vector, and whose and of which file, as numbers."""

    items: list[Item]
    vectors: Vectors  # (n, dim), prepared
    metric: Metric
    people: Ids
    files: Ids
    faces: NDArray[np.bool_]

    @classmethod
    def of(cls, index: Index) -> _Held:
        with index.catalog.read() as read:
            ids, people, faces = read.owners()
            found, vectors = read.items(ids), prepared(read.vectors(ids), index.space.metric)
        items = [found[number] for number in ids.tolist()]
        files = np.unique([str(item.path) for item in items], return_inverse=True)[1]
        return cls(items, vectors, index.space.metric, people, files.astype(np.int64), faces)

    def of_modality(self, modality: Modality) -> NDArray[np.bool_]:
        """Which items are faces, or which are voices."""
        return self.faces if modality == "face" else ~self.faces

    def answered(self, at: int, wanted: Modality) -> Question:
        """An item as a question for everything of other files."""
        among = np.flatnonzero(self.of_modality(wanted) & (self.files != self.files[at]))
        scores = exact_scores(self.vectors[at], self.vectors[among], self.metric)
        order = np.argsort(-scores, kind="stable")
        _, firsts = np.unique(self.people[among[order]], return_index=True)
        best = order[np.sort(firsts)].tolist()
        return Question(
            self.items[at],
            [
                Hit(self.items[row], score, bool(self.people[row] == self.people[at]))
                for row, score in zip(among[best].tolist(), scores[best].tolist(), strict=True)
            ],
        )


def _questions(
    held: _Held, asked: Modality, wanted: Modality, known: Set[str]
) -> Iterator[Question]:
    draw = np.random.default_rng(0)
    for person in draw.permutation(_askable(held, asked, wanted, known))[:PEOPLE]:
        own = np.flatnonzero((held.people == person) & held.of_modality(asked))
        for at in draw.permutation(own)[:EACH].tolist():
            question = held.answered(at, wanted)
            if any(hit.right for hit in question.hits):
                yield question


def _askable(held: _Held, asked: Modality, wanted: Modality, known: Set[str]) -> Ids:
    """The people whom the model does not know, who have what asks and what answers."""
    new = np.array([item.person.key not in known for item in held.items], bool)
    askers, answerers = (held.people[new & held.of_modality(each)] for each in (asked, wanted))
    return np.intersect1d(askers, answerers)


def _mean(own: Sequence[Sequence[Question]], value: Callable[[Question], float]) -> float:
    """The mean over people of each one's mean over their questions."""
    return float(np.mean([np.mean([value(each) for each in questions]) for questions in own]))


def _of_its_gender(question: Question, first: int) -> float:
    """The share of the first so many hits that are of the gender of who is asked about."""
    gender = question.asked.person.gender
    return float(np.mean([hit.item.person.gender == gender for hit in question.hits[:first]]))
