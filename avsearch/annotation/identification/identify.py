"""Names for all speakers at once: an assignment, with "unknown" where the evidence is weak."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from avsearch.annotation.identification.assignment import assign
from avsearch.annotation.identification.evidence_matrix import Evidence, Floats
from avsearch.calibration import direction, support
from indexer.types import MODALITIES

KNOWN: Final = 0.5  # how likely a speaker is somebody of the index, before anything is heard
LEAST_PROBABILITY: Final = 0.5  # of a name that is given
SHOWN: Final = 5  # candidates that are reported of each speaker


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody of the index whom a speaker could be.

    ``scores`` are cosines by direction, such as ``{"V-V": 0.81}``; ``log_likelihood_ratio`` is
    natural, all evidence together, and ``support`` is its strength in words; ``probability`` that
    of being the speaker, if half of all speakers are of the index and the people who got another
    speaker's name are not.
    """

    person: str
    name: str | None
    scores: dict[str, float]
    log_likelihood_ratio: float
    support: str
    probability: float


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Who a speaker is. ``person`` None is unknown; ``candidates`` come best first.

    ``margin`` is by how much the log-likelihood ratio of the best exceeds that of the next, None
    where there is no next. ``elsewhere`` is of an unknown speaker the person who would be likely
    enough, and the speaker who is that person instead: one person may have been split in two.
    ``nearest`` is the person of the whole index who is most like the speaker, whoever has the name
    of that person; None where nothing could be compared.
    """

    person: str | None
    name: str | None
    candidates: tuple[Candidate, ...]
    margin: float | None
    elsewhere: tuple[str, str] | None = None
    nearest: Candidate | None = None

    @property
    def probability(self) -> float | None:
        """That of the best candidate."""
        return self.candidates[0].probability if self.candidates else None


def best_score(scores: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the cosine by direction that says most: of two voices, of two faces, or else any."""
    ways = sorted(scores, key=lambda way: (way not in ("V-V", "F-F"), way != "V-V", way))
    return (ways[0], scores[ways[0]]) if ways else None


def decide(
    evidence: Evidence, least_probability: float = LEAST_PROBABILITY, shown: int = SHOWN
) -> dict[str, Decision]:
    """Give every speaker of the evidence a person, one to one, or nobody.

    The assignment maximises the probability of all names together; a name that is then less
    likely than ``least_probability`` is not given, nor one that the evidence does not speak for.
    ``shown`` candidates are reported of each.
    """
    weights = _log_weights(evidence)
    names = _Names(evidence, weights, _assigned(weights), least_probability, shown)
    return {speaker: names.decision(row) for row, speaker in enumerate(evidence.speakers)}


def unnamed(evidence: Evidence) -> dict[str, Decision]:
    """Return for every speaker of the evidence that nobody is named, and who is nearest."""
    weights = _log_weights(evidence)
    names = _Names(evidence, weights, [None] * len(evidence.speakers), 1.0, 0)
    return {
        speaker: Decision(None, None, (), None, nearest=names.nearest(row))
        for row, speaker in enumerate(evidence.speakers)
    }


def _log_weights(evidence: Evidence) -> Floats:
    """How likely each pair is, next to the speaker being nobody of the index: a log of odds."""
    prior = math.log(KNOWN / (1 - KNOWN) / max(1, evidence.size))
    return evidence.ratios + prior


def _assigned(weights: Floats) -> list[int | None]:
    """The column of each row; None where being nobody of the index is likelier for all in all."""
    rows, columns = weights.shape
    nobody = np.zeros((rows, rows))
    return [
        int(column) if column < columns else None
        for column in assign(np.concatenate([weights, nobody], axis=1))
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class _Names:
    """Speakers with the people they were assigned, ``chosen`` (speakers,) columns or None."""

    evidence: Evidence
    weights: Floats  # (speakers, people) log odds
    chosen: list[int | None]
    least_probability: float
    shown: int

    def decision(self, row: int) -> Decision:
        """One speaker's, among the people whom no other speaker was assigned."""
        weights, chosen = self.weights[row], self.chosen[row]
        free = [at for at in range(len(weights)) if at == chosen or at not in self.chosen]
        free.sort(key=lambda at: (-weights[at], at != chosen, -self._score(row, at)))
        candidates = self._candidates(row, free)
        margin = float(weights[free[0]] - weights[free[1]]) if len(free) > 1 else None
        best, nearest = None if chosen is None else candidates[0], self.nearest(row)
        if best is None or not self._is_enough(best.log_likelihood_ratio, best.probability):
            return Decision(None, None, candidates, margin, self._elsewhere(row), nearest)
        return Decision(best.person, best.name, candidates, margin, None, nearest)

    def nearest(self, row: int) -> Candidate | None:
        """Return the person of all who is likeliest, or has the best score where none is."""
        weights = self.weights[row]
        if not len(weights):
            return None
        best = max(range(len(weights)), key=lambda at: (weights[at], self._score(row, at)))
        return self._candidate(row, best, float(_probabilities(weights)[best]))

    def _score(self, row: int, column: int) -> float:
        """Return the cosine by which people without evidence are ordered."""
        best = best_score(_scores_of(self.evidence, row, column))
        return -math.inf if best is None else best[1]

    def _is_enough(self, ratio: float, probability: float) -> bool:
        """Whether a name may be given; never against or without evidence, however few there are."""
        return ratio > 0 and probability >= self.least_probability

    def _candidates(self, row: int, columns: list[int]) -> tuple[Candidate, ...]:
        probabilities = _probabilities(self.weights[row, columns])
        return tuple(
            self._candidate(row, column, float(probability))
            for column, probability in zip(columns[: self.shown], probabilities, strict=False)
        )

    def _candidate(self, row: int, column: int, probability: float) -> Candidate:
        who, ratio = self.evidence.people[column], float(self.evidence.ratios[row, column])
        scores = _scores_of(self.evidence, row, column)
        return Candidate(who.key, who.name, scores, ratio, support(ratio), probability)

    def _elsewhere(self, row: int) -> tuple[str, str] | None:
        """Who would be named, were they not another speaker, and which."""
        if not self.weights.shape[1]:
            return None
        best = int(np.argmax(self.weights[row]))
        probability = float(_probabilities(self.weights[row])[best])
        ratio = float(self.evidence.ratios[row, best])
        if best not in self.chosen or not self._is_enough(ratio, probability):
            return None
        return self.evidence.people[best].key, self.evidence.speakers[self.chosen.index(best)]


def _probabilities(weights: Floats) -> Floats:
    """Of log odds next to nobody, whose own are 0."""
    top = max(0.0, float(weights.max(initial=0.0)))
    odds = np.exp(weights - top)
    shares: Floats = odds / (odds.sum() + math.exp(-top))
    return shares


def _scores_of(evidence: Evidence, row: int, column: int) -> dict[str, float]:
    return {
        direction(mine, theirs): float(evidence.scores[mine, theirs][row, column])
        for mine in MODALITIES
        for theirs in MODALITIES
        if np.isfinite(evidence.scores[mine, theirs][row, column])
    }
