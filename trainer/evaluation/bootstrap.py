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

from trainer.evaluation.metrics import Bools, Floats
from trainer.protocols.trials import Ints

RESAMPLES = 500
LEVEL = 0.95
_BINS = 2048  # of equally many trials each: the interval's ends move by less than its noise
_TAIL = 256  # more of them among the highest false matches, where low rates are read off
_TOGETHER = 40  # pairs that are weighed at a time: few enough for a product in one thread

Interval = tuple[float, float]
Samples = NDArray[np.float64]  # (draws,) a figure in each draw; NaN where a draw gives none


class PersonBootstrap:
    """How often each of n people was drawn in each draw, (draws, n)."""

    def __init__(self, people: int, *, draws: int = RESAMPLES, seed: int = 0) -> None:
        self.counts = _counts(people, draws, seed)

    def mean(self, values: Floats, people: Ints) -> Samples:
        """The mean of values (n,), each of one person."""
        number = self.counts.shape[1]
        sums = np.bincount(people, values, number)
        sizes = np.bincount(people, minlength=number)
        with np.errstate(invalid="ignore"):
            means: Samples = (self.counts @ sums) / (self.counts @ sizes)
        return means

    def mean_of_pairs(self, values: Floats, first: Ints, second: Ints) -> Samples:
        """The mean of values (n,), each of a pair of these people; of one person once."""
        alone, means = first == second, np.empty(len(self.counts))
        for at, drawn in enumerate(self.counts.astype(float)):
            weights = drawn[first] * np.where(alone, 1.0, drawn[second])
            with np.errstate(invalid="ignore"):
                means[at] = (weights @ values) / weights.sum()
        return means

    def pairs(self, scores: Floats, same: Bools, first: Ints, second: Ints) -> PairBootstrap:
        """Scored pairs (n,) of these people, as each draw weighs them; sorted ones are quickest."""
        rising = np.argsort(scores, kind="stable")
        same = same[rising]
        bins = _bins(scores[rising], same)
        first, second = first[rising], second[rising]
        rejected, missed = (
            self._below(bins[kind], first[kind], second[kind], int(bins.max(initial=0)) + 1)
            for kind in (~same, same)
        )
        return PairBootstrap(rejected, missed)

    def _below(self, bins: Ints, first: Ints, second: Ints, count: int) -> Floats:
        """The weight that each draw puts below each threshold of rising bins, (count + 1, draws).

        A pair counts as often as both were drawn, one of a single person as often as that one.
        """
        others = np.where(first == second, len(self._times) - 1, second)
        stops = np.append(bins[_TOGETHER::_TOGETHER], count)  # where the next pairs come in
        sums = np.zeros((count + 2, len(self.counts)))  # at the end of all
        room = np.empty((2, _TOGETHER, len(self.counts)), self._times.dtype)
        for start, stop in zip(range(0, len(bins), _TOGETHER), stops.tolist(), strict=False):
            part = slice(start, start + _TOGETHER)
            weights = self._products(first[part], others[part], room)
            rows = slice(int(bins[start]) + 1, stop + 2)
            below = bins[part] < np.arange(rows.start, rows.stop)[:, None]
            sums[rows] = sums[rows.start] + below.astype(weights.dtype) @ weights
        return sums[:-1]

    def _products(self, first: Ints, second: Ints, room: Floats) -> Floats:
        """How often each draw has pairs (n,), (n, draws), in ``room`` (2, n or more, draws).

        Few at a time: new memory for them would cost more than they do.
        """
        pair = room[:, : len(first)]
        for who, out in zip((first, second), pair, strict=True):
            np.take(self._times, who, 0, out=out, mode="clip")  # other modes copy once more
        products: Floats = np.multiply(pair[0], pair[1], out=pair[0])
        return products

    @functools.cached_property
    def _times(self) -> Floats:
        """How often each draw has each person, (n + 1, draws), and at the end once whoever it is.

        In float32 where that gives sums over so many pairs exactly.
        """
        exact = _TOGETHER * int(self.counts.max(initial=0)) ** 2 < 2**24
        times = np.ones((self.counts.shape[1] + 1, len(self.counts)), "f4" if exact else "f8")
        times[:-1] = self.counts.T
        return times


@dataclasses.dataclass(frozen=True)
class PairBootstrap:
    """What lies below each threshold between bins of rising scores, (bins + 1, draws).

    ``rejected`` is the weight of the pairs that do not match, ``missed`` of those that do.
    """

    rejected: Floats
    missed: Floats

    def auc(self) -> Samples:
        """The area under the ROC; pairs in one bin count half."""
        # Twice the area: a trapezoid a bin, summed by parts.
        every = self.missed[-1] * self.rejected[-1]
        above = np.einsum("bd,bd->d", self.missed[1:], self.rejected[:-1])
        below = np.einsum("bd,bd->d", self.missed[:-1], self.rejected[1:])
        with np.errstate(invalid="ignore"):
            areas: Samples = (every + above - below) / 2 / every
        return areas

    def eer(self) -> Samples:
        """The equal error rate."""
        with np.errstate(invalid="ignore"):
            after = self._first(lambda at: self._gap(at) >= 0)
            low, high = self._gap(after - 1), self._gap(after)
            rates = [_share(self.missed, at) for at in (after - 1, after)]
            crossed: Samples = rates[0] - low / (high - low) * (rates[1] - rates[0])
        return crossed

    def true_match_rate(self, false_match_rate: float) -> Samples:
        """The largest true match rate at no larger a false match rate; thresholds between bins."""
        most = false_match_rate + 1e-12  # sums of shares end a rounding away from 1
        with np.errstate(invalid="ignore"):
            first = self._first(lambda at: 1 - _share(self.rejected, at) <= most)
            found = 1 - _share(self.missed, first)
        rates: Samples = np.where(self.rejected[-1] > 0, found, np.nan)
        return rates

    def _gap(self, thresholds: Ints) -> Samples:
        """False non-match less false match rate at thresholds (draws,); it rises from -1 to 1."""
        gap: Samples = _share(self.missed, thresholds) - (1 - _share(self.rejected, thresholds))
        return gap

    def _first(self, holds: Callable[[Ints], Bools]) -> Ints:
        """The first threshold (draws,) of which ``holds``, as of all after it; the last if none."""
        bins, draws = len(self.missed) - 1, self.missed.shape[1]
        low, high = np.zeros(draws, int), np.full(draws, bins)
        while (low < high).any():
            middle = (low + high) // 2
            held = holds(middle)
            low = np.where(held, low, np.minimum(middle + 1, high))
            high = np.where(held, middle, high)
        return low


def interval(values: Samples) -> Interval:
    """The interval of the draws that gave a value; NaN where none did."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _share(below: Floats, thresholds: Ints) -> Samples:
    """Of all weight that below thresholds (draws,)."""
    shares: Samples = below[thresholds, np.arange(below.shape[1])] / below[-1]
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
