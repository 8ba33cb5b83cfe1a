"""How strong a score is as evidence, by the calibration that a checkpoint carries. No torch.

A log-likelihood ratio (natural logarithm) says how much more likely a score is where two items
are of one person than where they are of two. A calibration is fitted by
:mod:`trainer.evaluation.calibration` on people who took no part in training.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.types import Modality

RECORD = "calibration"  # where a checkpoint's record has it, by direction
# The verbal scale for likelihood ratios from each of these on: ENFSI guideline for evaluative
# reporting in forensic science, 2015, section 2.4. Below 1 the ratio supports another person.
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

    Outside ``least`` and ``most`` the pairs that it was fitted on tell nothing
    (:func:`trainer.evaluation.calibration.bounds`).
    """

    scale: float
    offset: float
    least: float = -math.inf  # 0 at most
    most: float = math.inf  # 0 at least

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Log-likelihood ratios of scores of any shape."""
        return np.clip(self.unbounded(scores), self.least, self.most)

    def unbounded(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """The same without bounds, beyond which scores still tell one choice from another."""
        ratios: NDArray[np.float64] = self.scale * np.asarray(scores, np.float64) + self.offset
        return ratios


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """What a score is worth.

    ``probability`` is that of the hit's person where exactly one of the ``people`` who could
    answer is right and each as likely beforehand; of the scores it knows only the hit's own.
    ``support`` is the verbal scale of ENFSI.
    """

    log_likelihood_ratio: float
    probability: float  # 0 to 1
    support: str
    people: int

    @classmethod
    def of(cls, ratio: float, people: int) -> Evidence:
        """Of a log-likelihood ratio, among so many people, 1 or more."""
        return cls(ratio, probability(ratio, people), support(ratio), people)


def direction(asked: Modality, answer: Modality) -> str:
    """``V-F``: a voice asks, faces answer."""
    return f"{asked[0].upper()}-{answer[0].upper()}"


def calibrations_of(record: Mapping[str, Any]) -> dict[str, Calibration]:
    """The calibrations of a checkpoint's record by direction; none where it has none."""
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
    """By Bayes' rule from prior odds of 1 to ``people - 1``."""
    if people <= 1:
        return 1.0
    return 1 / (1 + math.exp(min(math.log(people - 1) - ratio, 700.0)))


def support(ratio: float) -> str:
    """A log-likelihood ratio in words; ``against`` where it speaks for another person."""
    size = math.exp(min(abs(ratio), 700.0))
    word = next((word for least, word in _SCALE if size >= least), "none")
    return word if ratio >= 0 or word == "none" else f"{word} against"
