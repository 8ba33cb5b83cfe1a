"""Trials: the questions of an evaluation, as arrays over the media that they name.

An item is a number into :class:`Items`, so that each file is named, embedded and scored once
however often a list repeats it.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import operator
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.types import Modality

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MODALITIES: dict[str, Modality] = {
    **dict.fromkeys(("jpg", "jpeg", "png", "bmp", "webp"), "face"),
    **dict.fromkeys(("wav", "flac", "ogg", "opus", "mp3", "m4a"), "voice"),
}
_ENDING = operator.itemgetter(slice(-1 - max(map(len, _MODALITIES)), None))  # with its point


@dataclasses.dataclass(frozen=True, slots=True)
class Items:
    """The media that a list names, each once.

    ``people`` and ``videos`` are numbers into ``names`` and of recordings; -1 stands for a
    recording that the list does not tell.
    """

    paths: tuple[str, ...]
    modalities: tuple[Modality, ...]
    people: Ints  # (n,)
    names: tuple[str, ...]
    videos: Ints  # (n,)

    def __len__(self) -> int:
        return len(self.paths)

    def same_person(self, first: Ints, second: Ints) -> Bools:
        """Whether items at these positions are of one person; broadcasts."""
        same: Bools = self.people[first] == self.people[second]
        return same

    def same_video(self, first: Ints, second: Ints) -> Bools:
        """Whether items at these positions were cut from one recording; broadcasts."""
        same: Bools = (self.videos[first] == self.videos[second]) & (self.videos[first] >= 0)
        return same


def items_of(
    paths: Sequence[str],
    modalities: Sequence[Modality],
    people: Sequence[str],
    videos: Sequence[str],
) -> Items:
    """Items of different paths, with the name of each one's person and of its recording.

    People are numbered in the order in which they are first named; a recording without a name is
    not told.
    """
    who, names = numbered(people)
    return Items(tuple(paths), tuple(modalities), who, tuple(names), recordings(videos))


def recordings(videos: Sequence[str]) -> Ints:
    """A number (n,) for the name of each recording; -1 for one that has none."""
    numbers, told = numbered(videos)
    unknown = told.index("") if "" in told else -1
    return np.where(numbers == unknown, -1, numbers)


def numbered(values: Sequence[str]) -> tuple[Ints, list[str]]:
    """A number (n,) for each value, and the values that are numbered, each once."""
    places: dict[str, int] = collections.defaultdict(itertools.count().__next__)
    numbers = np.fromiter(map(places.__getitem__, values), np.int64, len(values))
    return numbers, list(places)


class Register:
    """Numbers media in the order in which they are first named."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._rows: list[tuple[Modality, str, str]] = []

    def place(self, path: str) -> int | None:
        """The position of an item that is known already."""
        return self._places.get(path)

    def add(self, path: str, modality: Modality, person: str, video: str = "") -> int:
        """The position of an item, new or known."""
        place = self._places.setdefault(path, len(self._places))
        if place == len(self._rows):
            self._rows.append((modality, person, video))
        return place

    def items(self) -> Items:
        """Everything named so far."""
        modalities, people, videos = zip(*self._rows, strict=True) if self._rows else ((), (), ())
        return items_of(tuple(self._places), modalities, people, videos)


@dataclasses.dataclass(frozen=True, slots=True)
class Verification:
    """Pairs, and whether both are of one person."""

    name: str
    items: Items
    first: Ints  # (n,)
    second: Ints  # (n,)
    same: Bools  # (n,)

    def own_recording(self) -> Bools:
        """Which (n,) are positives that were cut from one recording."""
        own: Bools = self.same & self.items.same_video(self.first, self.second)
        return own

    def without_same_video(self) -> Verification:
        """The protocol without its positives that were cut from one recording."""
        return self.take(~self.own_recording())

    def take(self, kept: Bools) -> Verification:
        """The protocol with these (n,) of its trials."""
        first, second, same = self.first[kept], self.second[kept], self.same[kept]
        return Verification(self.name, self.items, first, second, same)


@dataclasses.dataclass(frozen=True, slots=True)
class Matching:
    """A probe and k candidates, of which one is of the probe's person."""

    name: str
    items: Items
    probes: Ints  # (n,)
    candidates: Ints  # (n, k)
    truth: Ints  # (n,) the column of the right candidate

    def own_recording(self) -> Bools:
        """In which trials (n,) the right answer was cut from the probe's recording."""
        right = self.candidates[np.arange(len(self.truth)), self.truth]
        return self.items.same_video(self.probes, right)

    def without_same_video(self) -> Matching:
        """The protocol without the trials whose right answer was cut from the probe's recording."""
        return self.take(~self.own_recording())

    def take(self, kept: Bools) -> Matching:
        """The protocol with these (n,) of its trials."""
        probes, candidates, truth = self.probes[kept], self.candidates[kept], self.truth[kept]
        return Matching(self.name, self.items, probes, candidates, truth)


@dataclasses.dataclass(frozen=True, slots=True)
class Retrieval:
    """Queries, each of which asks the whole gallery for the items of its person.

    Where there are ``labels``, one an item, it asks for the items of its label instead.
    """

    name: str
    items: Items
    queries: Ints  # (q,)
    gallery: Ints  # (g,)
    labels: Ints | None = None  # (items,)

    @property
    def shared(self) -> Ints:
        """What (items,) a query and its right answers have in common."""
        return self.items.people if self.labels is None else self.labels


Protocol = Verification | Matching | Retrieval


def modality_of(path: str) -> Modality | None:
    """Face or voice by the ending of a file's name; None for neither."""
    return modalities_of([path])[0]


def modalities_of(paths: Iterable[str]) -> list[Modality | None]:
    """Face or voice by the endings of names."""
    return list(map(_of_ending, map(_ENDING, paths)))


@functools.lru_cache
def _of_ending(ending: str) -> Modality | None:
    return _MODALITIES.get(ending.rpartition(".")[2].lower())
