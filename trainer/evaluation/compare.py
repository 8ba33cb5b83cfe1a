"""Two scorers on one protocol: the difference of every figure, in the same draws of people."""

from __future__ import annotations

import dataclasses

import numpy as np

from trainer.evaluation.bootstrap import interval
from trainer.evaluation.score import BootstrapMetric, Metric, Scores

SMALLER_IS_BETTER = ("EER",)


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A figure of two scorers and the first less the second, with its 95 % interval.

    The interval is over people, the same drawn for both. ``better`` is 1 or 2 for the scorer that
    is better, and 0 where the interval holds nought, so that other people might say otherwise.
    """

    first: float
    second: float
    difference: Metric
    better: int


def differences(first: Scores, second: Scores) -> dict[str, Difference]:
    """Of every figure of one protocol; ValueError where two were scored."""
    if first.protocol is not second.protocol:
        raise ValueError("only scores of one protocol can be compared")
    ones, others = first.measure().figures, second.measure().figures
    found = {}
    for name, one in ones.items():
        other = others[name]
        difference = apart(one, other)
        found[name] = Difference(one.value, other.value, difference, _better(name, difference))
    return found


def apart(one: BootstrapMetric, other: BootstrapMetric) -> Metric:
    """The first less the second, in the same draws of the same people."""
    with np.errstate(invalid="ignore"):
        return Metric(one.value - other.value, *interval(one.drawn - other.drawn))


def _better(name: str, difference: Metric) -> int:
    """Which scorer is better beyond doubt of the interval."""
    if not (difference.lower > 0 or difference.upper < 0):
        return 0
    return 1 if (difference.lower > 0) != (name in SMALLER_IS_BETTER) else 2
