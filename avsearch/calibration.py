"""Scores as evidence, by the calibration of a checkpoint. No torch.

A log-likelihood ratio (natural logarithm) compares the likelihood of a score if two items are of
one person with its likelihood if they are of two. :mod:`trainer.evaluation.calibration` fits a
calibration on people who took no part in training.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.types import Modality

RECORD = "calibration"  # the key of a checkpoint's record, with values by direction
# Lower bounds of the likelihood ratios on the verbal scale: ENFSI guideline for evaluative
# reporting in forensic science, 2015, section 2.4. A ratio below 1 supports another person.
_SCALE = (
    (1e6, "extremely strong"),
    (1e4, "very strong"),
    (1e3, "strong"),
    (1e2, "moderately strong"),
    (1e1, "moderate"),
    (2.0, "weak"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Calibration:
    """The log-likelihood ratio of a score: ``scale * score + offset``, within bounds.

    The pairs of the fit support no ratio outside ``least`` and ``most``
    (:func:`trainer.evaluation.calibration.bounds`).
    """

    scale: float
    offset: float
    least: float = -math.inf  # 0 at most
    most: float = math.inf  # 0 at least

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the log-likelihood ratios of scores of any shape."""
        return np.clip(self.unbounded(scores), self.least, self.most)

    def unbounded(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the ratios without bounds, beyond which scores still rank choices."""
        ratios: NDArray[np.float64] = self.scale * np.asarray(scores, np.float64) + self.offset
        return ratios


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """A score as evidence that two items are of one person.

    Attributes:
        log_likelihood_ratio: The natural logarithm of the ratio.
        probability: The probability of the hit's person, 0 to 1, if exactly one of ``people`` is
            right and each is equally likely beforehand; other hits' scores are not used.
        support: The ratio on the verbal scale of ENFSI.
        people: The number of people who could be the answer.
    """

    log_likelihood_ratio: float
    probability: float
    support: str
    people: int

    @classmethod
    def of(cls, ratio: float, people: int) -> Evidence:
        """Return the evidence of a log-likelihood ratio among ``people``, 1 or more."""
        return cls(ratio, probability(ratio, people), support(ratio), people)


def direction(query: Modality, answer: Modality) -> str:
    """Return ``V-F`` for a voice as the query and faces as answers."""
    return f"{query[0].upper()}-{answer[0].upper()}"


def calibrations_of(record: Mapping[str, Any]) -> dict[str, Calibration]:
    """Return the calibrations of a checkpoint's record by direction; empty without any."""
    found = record.get(RECORD)
    if not isinstance(found, Mapping):
        return {}
    return {
        str(way): Calibration(
            float(one["scale"]),
            float(one["offset"]),
            float(one.get("least", -math.inf)),
            float(one.get("most", math.inf)),
        )
        for way, one in found.items()
    }


def probability(ratio: float, people: int) -> float:
    """Return the posterior by Bayes' rule from prior odds of 1 to ``people - 1``."""
    if people <= 1:
        return 1.0
    return 1 / (1 + math.exp(min(math.log(people - 1) - ratio, 700.0)))


def support(ratio: float) -> str:
    """Return a log-likelihood ratio in words, with ``against`` if it supports another person."""
    size = math.exp(min(abs(ratio), 700.0))
    word = next((word for least, word in _SCALE if size >= least), "none")
    return word if ratio >= 0 or word == "none" else f"{word} against"
