"""A data set: where the items of faces and voices come from, whose they are, and batches of them.

A :class:`Side` is one modality: rows of a source with what is known of each. A source gives the
inputs of rows as the model takes them, so that nothing here knows pictures, sounds or features.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from avsearch.models.layers.batch import UNKNOWN, Batch, BatchSide
from indexer.errors import BadRequest
from indexer.types import MODALITIES, Modality

Ints = NDArray[np.int64]
Shared = Literal["person", "gender"]  # what a label is, in faces and voices alike

NO_MODALITY = (
    "The data holds no {}; training needs faces and voices, of the same people or of people "
    "whose gender a people.csv gives."
)


class InputSource(Protocol):
    """Items of one modality that can be had by their row."""

    def __len__(self) -> int:
        """How many items there are."""

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[Any]:
        """The inputs (n, ...) of these rows as the model takes them; changed at random by ``rng``.

        Without a generator the same rows always give the same inputs.
        """

    def origin(self, row: int) -> str:
        """Where an item comes from: a path."""

    @property
    def features(self) -> tuple[int, ...]:
        """The shape of an item's features; empty for media."""


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """One modality: n items, whose they are, and what is known of these people.

    ``labels`` are the classes that both modalities share, 0 and up; genders are 0 for women and
    1 for men, nationalities are numbered with the most frequent first; UNKNOWN where they are.
    """

    source: InputSource
    rows: Ints  # (n,), in the source
    people: Ints  # (n,)
    labels: Ints  # (n,)
    genders: Ints  # (n,)
    nationalities: Ints  # (n,)
    private: NDArray[np.float32] | None = None  # (n, p), P2VANet's attributes, NaN if unknown

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: Ints | NDArray[np.bool_]) -> Side:
        """The items at these positions, or where a mask is true."""
        return Side(
            self.source,
            self.rows[chosen],
            self.people[chosen],
            self.labels[chosen],
            self.genders[chosen],
            self.nationalities[chosen],
            None if self.private is None else self.private[chosen],
        )

    def of_people(self, people: set[int]) -> Side:
        """The items of these people."""
        return self.take(np.isin(self.people, np.fromiter(people, np.int64, len(people))))

    def batch(self, chosen: Ints, rng: np.random.Generator | None = None) -> BatchSide:
        """The items at these positions as a model takes them."""
        part = self.take(chosen)
        return BatchSide(
            torch.from_numpy(np.ascontiguousarray(self.source.gather(part.rows, rng))),
            torch.from_numpy(part.labels),
            torch.from_numpy(part.people),
            torch.from_numpy(part.genders),
            torch.from_numpy(part.nationalities),
            None if part.private is None else torch.from_numpy(part.private),
        )

    def origins(self, chosen: Ints) -> list[str]:
        """Where the items at these positions come from."""
        return [self.source.origin(int(row)) for row in self.rows[chosen]]


@dataclasses.dataclass(frozen=True, slots=True)
class DataSet:
    """Faces and voices; people are numbered over both, ``names[number]`` being who."""

    faces: Side
    voices: Side
    names: tuple[str, ...]
    shared: Shared = "person"

    def of_people(self, people: set[int]) -> DataSet:
        """The part of these people; numbers and labels stay."""
        return dataclasses.replace(
            self, faces=self.faces.of_people(people), voices=self.voices.of_people(people)
        )

    def side(self, modality: Modality) -> Side:
        """The side of a modality."""
        return self.faces if modality == "face" else self.voices

    def with_side(self, modality: Modality, side: Side) -> DataSet:
        """The same with another side of a modality."""
        if modality == "face":
            return dataclasses.replace(self, faces=side)
        return dataclasses.replace(self, voices=side)

    @property
    def people(self) -> Ints:
        """The people who have a face or a voice here, by number."""
        return np.union1d(self.faces.people, self.voices.people)

    @property
    def paired(self) -> Ints:
        """The people who have both."""
        return np.intersect1d(self.faces.people, self.voices.people)

    @property
    def classes(self) -> int:
        """How many labels a model has to tell apart."""
        return 1 + int(max(side.labels.max(initial=-1) for side in (self.faces, self.voices)))


def labelled_by_person(data: DataSet) -> DataSet:
    """The same items, each person being a label: 0 and up without gaps."""
    people = data.people

    def numbered(side: Side) -> Side:
        return dataclasses.replace(side, labels=np.searchsorted(people, side.people))

    return dataclasses.replace(
        data, faces=numbered(data.faces), voices=numbered(data.voices), shared="person"
    )


def labelled_by_gender(data: DataSet) -> DataSet:
    """The items of people whose gender is known, the gender being the label."""

    def gendered(side: Side) -> Side:
        known = side.take(side.genders != UNKNOWN)
        return dataclasses.replace(known, labels=known.genders)

    return dataclasses.replace(
        data, faces=gendered(data.faces), voices=gendered(data.voices), shared="gender"
    )


def require_both(data: DataSet) -> None:
    """Raise BadRequest for a set that lacks faces, voices, or a second person."""
    for side, name in ((data.faces, "faces"), (data.voices, "voices")):
        if not len(side):
            raise BadRequest(NO_MODALITY.format(name))
    if len(data.people) < 2:
        raise BadRequest(
            f"The data holds one person, {data.names[int(data.people[0])]}; training needs others "
            "to tell them from."
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What a batch is to hold, before anything is read: positions, and the seed of its changes."""

    faces: Ints
    voices: Ints
    seed: int


class BatchMaker:
    """Batches of a data set, endlessly: ``each`` items of every person drawn.

    Where labels are people, those who have both a face and a voice show both. Where others
    have one of them only, half of a batch's people are of these, so that their attributes take
    part too; a side that has too few of them is the shorter one. Where labels are genders,
    faces and voices are of people drawn apart, every gender being as frequent.

    ``rng`` decides everything. :meth:`state` before a batch and :meth:`restore` give the same
    batches again. Raises BadRequest for a batch of more people than there are.
    """

    def __init__(
        self, data: DataSet, people: int, each: int, rng: np.random.Generator, *, vary: bool = True
    ) -> None:
        require_both(data)
        self._data, self._each, self._rng, self._vary = data, each, rng, vary
        self._items = {one: _Items(data.side(one)) for one in MODALITIES}
        self._both = data.paired if data.shared == "person" else data.paired[:0]
        self._alone = {one: self._groups(data.side(one)) for one in MODALITIES}
        reach = [sum(map(len, groups)) for groups in self._alone.values()]
        self._paired = _paired(people, len(self._both), max(reach))
        self._rest = people - self._paired
        _require_people(people, len(self._both) + max(reach))

    def make(self) -> Batch:
        """The next batch."""
        return self.fill(self.plan())

    def plan(self) -> Plan:
        """Draw what the next batch holds; quick, and the only thing that moves the state on."""
        both = self._rng.choice(self._both, self._paired, replace=False)
        faces, voices = (self._positions(modality, both) for modality in MODALITIES)
        return Plan(faces, voices, int(self._rng.integers(2**63)))

    def fill(self, plan: Plan) -> Batch:
        """Read what a plan names; may be called from several threads at once."""
        faces, voices = np.random.default_rng(plan.seed).spawn(2) if self._vary else (None, None)
        return Batch(
            self._data.faces.batch(plan.faces, faces), self._data.voices.batch(plan.voices, voices)
        )

    def state(self) -> dict[str, Any]:
        """Where the drawing stands, as JSON takes it."""
        return dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was asked."""
        self._rng.bit_generator.state = state

    def _groups(self, side: Side) -> list[Ints]:
        """The people of a side who are drawn for it alone, by gender where that is the label."""
        alone = side.take(~np.isin(side.people, self._both))
        labels = alone.labels if self._data.shared == "gender" else np.zeros_like(alone.labels)
        return [np.unique(alone.people[labels == label]) for label in np.unique(labels)]

    def _positions(self, modality: Modality, both: Ints) -> Ints:
        alone = draw_balanced(self._alone[modality], self._rest, self._rng)
        people = np.concatenate([both, alone])
        return self._items[modality].draw(people, self._each, self._rng)


class _Items:
    """The items of every person of a side, to draw from."""

    def __init__(self, side: Side) -> None:
        self._order = np.argsort(side.people, kind="stable")
        self._people, self._starts, self._counts = np.unique(
            side.people[self._order], return_index=True, return_counts=True
        )

    def draw(self, people: Ints, each: int, rng: np.random.Generator) -> Ints:
        """Positions (people * each,); those of one person lie together."""
        at = np.searchsorted(self._people, people)
        places = draw_distinct(self._counts[at], each, rng)
        positions: Ints = self._order[self._starts[at, None] + places].ravel()
        return positions


def draw_balanced(groups: list[Ints], count: int, rng: np.random.Generator) -> Ints:
    """Up to ``count`` members of groups: each group as often as its size allows, nobody twice."""
    count = min(count, sum(map(len, groups)))
    drawn = [rng.permutation(group) for group in groups]
    order: list[int] = []
    depth = 0
    while len(order) < count:
        deep = [at for at, group in enumerate(drawn) if len(group) > depth]
        order += [int(drawn[at][depth]) for at in rng.permutation(deep)]
        depth += 1
    return np.array(order[:count], np.int64)


def draw_distinct(counts: Ints, each: int, rng: np.random.Generator) -> Ints:
    """For every count, ``each`` places below it, (n, each); a place comes again only after all.

    The j-th place of a round is drawn among those left and moved past those that are taken.
    """
    places = np.full((len(counts), each), np.iinfo(np.int64).max)
    for j in range(each):
        taken = np.where(np.arange(each) >= j - (j % counts)[:, None], places, places.max())
        drawn = rng.integers(counts - j % counts)
        for one in np.sort(taken[:, :j], axis=1).T:
            drawn += drawn >= one
        places[:, j] = drawn
    return places


def _paired(people: int, both: int, alone: int) -> int:
    """How many of a batch's people show both a face and a voice."""
    wanted = people if not alone else max(people - people // 2, people - alone)
    return min(wanted, both)


def _require_people(asked: int, there: int) -> None:
    if asked > there:
        raise BadRequest(
            f"A batch of {asked} people is larger than the training set of {there}; "
            "make the batch smaller."
        )
