"""A data set in memory, for the recipes: decoded faces and voices with whose they are.

Faces are kept a little larger than a model takes them, so that training can shift and scale
them; voices as 16-bit samples, which is what nearly every recording was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from avsearch.models.layers.batch import UNKNOWN, Batch, BatchSide
from trainer.data import augment

Item = TypeVar("Item")

FACE_SIZE = 160  # pixels a side of a stored face


@dataclasses.dataclass(frozen=True, slots=True)
class Side(Generic[Item]):
    """One modality: n items, whose they are, and the class that both modalities share."""

    items: Sequence[Item]
    people: NDArray[np.int64]  # (n,)
    labels: NDArray[np.int64]  # (n,)
    taught: NDArray[np.float32] | None = None  # (n, t) unit vectors of a teacher

    def take(self, chosen: NDArray[np.int64]) -> Side[Item]:
        """The items at these positions."""
        return Side(
            [self.items[i] for i in chosen],
            self.people[chosen],
            self.labels[chosen],
            None if self.taught is None else self.taught[chosen],
        )

    def of_people(self, people: set[int]) -> Side[Item]:
        """The items of these people."""
        return self.take(np.flatnonzero(np.isin(self.people, list(people))))


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingSet:
    """Faces (160, 160, 3) uint8 and voices (samples,) int16 at 16 kHz."""

    faces: Side[NDArray[np.uint8]]
    voices: Side[NDArray[np.int16]]

    def of_people(self, people: set[int]) -> TrainingSet:
        """The part of these people, for a split."""
        return TrainingSet(self.faces.of_people(people), self.voices.of_people(people))


class PeopleSampler:
    """Draws people so that every label is equally frequent.

    Of a label, people come as often as the square root of how many items they have. Each person
    drawn gives ``each`` items, repeated only where there are fewer.
    """

    def __init__(self, side: Side[Any], each: int, rng: np.random.Generator) -> None:
        self.each = each
        self.rng = rng
        self.items = {int(p): np.flatnonzero(side.people == p) for p in np.unique(side.people)}
        self.people = [np.unique(side.people[side.labels == c]) for c in np.unique(side.labels)]
        self.shares = [_shares([len(self.items[p]) for p in own.tolist()]) for own in self.people]

    def draw(self, people: int) -> NDArray[np.int64]:
        """Positions (people * each,) of items."""
        labels = self.rng.permutation(np.arange(people) % len(self.people))
        return self.items_of(
            [int(self.rng.choice(self.people[label], p=self.shares[label])) for label in labels]
        )

    def items_of(self, people: Iterable[int]) -> NDArray[np.int64]:
        """Positions (people * each,) of items of these people."""
        return np.concatenate([self._items(person) for person in people])

    def _items(self, person: int) -> NDArray[np.int64]:
        own = self.items[person]
        return self.rng.choice(own, self.each, replace=len(own) < self.each)


def _shares(counts: Sequence[int]) -> NDArray[np.float64]:
    roots = np.sqrt(counts)
    return np.asarray(roots / roots.sum())


class BatchMaker:
    """Augmented batches of a training set, endlessly and reproducibly by seed.

    Faces and voices of a batch are of different people, drawn by their labels.
    """

    def __init__(
        self,
        data: TrainingSet,
        *,
        face_people: int,
        voice_people: int,
        each: int,
        seed: int,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.data = data
        self.face_people, self.voice_people = face_people, voice_people
        self.face_sampler = PeopleSampler(data.faces, each, self.rng)
        self.voice_sampler = PeopleSampler(data.voices, each, self.rng)

    def make(self, face_size: int, voice_seconds: float) -> Batch:
        """One batch: ``each`` faces of this size of every person drawn, and voices likewise."""
        faces, voices = self.draw()
        return to_batch(
            self.data.faces.take(faces),
            self.data.voices.take(voices),
            lambda rgb: augment.face(rgb, face_size, self.rng),
            lambda samples: augment.voice(samples, voice_seconds, self.rng),
        )

    def draw(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the faces and of the voices of the next batch."""
        return (
            self.face_sampler.draw(self.face_people),
            self.voice_sampler.draw(self.voice_people),
        )


class PairedBatchMaker(BatchMaker):
    """Batches in which every person shows both faces and voices."""

    def __init__(self, data: TrainingSet, *, people: int, each: int, seed: int) -> None:
        super().__init__(data, face_people=people, voice_people=people, each=each, seed=seed)
        self.both = np.intersect1d(data.faces.people, data.voices.people)

    def draw(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the faces and of the voices of the same people."""
        people = self.rng.choice(self.both, self.face_people, replace=False).tolist()
        return self.face_sampler.items_of(people), self.voice_sampler.items_of(people)


def to_batch(
    faces: Side[NDArray[np.uint8]],
    voices: Side[NDArray[np.int16]],
    prepare_face: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    prepare_voice: Callable[[NDArray[np.int16]], NDArray[np.float32]],
) -> Batch:
    """A batch of prepared items with their labels."""
    return Batch(
        batch_side(faces, np.stack([prepare_face(item) for item in faces.items])),
        batch_side(voices, np.stack([prepare_voice(item) for item in voices.items])),
    )


def batch_side(side: Side[Any], inputs: NDArray[Any]) -> BatchSide:
    """Inputs with whose they are."""
    labels, people = torch.from_numpy(side.labels), torch.from_numpy(side.people)
    unknown = torch.full_like(labels, UNKNOWN)
    taught = None if side.taught is None else torch.from_numpy(side.taught)
    return BatchSide(
        torch.from_numpy(inputs), labels, people, unknown, unknown, teacher_embeddings=taught
    )
