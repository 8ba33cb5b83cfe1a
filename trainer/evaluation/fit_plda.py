"""Fit of the PLDA model of :mod:`avsearch.annotation.identification.plda`."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, NamedTuple

import numpy as np

from avsearch.annotation.identification.plda import MIN_SPEECH_S, PLDA, Floats, VoiceVectors
from avsearch.calibration import Calibration
from indexer.types import Vectors
from trainer.evaluation.calibration import costs, fit
from trainer.evaluation.embedding_map import Ints
from trainer.evaluation.metrics import Bools

REFERENCE_S: Final = 4.0  # seconds of speech at which the axes are computed
RIDGE: Final = 0.5  # share of the mean within-person variance, added: few people have many segments
# The share of the within-person variance at the reference that more speech does not reduce. On
# validation people, who mostly speak little, a fifth works as well as none.
LEAST_SESSION: Final = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Takes:
    """Speech segments: unit vectors (n, dim), the person (n,) of each, and its seconds (n,)."""

    vectors: Vectors
    people: Ints
    seconds: Floats

    def of_first(self, count: int) -> Takes:
        """Return the segments of the first people."""
        own = self.people < count
        return Takes(self.vectors[own], self.people[own], self.seconds[own])


def fit_plda(takes: Takes) -> PLDA:
    """Fit the distributions of voices; scale and offset stay 1 and 0.

    The within-person covariance at some seconds of speech is a constant plus a part divided by the
    seconds. Both follow by weighted least squares from the differences between two segments of one
    person. Along the axes, the covariances between and within people are diagonal together.

    Raises:
        ValueError: There are fewer than two people, or no person has two segments.
    """
    mean = takes.vectors.mean(0, dtype=np.float64)
    means, differences, shares, inverse_s = _compared(takes.vectors - mean, takes)
    if len(means) < 2 or not len(differences):
        raise ValueError("PLDA needs two people or more, and some with two segments")
    sizes = (differences**2).sum(1)
    rough = [weights @ sizes for weights in _line(inverse_s, shares)]
    expected = np.maximum(rough[0] + rough[1] * inverse_s, sizes.mean() / 10)
    constant, slope = _line(inverse_s, shares / expected**2)
    within = _covariance(differences, constant + slope / REFERENCE_S)
    axes, between = _diagonal(np.cov(means.T).astype(np.float64), within)
    second = np.clip(slope @ (differences @ axes) ** 2, 0, (1 - LEAST_SESSION) * REFERENCE_S)
    return PLDA(mean, axes, between, session=1 - second / REFERENCE_S, second=second)


def _compared(centred: Floats, takes: Takes) -> tuple[Floats, Floats, Floats, Floats]:
    """The means of people, and the differences between every two segments of one person.

    A difference is scaled to vary as one segment does. With it come its weight, so that a person
    counts by the number of segments, and the mean of the inverse seconds of both.
    """
    means, differences, shares, inverse_s = [], [], [], []
    for who in np.unique(takes.people):
        own = np.flatnonzero(takes.people == who)
        means.append(centred[own].mean(0))
        one, other = (own[side] for side in np.triu_indices(len(own), 1))
        inverse = 1 / np.maximum(takes.seconds, MIN_SPEECH_S)
        differences.append((centred[one] - centred[other]) / np.sqrt(2))
        shares.append(np.full(len(one), 2 / max(1, len(own) - 1)))
        inverse_s.append((inverse[one] + inverse[other]) / 2)
    return (
        np.stack(means),
        np.concatenate(differences),
        np.concatenate(shares),
        np.concatenate(inverse_s),
    )


def _line(x: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """Weights (n,) of observations of a + b x whose sums are the estimates of a and of b.

    By least squares weighted by ``shares`` (n,).
    """
    root = np.sqrt(shares)
    constant, slope = np.linalg.pinv(np.stack([np.ones(len(x)), x], 1) * root[:, None]) * root
    return constant, slope


def _covariance(differing: Floats, weights: Floats) -> Floats:
    """The weighted covariance (dim, dim), without negative eigenvalues, and with the ridge."""
    sizes, turned = np.linalg.eigh((differing * weights[:, None]).T @ differing)
    sizes = np.maximum(sizes, 0)
    covariance: Floats = (turned * (sizes + RIDGE * sizes.mean())) @ turned.T
    return covariance


def _diagonal(between: Floats, within: Floats) -> tuple[Floats, Floats]:
    """Axes (dim, k) along which ``within`` is 1 and ``between`` has the variances (k,) above 0."""
    sizes, turned = np.linalg.eigh(within)
    white = turned / np.sqrt(np.maximum(sizes, sizes.max() * 1e-6))
    spread, directions = np.linalg.eigh(white.T @ between @ white)
    used = spread > spread.max() * 1e-6
    axes: Floats = white @ directions[:, used]
    return axes, spread[used]


class Pairs(NamedTuple):
    """Speakers and people of an index; ``same`` (speakers, people) marks pairs of one person."""

    speakers: VoiceVectors
    people: VoiceVectors
    same: Bools


def calibrated(known: PLDA, pairs: Pairs) -> PLDA:
    """Return the model with the scale and offset that calibrate its scores on these pairs."""
    plain = dataclasses.replace(known, scale=1.0, offset=0.0)
    found = fit(plain(pairs.speakers, pairs.people).ravel(), pairs.same.ravel())
    return dataclasses.replace(known, scale=found.scale, offset=found.offset)


def costs_of(known: PLDA, pairs: Pairs) -> dict[str, Any]:
    """Return the cost of the model's ratios on these pairs, in bits, and the number of pairs."""
    ratios, same = known(pairs.speakers, pairs.people).ravel(), pairs.same.ravel()
    counts = [int(same.sum()), int((~same).sum())]
    return {**costs(ratios, same, Calibration(1.0, 0.0)), "pairs": counts}
