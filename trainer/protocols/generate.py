"""Protocols made from any labelled media, by seed.

Every item asks once a protocol. Where a stratum is named, the wrong answers share the asker's
gender, nationality, age or several of them, so that knowing those is of no help. Within one
modality an item is never compared with itself, nor, where recordings are known, with its own
recording. Asked by attribute, verification pairs people who share it and people who do not, never
somebody with themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from avsearch.calibration import direction
from indexer.errors import BadRequest
from indexer.types import Modality
from trainer.protocols.trials import (
    Ints,
    Items,
    Matching,
    Retrieval,
    Verification,
)

Attributes = Mapping[str, Mapping[str, str]]  # of people by name: gender, nationality, ...

STRATA: dict[str, tuple[str, ...]] = {
    "U": (),
    "G": ("gender",),
    "N": ("nationality",),
    "A": ("age",),
    "GN": ("gender", "nationality"),
    "GNA": ("gender", "nationality", "age"),
}
ANSWERS: dict[str, tuple[str, ...]] = {  # what a right answer shares with the asker
    "identity": (),
    "gender": ("gender",),
    "nationality": ("nationality",),
    "both": ("gender", "nationality"),
}
_YEARS = 10  # of a band of age


def known_values(own: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...] | None:
    """A person's values of some attributes, ages by decade; None where one is not known."""
    values = tuple(_decade(own.get(key, "")) if key == "age" else own.get(key, "") for key in keys)
    return values if all(values) else None


def _decade(age: str) -> str:
    """``30-39`` for 34; what is no whole number, as a band that is given already, stays."""
    if not age.strip().isdigit():
        return age.strip()
    start = int(age) // _YEARS * _YEARS
    return f"{start}-{start + _YEARS - 1}"


def by_attribute(
    protocol: Verification | Retrieval, attributes: Attributes, answer: str
) -> Verification | Retrieval:
    """The same questions asked by an attribute: which answers share it.

    ``answer`` is a key of ANSWERS other than identity. What of somebody of whom it is not known
    is left out. Raises BadRequest where nothing remains.
    """
    items = protocol.items
    labels = _labels(items, attributes, ANSWERS[answer])[items.people]
    name = f"{protocol.name} by {answer}"
    if isinstance(protocol, Retrieval):
        queries, gallery = (
            part[labels[part] >= 0] for part in (protocol.queries, protocol.gallery)
        )
        if not len(queries) or not len(gallery):
            raise BadRequest(f"{name}: nobody's {answer} is known; name a table of the people.")
        return Retrieval(name, items, queries, gallery, labels)
    asked, answers = labels[protocol.first], labels[protocol.second]
    kept = (asked >= 0) & (answers >= 0)
    if not kept.any():
        raise BadRequest(f"{name}: nobody's {answer} is known; name a table of the people.")
    same = (asked == answers)[kept]
    return Verification(name, items, protocol.first[kept], protocol.second[kept], same)


def _labels(items: Items, attributes: Attributes, keys: Sequence[str]) -> Ints:
    """A number for each person's values (people,); -1 where one is not known."""
    found = [known_values(attributes.get(name, {}), keys) for name in items.names]
    numbers = {values: number for number, values in enumerate(sorted(filter(None, set(found))))}
    return np.array([-1 if values is None else numbers[values] for values in found], np.int64)


@dataclasses.dataclass(frozen=True, slots=True)
class Generator:
    """Makes protocols over some items, in one direction and stratum.

    People of whom an attribute of the stratum is not known take no part in it. ``among`` are the
    people who take part at all, by name, and ``who`` what they are called in a protocol's name.
    """

    items: Items
    probe: Modality
    answer: Modality
    attributes: Attributes = dataclasses.field(default_factory=dict)
    stratum: str = "U"
    seed: int = 0
    among: frozenset[str] | None = None
    who: str = ""

    def verification(self) -> Verification:
        """For every probe that can have both, a pair with its own person and one with another.

        Raises BadRequest where no probe can.
        """
        trials = self._matching(2, "verification")
        first = np.repeat(trials.probes, 2)
        second = trials.candidates.ravel()
        same = (np.arange(2)[None] == trials.truth[:, None]).ravel()
        return Verification(self._name("verification"), self.items, first, second, same)

    def matching(self, choices: int) -> Matching:
        """For every probe its own person among ``choices`` people, 2 to 100, at a random place.

        Raises BadRequest where the stratum has too few people.
        """
        return self._matching(choices, f"1:{choices} matching")

    def _matching(self, choices: int, what: str) -> Matching:
        rng = np.random.default_rng([self.seed, choices])
        pools = _Pools(self._of(self.answer), self.items, self._keys())
        drawn = [(probe, pools.draw(int(probe), choices, rng)) for probe in self._of(self.probe)]
        rows = [(probe, row) for probe, row in drawn if row is not None]
        if not rows:
            raise BadRequest(
                f"{what} {direction(self.probe, self.answer)} within "
                f"{self.stratum} needs {choices} people with both sides; there are fewer."
            )
        truth = rng.integers(0, choices, len(rows))
        candidates = np.array([row[1] for row in rows], np.int64)
        places = np.arange(len(rows))
        displaced = candidates[places, truth]
        candidates[places, truth] = candidates[:, 0]
        candidates[truth > 0, 0] = displaced[truth > 0]
        probes = np.array([row[0] for row in rows], np.int64)
        return Matching(self._name(f"1:{choices}"), self.items, probes, candidates, truth)

    def verification_by(self, answer: str) -> Verification:
        """For every probe that can have both, a pair with somebody who shares an attribute with
        its person, and one with somebody who does not; ``answer`` is a key of ANSWERS.

        Raises BadRequest where no probe can.
        """
        rng = np.random.default_rng(self.seed)
        labels = _labels(self.items, self.attributes, ANSWERS[answer])
        pools = _Alike(self._of(self.answer), self.items, self._keys(), labels)
        drawn = [(probe, pools.draw(int(probe), rng)) for probe in self._of(self.probe)]
        rows = [(probe, *pair) for probe, pair in drawn if pair is not None]
        name = f"{self._name('verification')} by {answer}"
        if not rows:
            raise BadRequest(f"{name} needs people who share it and people who do not.")
        places = np.array(rows, np.int64)
        first, second = np.repeat(places[:, 0], 2), places[:, 1:].ravel()
        same = np.tile([True, False], len(places))
        return Verification(name, self.items, first, second, same)

    def retrieval(self) -> Retrieval:
        """All of one modality ask all of the other; strata do not apply.

        Raises BadRequest where no question has a right answer.
        """
        queries, gallery = self._of(self.probe), self._of(self.answer)
        pools = _Pools(gallery, self.items, self._keys())
        if not any(len(pools.right(int(probe))) for probe in queries):
            raise BadRequest(
                f"retrieval {direction(self.probe, self.answer)} needs a {self.probe} and a "
                f"{'further ' if self.probe == self.answer else ''}{self.answer} of one person; "
                "there are none."
            )
        return Retrieval(self._name("retrieval"), self.items, queries, gallery)

    def _name(self, kind: str) -> str:
        name = f"{kind} {direction(self.probe, self.answer)} {self.stratum}"
        return f"{name} {self.who}".rstrip()

    def _of(self, modality: Modality) -> Ints:
        found = np.array([each == modality for each in self.items.modalities])
        if self.among is not None:
            found &= np.array([name in self.among for name in self.items.names])[self.items.people]
        return np.flatnonzero(found)

    def _keys(self) -> list[tuple[str, ...] | None]:
        """Each person's values of the stratum; None where one is not known."""
        wanted = STRATA[self.stratum]
        return [known_values(self.attributes.get(name, {}), wanted) for name in self.items.names]


class _Pools:
    """Answers by person, and people by their values of a stratum."""

    def __init__(self, answers: Ints, items: Items, keys: Sequence[tuple[str, ...] | None]) -> None:
        self._items, self._keys = items, keys
        self._answers = {
            int(who): answers[items.people[answers] == who]
            for who in np.unique(items.people[answers])
        }
        self._people: dict[tuple[str, ...], list[int]] = {}
        for who in self._answers:
            key = keys[who]
            if key is not None:
                self._people.setdefault(key, []).append(who)

    def draw(self, probe: int, choices: int, rng: np.random.Generator) -> list[int] | None:
        """Candidates of a probe, the right one first; None where there are not enough."""
        who = int(self._items.people[probe])
        key = self._keys[who]
        right = self.right(probe)
        pool = [] if key is None else [other for other in self._people.get(key, []) if other != who]
        if not len(right) or len(pool) < choices - 1:
            return None
        others = rng.choice(pool, choices - 1, replace=False).tolist()
        return [int(rng.choice(right)), *(int(rng.choice(self._answers[one])) for one in others)]

    def right(self, probe: int) -> Ints:
        """Other items of the same person, of other recordings where those are known."""
        own = self._answers.get(int(self._items.people[probe]), np.zeros(0, np.int64))
        own = own[own != probe]
        others: Ints = own[~self._items.same_video(np.array([probe]), own)]
        return others


class _Alike:
    """Answers of other people who share an attribute with the asker and of people who do not."""

    def __init__(
        self,
        answers: Ints,
        items: Items,
        keys: Sequence[tuple[str, ...] | None],
        labels: Ints,
    ) -> None:
        self._items, self._keys, self._labels = items, keys, labels
        who = items.people[answers]
        self._answers = {int(one): answers[who == one] for one in np.unique(who)}
        self._people: dict[tuple[str, ...], Ints] = {}
        for key in {key for key in keys if key is not None}:
            own = [one for one in self._answers if keys[one] == key and labels[one] >= 0]
            self._people[key] = np.array(own, np.int64)

    def draw(self, probe: int, rng: np.random.Generator) -> tuple[int, int] | None:
        """One that shares the attribute, then one that does not; None where either is missing."""
        who = int(self._items.people[probe])
        key = self._keys[who]
        if key is None or self._labels[who] < 0:
            return None
        others = self._people[key]
        others = others[others != who]
        share = self._labels[others] == self._labels[who]
        if not share.any() or share.all():
            return None
        alike, unlike = (
            int(rng.choice(self._answers[int(rng.choice(others[part]))]))
            for part in (share, ~share)
        )
        return alike, unlike
