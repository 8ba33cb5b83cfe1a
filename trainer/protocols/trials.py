"""Trials of an evaluation, as arrays over the media that they name.

An item is a number into :class:`Items`, so that each file is embedded only once.
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
_ENDING = operator.itemgetter(slice(-1 - max(map(len, _MODALITIES)), None))  # with its dot


@dataclasses.dataclass(frozen=True, slots=True)
class Items:
    """The media that a list names, each once.

    ``people`` are numbers into ``names``; ``videos`` are numbers of recordings, -1 where unknown.
    """

    paths: tuple[str, ...]
    modalities: tuple[Modality, ...]
    people: Ints  # (n,)
    names: tuple[str, ...]
    videos: Ints  # (n,)

    def __len__(self) -> int:
        return len(self.paths)

    def same_person(self, first: Ints, second: Ints) -> Bools:
        """Return where items at these positions are of one person; broadcasts."""
        same: Bools = self.people[first] == self.people[second]
        return same

    def same_video(self, first: Ints, second: Ints) -> Bools:
        """Return where items at these positions are from one recording; broadcasts."""
        same: Bools = (self.videos[first] == self.videos[second]) & (self.videos[first] >= 0)
        return same


def items_of(
    paths: Sequence[str],
    modalities: Sequence[Modality],
    people: Sequence[str],
    videos: Sequence[str],
) -> Items:
    """Return items of distinct paths with their people and recordings.

    People are numbered in order of appearance; an empty recording is unknown.
    """
    who, names = numbered(people)
    return Items(tuple(paths), tuple(modalities), who, tuple(names), recordings(videos))


def recordings(videos: Sequence[str]) -> Ints:
    """Return a number (n,) for each recording; -1 for an empty name."""
    numbers, names = numbered(videos)
    unknown = names.index("") if "" in names else -1
    return np.where(numbers == unknown, -1, numbers)


def numbered(values: Sequence[str]) -> tuple[Ints, list[str]]:
    """Return a number (n,) for each value, and the distinct values in that order."""
    places: dict[str, int] = collections.defaultdict(itertools.count().__next__)
    numbers = np.fromiter(map(places.__getitem__, values), np.int64, len(values))
    return numbers, list(places)


class Register:
    """Numbers media in order of appearance."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._rows: list[tuple[Modality, str, str]] = []

    def place(self, path: str) -> int | None:
        """Return the position of a known item; None for others."""
        return self._places.get(path)

    def add(self, path: str, modality: Modality, person: str, video: str = "") -> int:
        """Add an item unless it is known, and return its position."""
        place = self._places.setdefault(path, len(self._places))
        if place == len(self._rows):
            self._rows.append((modality, person, video))
        return place

    def items(self) -> Items:
        """Return all items so far."""
        modalities, people, videos = zip(*self._rows, strict=True) if self._rows else ((), (), ())
        return items_of(tuple(self._places), modalities, people, videos)


@dataclasses.dataclass(frozen=True, slots=True)
class Verification:
    """Pairs, and a label that is True where both are of one person."""

    name: str
    items: Items
    first: Ints  # (n,)
    second: Ints  # (n,)
    same: Bools  # (n,)

    def own_recording(self) -> Bools:
        """Return the mask (n,) of positives from one recording."""
        own: Bools = self.same & self.items.same_video(self.first, self.second)
        return own

    def take(self, mask: Bools) -> Verification:
        """Return the protocol with the trials of a mask (n,)."""
        first, second, same = self.first[mask], self.second[mask], self.same[mask]
        return Verification(self.name, self.items, first, second, same)


@dataclasses.dataclass(frozen=True, slots=True)
class Matching:
    """Probes with k candidates each, one of which is of the probe's person."""

    name: str
    items: Items
    probes: Ints  # (n,)
    candidates: Ints  # (n, k)
    truth: Ints  # (n,) the column of the right candidate

    def own_recording(self) -> Bools:
        """Return the mask (n,) of trials whose right answer is from the probe's recording."""
        right = self.candidates[np.arange(len(self.truth)), self.truth]
        return self.items.same_video(self.probes, right)

    def take(self, mask: Bools) -> Matching:
        """Return the protocol with the trials of a mask (n,)."""
        probes, candidates, truth = self.probes[mask], self.candidates[mask], self.truth[mask]
        return Matching(self.name, self.items, probes, candidates, truth)


@dataclasses.dataclass(frozen=True, slots=True)
class Retrieval:
    """Queries of a whole gallery for the items of the query's person, or of its label."""

    name: str
    items: Items
    queries: Ints  # (q,)
    gallery: Ints  # (g,)
    labels: Ints | None = None  # (items,)

    @property
    def shared(self) -> Ints:
        """The numbers (items,) that a query and its right answers share: people or labels."""
        return self.items.people if self.labels is None else self.labels


Protocol = Verification | Matching | Retrieval


def modality_of(path: str) -> Modality | None:
    """Return face or voice by the suffix of a file name; None for neither."""
    return modalities_of([path])[0]


def modalities_of(paths: Iterable[str]) -> list[Modality | None]:
    """Return face or voice by the suffixes of file names."""
    return list(map(_of_ending, map(_ENDING, paths)))


@functools.lru_cache
def _of_ending(ending: str) -> Modality | None:
    return _MODALITIES.get(ending.rpartition(".")[2].lower())
