"""A data set of faces and voices, and random batches of it.

A :class:`Side` is one modality: rows of a source, with the people and labels of each. A source
gives the inputs of rows as a model takes them, so nothing here knows images, audio or features.
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
Floats = NDArray[np.float64]
Shared = Literal["person", "gender"]  # the meaning of a label, which faces and voices share

NO_MODALITY = (
    "The data holds no {}; training needs faces and voices, of the same people or of people "
    "whose gender a people.csv gives."
)


class InputSource(Protocol):
    """Items of one modality by row."""

    def __len__(self) -> int:
        """Return the number of items."""

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return the inputs (n, ...) of rows (n,) as the model takes them.

        ``rng`` augments them; without it the same rows always give the same inputs.
        """

    def origin(self, row: int) -> str:
        """Return the path of an item's file."""

    @property
    def features(self) -> tuple[int, ...]:
        """The shape of an item's features; empty for media."""


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """One modality: n items with their people and the people's attributes.

    ``labels`` are the classes that both modalities share, from 0; genders are 0 for women and 1
    for men; nationalities are numbered by frequency; UNKNOWN marks unknown values. ``private`` are
    P2VANet's private attributes, NaN where unknown. ``teacher_embeddings`` are unit vectors of
    another encoder, for distillation.
    """

    source: InputSource
    rows: Ints  # (n,), in the source
    people: Ints  # (n,)
    labels: Ints  # (n,)
    genders: Ints  # (n,)
    nationalities: Ints  # (n,)
    private: NDArray[np.float32] | None = None  # (n, p)
    teacher_embeddings: NDArray[np.float32] | None = None  # (n, t)

    @classmethod
    def of_source(cls, source: InputSource, people: Ints, labels: Ints) -> Side:
        """Return all rows of a source, with unknown attributes."""
        unknown = np.full(len(people), UNKNOWN, np.int64)
        return cls(source, np.arange(len(people)), people, labels, unknown, unknown)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: Ints | NDArray[np.bool_]) -> Side:
        """Return the items at these positions, or where a mask is true."""
        columns: dict[str, Any] = {
            field.name: None if (column := getattr(self, field.name)) is None else column[chosen]
            for field in dataclasses.fields(self)
            if field.name != "source"
        }
        return dataclasses.replace(self, **columns)

    def of_people(self, people: set[int]) -> Side:
        """Return the items of these people."""
        return self.take(np.isin(self.people, np.fromiter(people, np.int64, len(people))))

    def batch(self, chosen: Ints, rng: np.random.Generator | None = None) -> BatchSide:
        """Return the items at these positions as a model takes them, augmented by ``rng``."""
        part = self.take(chosen)
        inputs = np.ascontiguousarray(self.source.gather(part.rows, rng))
        known = (part.labels, part.people, part.genders, part.nationalities)
        optional = (part.private, part.teacher_embeddings)
        return BatchSide(
            torch.from_numpy(inputs),
            *map(torch.from_numpy, known),
            *(None if values is None else torch.from_numpy(values) for values in optional),
        )

    def origins(self, chosen: Ints) -> list[str]:
        """Return the paths of the items at these positions."""
        return [self.source.origin(int(row)) for row in self.rows[chosen]]


@dataclasses.dataclass(frozen=True, slots=True)
class DataSet:
    """Faces and voices; people are numbered over both, and ``names`` are their names."""

    faces: Side
    voices: Side
    names: tuple[str, ...]
    shared: Shared = "person"

    def of_people(self, people: set[int]) -> DataSet:
        """Return the items of these people; numbers and labels stay."""
        return dataclasses.replace(
            self, faces=self.faces.of_people(people), voices=self.voices.of_people(people)
        )

    def side(self, modality: Modality) -> Side:
        """Return the side of a modality."""
        return self.faces if modality == "face" else self.voices

    def with_side(self, modality: Modality, side: Side) -> DataSet:
        """Return the data set with another side of a modality."""
        if modality == "face":
            return dataclasses.replace(self, faces=side)
        return dataclasses.replace(self, voices=side)

    @property
    def people(self) -> Ints:
        """The numbers of the people who have a face or a voice here."""
        return np.union1d(self.faces.people, self.voices.people)

    @property
    def paired(self) -> Ints:
        """The numbers of the people who have both."""
        return np.intersect1d(self.faces.people, self.voices.people)

    @property
    def classes(self) -> int:
        """The number of classes of the labels."""
        return 1 + int(max(side.labels.max(initial=-1) for side in (self.faces, self.voices)))


def labelled_by_person(data: DataSet) -> DataSet:
    """Return the items with a label for each person, from 0 without gaps."""
    people = data.people

    def numbered(side: Side) -> Side:
        return dataclasses.replace(side, labels=np.searchsorted(people, side.people))

    return dataclasses.replace(
        data, faces=numbered(data.faces), voices=numbered(data.voices), shared="person"
    )


def labelled_by_gender(data: DataSet) -> DataSet:
    """Return the items of people of known gender, with the gender as label."""

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
            f"The data holds one person, {data.names[int(data.people[0])]}; training needs two "
            "people or more."
        )


@dataclasses.dataclass(frozen=True, slots=True)
class BatchPlan:
    """The positions of a batch's items, and the seed of its augmentation."""

    faces: Ints
    voices: Ints
    seed: int


class BatchMaker:
    """Endless random batches of a data set, with ``each`` items of every person drawn.

    Where labels are people, those who have both a face and a voice show both. Where others have
    only one of them, half of a batch's people are of these, so that their attributes take part
    too; a side with too few of them is shorter. Where labels are genders, faces and voices come
    from people drawn separately, with equally many of every gender.

    Args:
        data: The data set.
        people: The people of a batch; or of its faces and of its voices, for labels that are
            genders.
        each: The items of every person on each side.
        rng: The source of all randomness; :meth:`state` and :meth:`restore` repeat batches.
        weighted: Draw the people of a gender in proportion to the square root of their items, and
            perhaps more than once in a batch.

    Raises:
        BadRequest: The set lacks a modality or a second person, or a batch has more people than
            there are.
    """

    def __init__(
        self,
        data: DataSet,
        people: int | tuple[int, int],
        each: int,
        rng: np.random.Generator,
        *,
        weighted: bool = False,
    ) -> None:
        require_both(data)
        self._data, self._each, self._rng = data, each, rng
        self._items = {one: _PersonItems(data.side(one)) for one in MODALITIES}
        self._both = data.paired if data.shared == "person" else data.paired[:0]
        self._alone = {one: self._groups(data.side(one)) for one in MODALITIES}
        self._weighted = weighted
        counts = people if isinstance(people, tuple) else (people, people)
        reach = [sum(map(len, groups)) for groups in self._alone.values()]
        self._paired = _paired(max(counts), len(self._both), max(reach))
        self._rest = {
            modality: count - self._paired
            for modality, count in zip(MODALITIES, counts, strict=True)
        }
        there = len(self._both) + max(reach)
        if max(counts) > there and not weighted:
            raise BadRequest(
                f"A batch of {max(counts)} people is larger than the training set of {there}; "
                "make the batch smaller."
            )

    def make(self) -> Batch:
        """Return the next batch."""
        return self.fill(self.plan())

    def plan(self) -> BatchPlan:
        """Draw the items of the next batch; only this changes the state."""
        both = self._rng.choice(self._both, self._paired, replace=False)
        faces, voices = (self._positions(modality, both) for modality in MODALITIES)
        return BatchPlan(faces, voices, int(self._rng.integers(2**63)))

    def fill(self, plan: BatchPlan) -> Batch:
        """Read the items of a plan; several threads may do so at once."""
        faces, voices = np.random.default_rng(plan.seed).spawn(2)
        return Batch(
            self._data.faces.batch(plan.faces, faces), self._data.voices.batch(plan.voices, voices)
        )

    def state(self) -> dict[str, Any]:
        """Return the state of the drawing, as JSON takes it."""
        return dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state`."""
        self._rng.bit_generator.state = state

    def _groups(self, side: Side) -> list[Ints]:
        """The people who are drawn for one side only, by gender where that is the label."""
        alone = side.take(~np.isin(side.people, self._both))
        labels = alone.labels if self._data.shared == "gender" else np.zeros_like(alone.labels)
        return [np.unique(alone.people[labels == label]) for label in np.unique(labels)]

    def _positions(self, modality: Modality, both: Ints) -> Ints:
        items, groups = self._items[modality], self._alone[modality]
        if self._weighted:
            weights = [np.sqrt(items.counts(group)) for group in groups]
            alone = draw_weighted(groups, weights, self._rest[modality], self._rng)
        else:
            alone = draw_balanced(groups, self._rest[modality], self._rng)
        return items.draw(np.concatenate([both, alone]), self._each, self._rng)


class _PersonItems:
    """The items of every person of a side, to draw from."""

    def __init__(self, side: Side) -> None:
        self._order = np.argsort(side.people, kind="stable")
        self._people, self._starts, self._counts = np.unique(
            side.people[self._order], return_index=True, return_counts=True
        )

    def counts(self, people: Ints) -> Ints:
        """The number of items of these people."""
        return self._counts[np.searchsorted(self._people, people)]

    def draw(self, people: Ints, each: int, rng: np.random.Generator) -> Ints:
        """Draw positions (people * each,); those of one person are neighbours."""
        at = np.searchsorted(self._people, people)
        places = draw_distinct(self._counts[at], each, rng)
        positions: Ints = self._order[self._starts[at, None] + places].ravel()
        return positions


def draw_balanced(groups: list[Ints], count: int, rng: np.random.Generator) -> Ints:
    """Draw up to ``count`` distinct members, equally many of each group as far as they last."""
    count = min(count, sum(map(len, groups)))
    drawn = [rng.permutation(group) for group in groups]
    order: list[int] = []
    depth = 0
    while len(order) < count:
        deep = [at for at, group in enumerate(drawn) if len(group) > depth]
        order += [int(drawn[at][depth]) for at in rng.permutation(deep)]
        depth += 1
    return np.array(order[:count], np.int64)


def draw_weighted(
    groups: list[Ints], weights: list[Floats], count: int, rng: np.random.Generator
) -> Ints:
    """Draw ``count`` members, equally many of each group, with replacement and by weight."""
    order = rng.permutation(np.arange(count) % len(groups))
    drawn = [rng.choice(groups[at], p=weights[at] / weights[at].sum()) for at in order]
    return np.array(drawn, np.int64)


def draw_distinct(counts: Ints, each: int, rng: np.random.Generator) -> Ints:
    """Draw ``each`` places below every count, (n, each); places repeat only after all others.

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
    """The number of a batch's people who show both a face and a voice."""
    wanted = people if not alone else max(people - people // 2, people - alone)
    return min(wanted, both)
