"""How far a figure could be off because other people might have been asked.

People are drawn with replacement; everything of a person comes and goes with them, because the
trials of one person stand and fall together. A trial of two people counts as often as both were
drawn. 95 % intervals by the percentiles of the draws. The same number of people gives the same
draws, so that two scorers can be compared draw by draw.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import Bools, Floats
from trainer.protocols.trials import Ints

DRAWS = 500
LEVEL = 0.95
_BINS = 2048  # of equally many trials each: the interval's ends move by less than its noise
_TAIL = 256  # more of them among the highest false matches, where low rates are read off
_TOGETHER = 128  # pairs that are weighed at a time: few enough for a core's cache

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

    def pairs(self, scores: Floats, same: Bools, first: Ints, second: Ints) -> DrawnPairs:
        """Scored pairs (n,) of these people, as each draw weighs them; sorted ones are quickest."""
        rising = np.argsort(scores, kind="stable")
        same = same[rising]
        bins = _bins(scores[rising], same)
        first, second = first[rising], second[rising]
        wrong, right = (
            self._weights(bins[kind], first[kind], second[kind], int(bins.max(initial=0)) + 1)
            for kind in (~same, same)
        )
        return DrawnPairs(wrong, right)

    def _weights(self, bins: Ints, first: Ints, second: Ints, count: int) -> Floats:
        """How much each draw puts into each of the rising bins, (draws, count).

        A pair counts as often as both were drawn, one of a single person as often as that one.
        """
        times = self._times(len(bins))
        others = np.where(first == second, len(times) - 1, second)
        weights = np.zeros((count, times.shape[1]), times.dtype)
        for start in range(0, len(bins), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            own = np.arange(bins[start], bins[part][-1] + 1)
            held = (own[:, None] == bins[part]).astype(times.dtype)
            weights[own[0] : own[-1] + 1] += held @ (times[first[part]] * times[others[part]])
        return np.ascontiguousarray(weights.T, float)

    def _times(self, pairs: int) -> Floats:
        """How often each draw has each person, (n + 1, draws), and at the end once whoever it is.

        In float32 where sums over so many pairs are exact in it.
        """
        most = pairs * int(self.counts.max(initial=0)) ** 2
        ones = np.ones((len(self.counts), 1), int)
        kind = np.float32 if most < 2**24 else np.float64
        return np.ascontiguousarray(np.hstack([self.counts, ones]).T, kind)


@dataclasses.dataclass(frozen=True)
class DrawnPairs:
    """Weights of pairs that do not match and that do, (draws, bins), the scores rising by bin."""

    wrong: Floats
    right: Floats

    def auc(self) -> Drawn:
        """The area under the ROC; pairs in one bin count half."""
        every = self._missed[:, -1] * self._rejected[:, -1]
        below = np.einsum("db,db->d", self.right, self._rejected[:, :-1])
        tied = np.einsum("db,db->d", self.right, self.wrong)
        with np.errstate(invalid="ignore"):
            areas: Drawn = (below + tied / 2) / every
        return areas

    def eer(self) -> Drawn:
        """The equal error rate."""
        with np.errstate(invalid="ignore"):
            after = self._first(lambda at: self._gap(at) >= 0)
            low, high = self._gap(after - 1), self._gap(after)
            rates = [_share(self._missed, at) for at in (after - 1, after)]
            crossed: Drawn = rates[0] - low / (high - low) * (rates[1] - rates[0])
        return crossed

    def true_match_rate(self, false_match_rate: float) -> Drawn:
        """The largest true match rate at no larger a false match rate; thresholds between bins."""
        with np.errstate(invalid="ignore"):
            # Sums of shares end a rounding away from 1.
            first = self._first(
                lambda at: 1 - _share(self._rejected, at) <= false_match_rate + 1e-12
            )
            found = 1 - _share(self._missed, first)
        rates: Drawn = np.where(self._rejected[:, -1] > 0, found, np.nan)
        return rates

    def _gap(self, thresholds: Ints) -> Drawn:
        """False non-match less false match rate at thresholds (draws,); it rises from -1 to 1."""
        gap: Drawn = _share(self._missed, thresholds) - (1 - _share(self._rejected, thresholds))
        return gap

    def _first(self, holds: Callable[[Ints], Bools]) -> Ints:
        """The first threshold (draws,) of which ``holds``, as of all after it; the last if none."""
        low, high = np.zeros(len(self.right), int), np.full(len(self.right), self.right.shape[1])
        while (low < high).any():
            middle = (low + high) // 2
            held = holds(middle)
            low = np.where(held, low, np.minimum(middle + 1, high))
            high = np.where(held, middle, high)
        return low

    @functools.cached_property
    def _missed(self) -> Floats:
        """The weight of the matching pairs below each threshold between bins, (draws, bins + 1)."""
        return _below(self.right)

    @functools.cached_property
    def _rejected(self) -> Floats:
        """The weight of the others below each, (draws, bins + 1)."""
        return _below(self.wrong)


def interval(values: Drawn) -> Interval:
    """The interval of the draws that gave a value; NaN where none did."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _below(weights: Floats) -> Floats:
    """The weight (draws, bins + 1) that lies below each bin's end, from nought on."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, 1, out=sums[:, 1:])
    return sums


def _share(below: Floats, thresholds: Ints) -> Drawn:
    """Of all weight that below thresholds (draws,)."""
    shares: Drawn = below[np.arange(len(below)), thresholds] / below[:, -1]
    return shares


@functools.lru_cache(maxsize=4)
def _counts(people: int, draws: int, seed: int) -> Ints:
    """How often each of so many people is drawn in each draw; groups of one protocol share it."""
    rng = np.random.default_rng(seed)
    counts: Ints = rng.multinomial(people, np.full(people, 1 / max(people, 1)), draws)
    counts.setflags(write=False)
    return counts


def _bins(rising: Floats, same: Bools) -> Ints:
    """Numbers (n,) of some thousand bins at most of rising scores; equal ones share one.

    Scores may be minus infinity, where there is nothing to compare.
    """
    new = rising[1:] != rising[:-1]
    if np.count_nonzero(new) < _BINS:
        return np.cumsum(np.r_[0, new][: len(rising)])
    finite = np.isfinite(rising)
    ends = np.quantile(rising[finite], np.linspace(0, 1, _BINS + 1)[1:-1])
    wrong = rising[finite & ~same]
    if len(wrong):
        tail = np.quantile(wrong, 1 - np.geomspace(1e-5, 0.1, _TAIL))
        ends = np.concatenate([ends, tail])
    return np.searchsorted(np.unique(ends), rising, "right")
