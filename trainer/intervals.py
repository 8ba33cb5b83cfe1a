"""How far a figure could be off because other people might have been asked.

People are drawn with replacement; everything of a person comes and goes with them, because the
trials of one person stand and fall together. A trial of two people counts as often as both were
drawn. 95 % intervals by the percentiles of the draws.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from trainer.metrics import Bools, Floats
from trainer.protocols.trials import Ints

DRAWS = 500
LEVEL = 0.95
_BINS = 2048  # of equally many trials each: the interval's ends move by less than its noise

Interval = tuple[float, float]


class Draws:
    """How often each of n people was drawn in each draw, (draws, n)."""

    def __init__(self, people: int, *, draws: int = DRAWS, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.counts = rng.multinomial(people, np.full(people, 1 / max(people, 1)), draws)

    def mean(self, values: Floats, people: Ints) -> Interval:
        """The interval of a mean of values (n,), each of one person; NaN where there are none."""
        number = self.counts.shape[1]
        sums = np.bincount(people, values, number)
        sizes = np.bincount(people, minlength=number)
        with np.errstate(invalid="ignore"):
            return _percentiles((self.counts @ sums) / (self.counts @ sizes))

    def pairs(self, scores: Floats, same: Bools, first: Ints, second: Ints) -> DrawnPairs:
        """Scored pairs (n,) of these people, as each draw weighs them."""
        bins = _bins(scores)
        count = int(bins.max(initial=0)) + 1
        wrong, right = (np.empty((len(self.counts), count)) for _ in range(2))
        wrong_bins, wrong_first, wrong_second = bins[~same], first[~same], second[~same]
        right_bins, right_first = bins[same], first[same]
        for at, drawn in enumerate(self.counts.astype(float)):
            wrong[at] = np.bincount(wrong_bins, drawn[wrong_first] * drawn[wrong_second], count)
            right[at] = np.bincount(right_bins, drawn[right_first], count)
        return DrawnPairs(wrong, right)


@dataclasses.dataclass(frozen=True, slots=True)
class DrawnPairs:
    """Weights of pairs of two people and of one, (draws, bins), the scores rising by bin."""

    wrong: Floats
    right: Floats

    def auc(self) -> Interval:
        """The interval of the area under the ROC; pairs in one bin count half."""
        below = np.cumsum(self.wrong, 1) - self.wrong / 2
        with np.errstate(invalid="ignore"):
            return _percentiles(
                (self.right * below).sum(1) / (self.right.sum(1) * self.wrong.sum(1))
            )

    def eer(self) -> Interval:
        """The interval of the equal error rate."""
        with np.errstate(invalid="ignore"):
            missed = _rising(self.right)
            gap = missed - (1 - _rising(self.wrong))  # rises from -1 to 1
            after = np.argmax(gap >= 0, 1)[:, None]
            low, high = (np.take_along_axis(gap, at, 1) for at in (after - 1, after))
            rates = [np.take_along_axis(missed, at, 1) for at in (after - 1, after)]
            return _percentiles((rates[0] - low / (high - low) * (rates[1] - rates[0]))[:, 0])


def _rising(weights: Floats) -> Floats:
    """Share (draws, bins + 1) of the weight that lies below each bin's end, from nought on."""
    shares = np.cumsum(weights, 1) / weights.sum(1, keepdims=True)
    return np.pad(shares, ((0, 0), (1, 0)))


def _bins(scores: Floats) -> Ints:
    """Numbers (n,) of at most so many bins; equal scores share one."""
    values, places = np.unique(scores, return_inverse=True)
    if len(values) <= _BINS:
        return places
    ends = np.quantile(scores, np.linspace(0, 1, _BINS + 1)[1:-1])
    return np.searchsorted(np.unique(ends), scores, "right")


def _percentiles(values: Floats) -> Interval:
    """The interval of the draws that gave a value; NaN where none did."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
