"""Protocols made from any labelled media, by seed.

Every item asks once a protocol. Where a stratum is named, the wrong answers share the asker's
gender, nationality, or both, so that knowing those is of no help. Within one modality an item
is never compared with itself, nor, where recordings are known, with its own recording.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from avsearch.evidence import direction
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
    "GN": ("gender", "nationality"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Generator:
    """Makes protocols over some items, in one direction and stratum.

    People of whom an attribute of the stratum is not known take no part in it.
    """

    items: Items
    probe: Modality
    answer: Modality
    attributes: Attributes = dataclasses.field(default_factory=dict)
    stratum: str = "U"
    seed: int = 0

    def verification(self) -> Verification:
        """For every probe that can have both, a pair with its own person and one with another.

        Raises BadRequest where no probe can.
        """
        trials = self.matching(2)
        first = np.repeat(trials.probes, 2)
        second = trials.candidates.ravel()
        same = (np.arange(2)[None] == trials.truth[:, None]).ravel()
        return Verification(self._name("verification"), self.items, first, second, same)

    def matching(self, choices: int) -> Matching:
        """For every probe its own person among ``choices`` people, 2 to 100, at a random place.

        Raises BadRequest where the stratum has too few people.
        """
        rng = np.random.default_rng([self.seed, choices])
        pools = _Pools(self._of(self.answer), self.items, self._keys())
        drawn = [(probe, pools.draw(int(probe), choices, rng)) for probe in self._of(self.probe)]
        rows = [(probe, row) for probe, row in drawn if row is not None]
        if not rows:
            raise BadRequest(
                f"1:{choices} matching {direction(self.probe, self.answer)} within "
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

    def retrieval(self) -> Retrieval:
        """All of one modality ask all of the other; strata do not apply.

        Raises BadRequest where a modality is missing.
        """
        queries, gallery = self._of(self.probe), self._of(self.answer)
        if not len(queries) or not len(gallery):
            raise BadRequest(f"Retrieval needs a {self.probe} and a {self.answer} at least.")
        return Retrieval(self._name("retrieval"), self.items, queries, gallery)

    def _name(self, kind: str) -> str:
        return f"{kind} {direction(self.probe, self.answer)} {self.stratum}"

    def _of(self, modality: Modality) -> Ints:
        return np.flatnonzero([each == modality for each in self.items.modalities])

    def _keys(self) -> list[tuple[str, ...] | None]:
        """Each person's values of the stratum; None where one is not known."""
        wanted = STRATA[self.stratum]
        rows = [
            tuple(self.attributes.get(name, {}).get(key, "") for key in wanted)
            for name in self.items.names
        ]
        return [row if all(row) else None for row in rows]


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
        right = self._right(probe, who)
        pool = [] if key is None else [other for other in self._people.get(key, []) if other != who]
        if not len(right) or len(pool) < choices - 1:
            return None
        others = rng.choice(pool, choices - 1, replace=False).tolist()
        return [int(rng.choice(right)), *(int(rng.choice(self._answers[one])) for one in others)]

    def _right(self, probe: int, who: int) -> Ints:
        """Other items of the same person, of other recordings where those are known."""
        own = self._answers.get(who, np.zeros(0, np.int64))
        own = own[own != probe]
        others: Ints = own[~self._items.same_video(np.array([probe]), own)]
        return others
