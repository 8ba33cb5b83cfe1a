"""Trials: the questions of an evaluation, as arrays over the media that they name.

An item is a number into :class:`Items`, so that each file is named, embedded and scored once
however often a list repeats it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from indexer.types import Modality

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MODALITIES: dict[str, Modality] = {
    **dict.fromkeys(("jpg", "jpeg", "png", "bmp", "webp"), "face"),
    **dict.fromkeys(("wav", "flac", "ogg", "opus", "mp3", "m4a"), "voice"),
}


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


class Register:
    """Numbers media, people and recordings in the order in which a list first names them."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._modalities: list[Modality] = []
        self._names: dict[str, int] = {}
        self._people: list[int] = []
        self._recordings: dict[str, int] = {}
        self._videos: list[int] = []

    def place(self, path: str) -> int | None:
        """The position of an item that is known already."""
        return self._places.get(path)

    def add(self, path: str, modality: Modality, person: str, video: str = "") -> int:
        """The position of an item, new or known."""
        known = self._places.get(path)
        if known is not None:
            return known
        self._places[path] = place = len(self._places)
        self._modalities.append(modality)
        self._people.append(self._names.setdefault(person, len(self._names)))
        number = self._recordings.setdefault(video, len(self._recordings)) if video else -1
        self._videos.append(number)
        return place

    def items(self) -> Items:
        """Everything named so far."""
        return Items(
            tuple(self._places),
            tuple(self._modalities),
            np.array(self._people, np.int64),
            tuple(self._names),
            np.array(self._videos, np.int64),
        )


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
    return _MODALITIES.get(path.rpartition(".")[2].lower())


def direction(probe: Modality, answer: Modality) -> str:
    """``V-F``: a voice asks, faces answer."""
    return f"{probe[0].upper()}-{answer[0].upper()}"
