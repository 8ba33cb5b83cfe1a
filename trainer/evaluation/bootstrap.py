"""Confidence intervals by resampling people (the bootstrap).

People are drawn with replacement, and all trials of a person come with them, because those are
not independent. A trial of two people counts as often as both were drawn. Intervals are the
percentiles of the samples. The same number of people always gives the same samples, so that two
systems can be compared sample by sample.
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
_TAIL = 256  # more bins among the highest false matches, where low rates are read off
_CHUNK = 40  # pairs that are weighed at a time: few enough for a product in one thread

Interval = tuple[float, float]
Samples = NDArray[np.float64]  # (samples,) a metric in each sample; NaN where it is undefined


class PersonBootstrap:
    """The number of times that each of n people occurs in each sample, (samples, n)."""

    def __init__(self, people: int, *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.counts = _counts(people, resamples, seed)

    def mean(self, values: Floats, people: Ints) -> Samples:
        """Return the samples of the mean of values (n,), each of one person (n,)."""
        number = self.counts.shape[1]
        sums = np.bincount(people, values, number)
        sizes = np.bincount(people, minlength=number)
        with np.errstate(invalid="ignore"):
            means: Samples = (self.counts @ sums) / (self.counts @ sizes)
        return means

    def mean_of_pairs(self, values: Floats, first: Ints, second: Ints) -> Samples:
        """Return the samples of the mean of values (n,), each of a pair of people."""
        alone, means = first == second, np.empty(len(self.counts))
        for at, counts in enumerate(self.counts.astype(float)):
            weights = counts[first] * np.where(alone, 1.0, counts[second])
            with np.errstate(invalid="ignore"):
                means[at] = (weights @ values) / weights.sum()
        return means

    def pairs(self, scores: Floats, same: Bools, first: Ints, second: Ints) -> PairBootstrap:
        """Weigh scored pairs (n,) of these people in every sample; quickest for sorted scores."""
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
        """The weight below each threshold between rising bins, (count + 1, samples).

        A pair of two people weighs the product of their counts, a pair of one person its count.
        """
        weights = self._weights
        others = np.where(first == second, len(weights) - 1, second)
        stops = np.append(bins[_CHUNK::_CHUNK], count)  # where the next pairs begin
        sums = np.zeros((count + 2, len(self.counts)))  # the last row is a spare one
        buffer = np.empty((2, _CHUNK, len(self.counts)), weights.dtype)  # new memory costs more
        for start, stop in zip(range(0, len(bins), _CHUNK), stops.tolist(), strict=False):
            part = slice(start, start + _CHUNK)
            pair = buffer[:, : len(first[part])]
            for who, out in zip((first[part], others[part]), pair, strict=True):
                np.take(weights, who, 0, out=out, mode="clip")  # other modes copy once more
            products = np.multiply(pair[0], pair[1], out=pair[0])
            rows = slice(int(bins[start]) + 1, stop + 2)
            below = bins[part] < np.arange(rows.start, rows.stop)[:, None]
            sums[rows] = sums[rows.start] + below.astype(products.dtype) @ products
        return sums[:-1]

    @functools.cached_property
    def _weights(self) -> Floats:
        """Each person's count in each sample, (n + 1, samples), with a last row of ones.

        In float32 where that gives the sums of a chunk exactly.
        """
        exact = _CHUNK * int(self.counts.max(initial=0)) ** 2 < 2**24
        weights = np.ones((self.counts.shape[1] + 1, len(self.counts)), "f4" if exact else "f8")
        weights[:-1] = self.counts.T
        return weights


@dataclasses.dataclass(frozen=True)
class PairBootstrap:
    """The weight of pairs below each threshold between bins of scores, (bins + 1, samples).

    ``rejected`` counts pairs of two people, ``missed`` pairs of one person.
    """

    rejected: Floats
    missed: Floats

    def auc(self) -> Samples:
        """Return the area under the ROC curve; pairs in one bin count half."""
        # Twice the area: a trapezoid for each bin, summed by parts.
        every = self.missed[-1] * self.rejected[-1]
        above = np.einsum("bd,bd->d", self.missed[1:], self.rejected[:-1])
        below = np.einsum("bd,bd->d", self.missed[:-1], self.rejected[1:])
        with np.errstate(invalid="ignore"):
            areas: Samples = (every + above - below) / 2 / every
        return areas

    def eer(self) -> Samples:
        """Return the equal error rate, on the line between the two nearest thresholds."""
        with np.errstate(invalid="ignore"):
            after = self._first(lambda at: self._gap(at) >= 0)
            low, high = self._gap(after - 1), self._gap(after)
            rates = [_share(self.missed, at) for at in (after - 1, after)]
            crossed: Samples = rates[0] - low / (high - low) * (rates[1] - rates[0])
        return crossed

    def true_match_rate(self, false_match_rate: float) -> Samples:
        """Return the largest true match rate at this false match rate or a lower one."""
        most = false_match_rate + 1e-12  # sums of shares end a rounding away from 1
        with np.errstate(invalid="ignore"):
            first = self._first(lambda at: 1 - _share(self.rejected, at) <= most)
            found = 1 - _share(self.missed, first)
        rates: Samples = np.where(self.rejected[-1] > 0, found, np.nan)
        return rates

    def _gap(self, thresholds: Ints) -> Samples:
        """False non-match minus false match rate at thresholds (samples,); rises from -1 to 1."""
        gap: Samples = _share(self.missed, thresholds) - (1 - _share(self.rejected, thresholds))
        return gap

    def _first(self, holds: Callable[[Ints], Bools]) -> Ints:
        """The first threshold (samples,) for which ``holds`` is true, by bisection.

        ``holds`` must be true for all later ones. The last threshold where it never is.
        """
        bins, samples = len(self.missed) - 1, self.missed.shape[1]
        low, high = np.zeros(samples, int), np.full(samples, bins)
        while (low < high).any():
            middle = (low + high) // 2
            held = holds(middle)
            low = np.where(held, low, np.minimum(middle + 1, high))
            high = np.where(held, middle, high)
        return low


def interval(values: Samples) -> Interval:
    """Return the percentile interval of the finite samples; NaN where there are none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _share(below: Floats, thresholds: Ints) -> Samples:
    """The share of all weight that lies below thresholds (samples,)."""
    shares: Samples = below[thresholds, np.arange(below.shape[1])] / below[-1]
    return shares


@functools.lru_cache(maxsize=4)
def _counts(people: int, resamples: int, seed: int) -> Ints:
    """The count of each person in each sample; the groups of one protocol share it."""
    rng = np.random.default_rng(seed)
    counts: Ints = rng.multinomial(people, np.full(people, 1 / max(people, 1)), resamples)
    counts.setflags(write=False)
    return counts


def _bins(rising: Floats, same: Bools) -> Ints:
    """Bin numbers (n,) of rising scores, some thousand at most; equal scores share one.

    Scores may be minus infinity, where media could not be compared.
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
