"""How far a figure could be off because other people might have been asked.

People are drawn with replacement; everything of a person comes and goes with them, because the
trials of one person stand and fall together. A trial of two people counts as often as both were
drawn. 95 % intervals by the percentiles of the draws. The same number of people gives the same
draws, so that two scorers can be compared draw by draw.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import Bools, Floats
from trainer.protocols.trials import Ints

DRAWS = 500
LEVEL = 0.95
_BINS = 2048  # of equally many trials each: the interval's ends move by less than its noise
_TAIL = 256  # more of them among the highest false matches, where low rates are read off
_DENSE = 64  # cells of a table of people and bins that cost less than a pair of one person

Interval = tuple[float, float]
Drawn = NDArray[np.float64]  # (draws,) a figure in each draw; NaN where a draw gives none


class Draws:
    """How often each of n people was drawn in each draw, (draws, n)."""

    def __init__(self, people: int, *, draws: int = DRAWS, seed: int = 0) -> None:
        self.counts = _counts(people, draws, seed)

    def mean(self, values: Floats, people: Ints) -> Drawn:
        """The mean of values (n,), each of one person."""
        number = self.counts.shape[1]
        sums = np.bincount(people, values, number)
        sizes = np.bincount(people, minlength=number)
        with np.errstate(invalid="ignore"):
            means: Drawn = (self.counts @ sums) / (self.counts @ sizes)
        return means

    def mean_of_pairs(self, values: Floats, first: Ints, second: Ints) -> Drawn:
        """The mean of values (n,), each of a pair of these people; of one person once."""
        alone, means = first == second, np.empty(len(self.counts))
        for at, drawn in enumerate(self.counts.astype(float)):
            weights = drawn[first] * np.where(alone, 1.0, drawn[second])
            with np.errstate(invalid="ignore"):
                means[at] = (weights @ values) / weights.sum()
        return means

    def pairs(self, scores: Floats, same: Bools, first: Ints, second: Ints) -> DrawnPairs:
        """Scored pairs (n,) of these people, as each draw weighs them."""
        bins = _bins(scores, same)
        count = int(bins.max(initial=0)) + 1
        wrong, right = (
            self._weights(bins[kind], first[kind], second[kind], count) for kind in (~same, same)
        )
        return DrawnPairs(wrong, right)

    def _weights(self, bins: Ints, first: Ints, second: Ints, count: int) -> Floats:
        """How much each draw puts into each bin, (draws, count); a pair of one person once."""
        alone = first == second
        everyone_alone = bool(alone.all())
        if everyone_alone and self.counts.shape[1] * count <= _DENSE * len(bins):
            return self._of_one(bins, first, count)
        weights = np.empty((len(self.counts), count))
        for at, drawn in enumerate(self.counts.astype(float)):
            others = 1.0 if everyone_alone else np.where(alone, 1.0, drawn[second])
            weights[at] = np.bincount(bins, drawn[first] * others, count)
        return weights

    def _of_one(self, bins: Ints, people: Ints, count: int) -> Floats:
        """The same of pairs of one person, by how many each person has in each bin."""
        number = self.counts.shape[1]
        held = np.bincount(people * count + bins, minlength=number * count)
        weights: Floats = self.counts.astype(float) @ held.reshape(number, count).astype(float)
        return weights


@dataclasses.dataclass(frozen=True)
class DrawnPairs:
    """Weights of pairs that do not match and that do, (draws, bins), the scores rising by bin."""

    wrong: Floats
    right: Floats

    def auc(self) -> Drawn:
        """The area under the ROC; pairs in one bin count half."""
        below = np.cumsum(self.wrong, 1) - self.wrong / 2
        with np.errstate(invalid="ignore"):
            areas: Drawn = (self.right * below).sum(1) / (self.right.sum(1) * self.wrong.sum(1))
        return areas

    def eer(self) -> Drawn:
        """The equal error rate."""
        with np.errstate(invalid="ignore"):
            missed = self._missed
            gap = missed - (1 - self._rejected)  # rises from -1 to 1
            after = np.argmax(gap >= 0, 1)[:, None]
            low, high = (np.take_along_axis(gap, at, 1) for at in (after - 1, after))
            rates = [np.take_along_axis(missed, at, 1) for at in (after - 1, after)]
            crossed: Drawn = (rates[0] - low / (high - low) * (rates[1] - rates[0]))[:, 0]
        return crossed

    def true_match_rate(self, false_match_rate: float) -> Drawn:
        """The largest true match rate at no larger a false match rate; thresholds between bins."""
        # Sums of shares end a rounding away from 1.
        allowed = 1 - self._rejected <= false_match_rate + 1e-12
        first = np.argmax(allowed, 1)[:, None]
        found = 1 - np.take_along_axis(self._missed, first, 1)[:, 0]
        rates: Drawn = np.where(allowed.any(1), found, np.nan)
        return rates

    @functools.cached_property
    def _missed(self) -> Floats:
        """The false non-match rate at each threshold between bins, (draws, bins + 1)."""
        return _rising(self.right)

    @functools.cached_property
    def _rejected(self) -> Floats:
        """The true non-match rate at each threshold, (draws, bins + 1)."""
        return _rising(self.wrong)


def interval(values: Drawn) -> Interval:
    """The interval of the draws that gave a value; NaN where none did."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _rising(weights: Floats) -> Floats:
    """Share (draws, bins + 1) of the weight that lies below each bin's end, from nought on."""
    shares = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, 1, out=shares[:, 1:])
    with np.errstate(invalid="ignore"):
        shares /= shares[:, -1:]
    return shares


@functools.lru_cache(maxsize=4)
def _counts(people: int, draws: int, seed: int) -> Ints:
    """How often each of so many people is drawn in each draw; groups of one protocol share it."""
    rng = np.random.default_rng(seed)
    counts: Ints = rng.multinomial(people, np.full(people, 1 / max(people, 1)), draws)
    counts.setflags(write=False)
    return counts


def _bins(scores: Floats, same: Bools) -> Ints:
    """Numbers (n,) of some thousand bins at most; equal scores share one.

    Scores may be minus infinity, where there is nothing to compare.
    """
    values, places = np.unique(scores, return_inverse=True)
    if len(values) <= _BINS:
        return places
    finite = np.isfinite(scores)
    ends = np.quantile(scores[finite], np.linspace(0, 1, _BINS + 1)[1:-1])
    wrong = scores[finite & ~same]
    if len(wrong):
        tail = np.quantile(wrong, 1 - np.geomspace(1e-5, 0.1, _TAIL))
        ends = np.concatenate([ends, tail])
    return np.searchsorted(np.unique(ends), scores, "right")
