"""Two systems on one protocol: the difference of every metric, on the same bootstrap samples."""

from __future__ import annotations

import dataclasses

import numpy as np

from trainer.evaluation.bootstrap import interval
from trainer.evaluation.score import BootstrapMetric, Metric, Scores

SMALLER_IS_BETTER = ("EER",)


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A metric of two systems, and the first minus the second with its 95 % interval.

    The interval is over people, with the same samples for both systems. ``better`` is 1 or 2 for
    the better system, and 0 where the interval contains 0.
    """

    first: float
    second: float
    difference: Metric
    better: int


def differences(first: Scores, second: Scores) -> dict[str, Difference]:
    """Return the difference of every metric.

    Raises:
        ValueError: The scores belong to two protocols.
    """
    if first.protocol is not second.protocol:
        raise ValueError("only scores of one protocol can be compared")
    others = second.bootstrap().figures
    found = {}
    for name, one in first.bootstrap().figures.items():
        difference = difference_of(one, others[name])
        better = 0  # undecided where the interval contains 0
        if difference.lower > 0 or difference.upper < 0:
            better = 1 if (difference.lower > 0) != (name in SMALLER_IS_BETTER) else 2
        found[name] = Difference(one.value, others[name].value, difference, better)
    return found


def difference_of(one: BootstrapMetric, other: BootstrapMetric) -> Metric:
    """Return the first metric minus the second; both need samples of the same people."""
    with np.errstate(invalid="ignore"):
        return Metric(one.value - other.value, *interval(one.samples - other.samples))
