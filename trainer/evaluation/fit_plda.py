"""Fit the PLDA model of :mod:`avsearch.annotation.identification.plda`."""

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

REFERENCE_S: Final = 4.0  # seconds of speech at which the axes are told apart
RIDGE: Final = 0.5  # of the mean variance within a person, added to all: few people have many takes
# Of the variance within a person at the reference: minutes of speech are no more certain than that.
# Validation people, most of whom say little, are told apart as well with a fifth as with nothing.
LEAST_SESSION: Final = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Takes:
    """Stretches of speech: unit vectors (n, dim), whose each is (n,) and its seconds (n,)."""

    vectors: Vectors
    people: Ints
    seconds: Floats

    def of_first(self, count: int) -> Takes:
        """Those of the first people."""
        own = self.people < count
        return Takes(self.vectors[own], self.people[own], self.seconds[own])


def fit_plda(takes: Takes) -> PLDA:
    """The distributions of voices, from takes of people; scale and offset are still 1 and 0.

    Within people the covariance at some seconds is a constant and a part that is divided by them,
    by least squares over the products of what differs between two takes of one person, each by the
    size to be expected. The axes are those along which the covariances of people and of the takes
    of one are diagonal together. Raises ValueError where nobody has two takes, or there are no two
    people.
    """
    mean = takes.vectors.mean(0, dtype=np.float64)
    means, differences, shares, inverse_s = _compared(takes.vectors - mean, takes)
    if len(means) < 2 or not len(differences):
        raise ValueError("voices are told apart on two people or more, of whom some have two takes")
    sizes = (differences**2).sum(1)
    rough = [weights @ sizes for weights in _line(inverse_s, shares)]
    expected = np.maximum(rough[0] + rough[1] * inverse_s, sizes.mean() / 10)
    constant, slope = _line(inverse_s, shares / expected**2)
    within = _covariance(differences, constant + slope / REFERENCE_S)
    axes, between = _diagonal(np.cov(means.T).astype(np.float64), within)
    second = np.clip(slope @ (differences @ axes) ** 2, 0, (1 - LEAST_SESSION) * REFERENCE_S)
    return PLDA(mean, axes, between, session=1 - second / REFERENCE_S, second=second)


def _compared(centred: Floats, takes: Takes) -> tuple[Floats, Floats, Floats, Floats]:
    """Means of people; of every two takes of one the difference, which varies as one take does.

    With each comes how much it counts, everybody as much as they have takes, and the mean of 1
    divided by the seconds of both.
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
    """Weights (n,) of observations of a + b x: with the first they sum to a, with the second to b.

    By least squares in which each counts by its share (n,).
    """
    root = np.sqrt(shares)
    constant, slope = np.linalg.pinv(np.stack([np.ones(len(x)), x], 1) * root[:, None]) * root
    return constant, slope


def _covariance(differing: Floats, weights: Floats) -> Floats:
    """(dim, dim), without what is negative by chance, and with the ridge that makes it definite."""
    sizes, turned = np.linalg.eigh((differing * weights[:, None]).T @ differing)
    sizes = np.maximum(sizes, 0)
    covariance: Floats = (turned * (sizes + RIDGE * sizes.mean())) @ turned.T
    return covariance


def _diagonal(between: Floats, within: Floats) -> tuple[Floats, Floats]:
    """Axes (dim, k) along which ``within`` is 1 and ``between`` what is returned (k,), above 0."""
    sizes, turned = np.linalg.eigh(within)
    white = turned / np.sqrt(np.maximum(sizes, sizes.max() * 1e-6))
    spread, directions = np.linalg.eigh(white.T @ between @ white)
    kept = spread > spread.max() * 1e-6
    axes: Floats = white @ directions[:, kept]
    return axes, spread[kept]


class Pairs(NamedTuple):
    """Speakers and people of an index, of whom ``same`` (speakers, people) are one."""

    speakers: VoiceVectors
    people: VoiceVectors
    same: Bools


def calibrated(known: PLDA, pairs: Pairs) -> PLDA:
    """With the scale and offset that make log-likelihood ratios of these pairs."""
    plain = dataclasses.replace(known, scale=1.0, offset=0.0)
    found = fit(plain(pairs.speakers, pairs.people).ravel(), pairs.same.ravel())
    return dataclasses.replace(known, scale=found.scale, offset=found.offset)


def costs_of(known: PLDA, pairs: Pairs) -> dict[str, Any]:
    """What its ratios cost for these pairs, in bits, and how many those are."""
    ratios, same = known(pairs.speakers, pairs.people).ravel(), pairs.same.ravel()
    counts = [int(same.sum()), int((~same).sum())]
    return {**costs(ratios, same, Calibration(1.0, 0.0)), "pairs": counts}
