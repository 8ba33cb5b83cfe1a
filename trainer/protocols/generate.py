"""Protocols generated from labelled media, by seed.

Every item is a probe once in a protocol. In a stratum the wrong answers share the probe's gender,
nationality, age or several of them, so that knowing those does not help. Within one modality an
item is never compared with itself, nor, where recordings are known, with its own recording. By
attribute, verification pairs two people who share it, and two who do not.
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
ANSWERS: dict[str, tuple[str, ...]] = {  # attributes that a right answer shares with the probe
    "identity": (),
    "gender": ("gender",),
    "nationality": ("nationality",),
    "both": ("gender", "nationality"),
}
_YEARS = 10  # of a band of age


def known_values(own: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...] | None:
    """Return a person's values of some attributes, ages by decade; None where one is unknown."""
    values = tuple(_decade(own.get(key, "")) if key == "age" else own.get(key, "") for key in keys)
    return values if all(values) else None


def _decade(age: str) -> str:
    """``30-39`` for 34; other texts, such as a band, stay."""
    if not age.strip().isdigit():
        return age.strip()
    start = int(age) // _YEARS * _YEARS
    return f"{start}-{start + _YEARS - 1}"


def by_attribute(
    protocol: Verification | Retrieval, attributes: Attributes, answer: str
) -> Verification | Retrieval:
    """Return the protocol with an attribute as label, without people who have no known value.

    ``answer`` is a key of ANSWERS other than identity.

    Raises:
        BadRequest: The attribute is unknown for everybody.
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
    """A number (people,) for each person's values; -1 where one is unknown."""
    found = [known_values(attributes.get(name, {}), keys) for name in items.names]
    numbers = {values: number for number, values in enumerate(sorted(filter(None, set(found))))}
    return np.array([-1 if values is None else numbers[values] for values in found], np.int64)


@dataclasses.dataclass(frozen=True, slots=True)
class Generator:
    """Generates protocols over some items, in one direction and stratum.

    People with an unknown attribute of the stratum take no part in it. ``among`` are the names of
    the people who take part at all, and ``who`` the name of their group in a protocol's name.
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
        """Return for every probe a pair with its own person, and a pair with another.

        Probes that cannot have both are left out.

        Raises:
            BadRequest: No probe is left.
        """
        trials = self._matching(2, "verification")
        first = np.repeat(trials.probes, 2)
        second = trials.candidates.ravel()
        same = (np.arange(2)[None] == trials.truth[:, None]).ravel()
        return Verification(self._name("verification"), self.items, first, second, same)

    def matching(self, choices: int) -> Matching:
        """Return for every probe ``choices`` people, 2 to 100, its own at a random position.

        Raises:
            BadRequest: The stratum has too few people.
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
        """Return for every probe a pair of people who share an attribute, and one who do not.

        ``answer`` is a key of ANSWERS. Probes that cannot have both are left out.

        Raises:
            BadRequest: No probe is left.
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
        """Return all items of one modality as queries of all of the other; without strata.

        Raises:
            BadRequest: No query has a right answer.
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
        """Each person's values of the stratum; None where one is unknown."""
        keys = STRATA[self.stratum]
        return [known_values(self.attributes.get(name, {}), keys) for name in self.items.names]


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
        """Draw candidates of a probe, the right one first; None where there are too few."""
        who = int(self._items.people[probe])
        key = self._keys[who]
        right = self.right(probe)
        pool = [] if key is None else [other for other in self._people.get(key, []) if other != who]
        if not len(right) or len(pool) < choices - 1:
            return None
        others = rng.choice(pool, choices - 1, replace=False).tolist()
        return [int(rng.choice(right)), *(int(rng.choice(self._answers[one])) for one in others)]

    def right(self, probe: int) -> Ints:
        """The person's other items, from other recordings where those are known."""
        own = self._answers.get(int(self._items.people[probe]), np.zeros(0, np.int64))
        own = own[own != probe]
        others: Ints = own[~self._items.same_video(np.array([probe]), own)]
        return others


class _Alike:
    """Answers of other people, by whether they share an attribute with the probe."""

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
        """Draw one that shares the attribute, then one that does not; None where one is missing."""
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
