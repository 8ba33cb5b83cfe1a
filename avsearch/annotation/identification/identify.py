"""Open-set identification: one-to-one names for all speakers, or "unknown"."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from avsearch.annotation.identification.assignment import assign
from avsearch.annotation.identification.evidence_matrix import EvidenceMatrix, Floats
from avsearch.calibration import support

PRIOR: Final = 0.5  # the probability that a speaker is in the index, before any evidence
MIN_PROBABILITY: Final = 0.5  # of a name
MAX_CANDIDATES: Final = 5  # to report for each speaker


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A person who could be a speaker.

    Attributes:
        person: The key of the person.
        name: The name of the person, if known.
        scores: Cosines by direction, such as ``{"V-V": 0.81}``.
        log_likelihood_ratio: All evidence together, natural.
        support: The strength of the evidence in words.
        probability: The probability of being the speaker, if half of all speakers are in the index
            and nobody has two speakers' names.
    """

    person: str
    name: str | None
    scores: dict[str, float]
    log_likelihood_ratio: float
    support: str
    probability: float


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """The identity of a speaker.

    Attributes:
        person: The key of the person; None for an unknown speaker.
        name: The name of the person, if known.
        candidates: The likeliest people, the best first.
        margin: The log-likelihood ratio of the best less that of the second; None without one.
        elsewhere: For an unknown speaker, the person who would be likely enough, and the other
            speaker who is that person: one person may have been split in two.
        nearest: The most similar person of the whole index, also if another speaker has the name;
            None if nobody was compared.
    """

    person: str | None
    name: str | None
    candidates: tuple[Candidate, ...]
    margin: float | None
    elsewhere: tuple[str, str] | None = None
    nearest: Candidate | None = None

    @property
    def probability(self) -> float | None:
        """The probability of the best candidate."""
        return self.candidates[0].probability if self.candidates else None


def best_score(scores: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the most reliable cosine with its direction: of two voices, of two faces, or any."""
    ways = sorted(scores, key=lambda way: (way not in ("V-V", "F-F"), way != "V-V", way))
    return (ways[0], scores[ways[0]]) if ways else None


def decide(
    evidence: EvidenceMatrix,
    min_probability: float = MIN_PROBABILITY,
    max_candidates: int = MAX_CANDIDATES,
) -> dict[str, Decision]:
    """Return the decision for every speaker: each gets another person, or none.

    The assignment maximises the probability of all names together. A name that is then less
    probable than ``min_probability``, or that the evidence does not support, is not given.
    """
    log_odds = _log_odds(evidence)
    count = len(evidence.people)
    nobody = np.zeros((len(evidence.speakers),) * 2)
    columns = assign(np.concatenate([log_odds, nobody], axis=1)).tolist()
    assigned = [column if column < count else None for column in columns]
    names = _Assignment(evidence, log_odds, assigned, min_probability, max_candidates)
    return {speaker: names.decision(row) for row, speaker in enumerate(evidence.speakers)}


def find_nearest(evidence: EvidenceMatrix) -> dict[str, Decision]:
    """Return for every speaker a decision without a name, with the nearest person."""
    assigned: list[int | None] = [None] * len(evidence.speakers)
    names = _Assignment(evidence, _log_odds(evidence), assigned, 1.0, 0)
    return {
        speaker: Decision(None, None, (), None, nearest=names.nearest(row))
        for row, speaker in enumerate(evidence.speakers)
    }


def _log_odds(evidence: EvidenceMatrix) -> Floats:
    """Return the log odds (speakers, people) of each pair against an unknown speaker."""
    return evidence.ratios + math.log(PRIOR / (1 - PRIOR) / max(1, evidence.size))


def _probabilities(log_odds: Floats) -> Floats:
    """Return probabilities of log odds against an unknown speaker, whose own are 0."""
    top = max(0.0, float(log_odds.max(initial=0.0)))
    odds = np.exp(log_odds - top)
    shares: Floats = odds / (odds.sum() + math.exp(-top))
    return shares


@dataclasses.dataclass(frozen=True, slots=True)
class _Assignment:
    """Speakers with their columns of the evidence, None for unknown speakers."""

    evidence: EvidenceMatrix
    log_odds: Floats  # (speakers, people)
    assigned: list[int | None]
    min_probability: float
    max_candidates: int

    def decision(self, row: int) -> Decision:
        """Return the decision for a speaker, among the people that no other speaker has."""
        odds, own = self.log_odds[row], self.assigned[row]
        free = [at for at in range(len(odds)) if at == own or at not in self.assigned]
        free.sort(key=lambda at: (-odds[at], at != own, -self._score(row, at)))
        candidates = tuple(
            self._candidate(row, column, float(probability))
            for column, probability in zip(
                free[: self.max_candidates], _probabilities(odds[free]), strict=False
            )
        )
        margin = float(odds[free[0]] - odds[free[1]]) if len(free) > 1 else None
        nearest = self.nearest(row)
        if own is not None:
            best = candidates[0]
            if self._is_enough(best.log_likelihood_ratio, best.probability):
                return Decision(best.person, best.name, candidates, margin, None, nearest)
        return Decision(None, None, candidates, margin, self._elsewhere(row), nearest)

    def nearest(self, row: int) -> Candidate | None:
        """Return the likeliest of all people, by the score if several are; None without people."""
        odds = self.log_odds[row]
        if not len(odds):
            return None
        best = max(range(len(odds)), key=lambda at: (odds[at], self._score(row, at)))
        return self._candidate(row, best, float(_probabilities(odds)[best]))

    def _score(self, row: int, column: int) -> float:
        best = best_score(self.evidence.scores_of(row, column))
        return -math.inf if best is None else best[1]

    def _is_enough(self, ratio: float, probability: float) -> bool:
        """Return True if a name may be given; never without evidence, however few people."""
        return ratio > 0 and probability >= self.min_probability

    def _candidate(self, row: int, column: int, probability: float) -> Candidate:
        person, ratio = self.evidence.people[column], float(self.evidence.ratios[row, column])
        scores = self.evidence.scores_of(row, column)
        return Candidate(person.key, person.name, scores, ratio, support(ratio), probability)

    def _elsewhere(self, row: int) -> tuple[str, str] | None:
        odds = self.log_odds[row]
        if not len(odds):
            return None
        best = int(np.argmax(odds))
        ratio = float(self.evidence.ratios[row, best])
        if best in self.assigned and self._is_enough(ratio, float(_probabilities(odds)[best])):
            speaker = self.evidence.speakers[self.assigned.index(best)]
            return self.evidence.people[best].key, speaker
        return None
