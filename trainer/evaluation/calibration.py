"""Calibration: from scores to log-likelihood ratios, and the cost of these.

A log-likelihood ratio (natural logarithm) says how much more likely a score is for two items of
one person than for items of two people. It is fitted on validation people and, unlike a score,
means the same for every model. The cost is Cllr by Brummer and du Preez, Application-independent
evaluation of speaker detection, Computer Speech and Language 2006: 0 is perfect, and a system that
knows nothing costs 1 bit.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from avsearch.calibration import Calibration, direction
from indexer.types import MODALITIES, Modality
from trainer.evaluation.embedding_map import Embeddings
from trainer.evaluation.metrics import Bools, Floats
from trainer.protocols.trials import Verification

_STEPS = 100
_TINY = 1e-9  # keeps the fit finite where the kinds do not overlap


def fit(scores: Floats, same: Bools) -> Calibration:
    """Fit a logistic regression in which both kinds of pairs have the same weight.

    Newton's method on a convex loss, with a ridge far below any noise.

    Args:
        scores: (n,).
        same: (n,), True for pairs of one person.

    Raises:
        ValueError: A kind is missing.
    """
    if same.all() or not same.any():
        raise ValueError("a calibration needs pairs of one person and of two")
    middle, spread = float(np.mean(scores)), float(np.std(scores)) or 1.0
    inputs = np.stack([(scores - middle) / spread, np.ones(len(scores))], 1)
    weights = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    beta = np.zeros(2)
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ beta, -500, 500)))
        slope = inputs.T @ (weights * (chance - same)) + _TINY * beta
        curve = (inputs * (weights * chance * (1 - chance))[:, None]).T @ inputs
        step = np.linalg.solve(curve + _TINY * np.eye(2), slope)
        beta -= step * min(1.0, 5.0 / max(float(np.abs(step).max()), _TINY))
        if np.abs(step).max() < _TINY:
            break
    return Calibration(float(beta[0] / spread), float(beta[1] - beta[0] * middle / spread))


def bounds(ratios: Floats, same: Bools) -> tuple[float, float]:
    """Return the lowest and the highest log-likelihood ratio that the pairs support.

    Beyond these there are too few pairs: with one more wrong pair, a decision by the ratio would
    cost as much as one without it. Both are 0 where the ratios are worthless. By Vergeer et al.,
    Numerical likelihood ratios outputted by LR systems are often based on extrapolation, Science
    and Justice 2016.

    Args:
        ratios: (n,).
        same: (n,), True for pairs of one person.
    """
    return -_highest(-ratios, ~same), _highest(ratios, same)


def _highest(ratios: Floats, same: Bools) -> float:
    """The largest threshold, 0 or more, beyond which right pairs still outweigh wrong ones."""
    at = np.unique(ratios[ratios > 0])
    right, wrong = (
        np.count_nonzero(kind) - np.searchsorted(np.sort(ratios[kind]), at)
        for kind in (same, ~same)
    )
    shares = (1 + np.count_nonzero(~same)) / (1 + np.count_nonzero(same)) * right / (1 + wrong)
    with np.errstate(divide="ignore"):
        supported = np.minimum(at, np.log(shares))
    # The same pairs lie beyond every threshold between two neighbouring ratios.
    below = np.r_[0.0, at[:-1]]
    return float(np.max(supported, where=supported > below, initial=0.0))


def cllr(ratios: Floats, same: Bools) -> float:
    """Return the cost of log-likelihood ratios (n,) in bits; NaN where a kind is missing."""
    if same.all() or not same.any():
        return float("nan")
    missed = np.logaddexp(0, -ratios[same]).mean()
    accepted = np.logaddexp(0, ratios[~same]).mean()
    return float((missed + accepted) / (2 * np.log(2)))


def min_cllr(scores: Floats, same: Bools) -> float:
    """Return the cost after the best calibration that keeps the order of the scores, in bits.

    The calibration is found by pooling adjacent violators. NaN where a kind is missing.
    """
    if same.all() or not same.any():
        return float("nan")
    values, places = np.unique(scores, return_inverse=True)
    right = np.bincount(places[same], minlength=len(values)) / same.sum()
    wrong = np.bincount(places[~same], minlength=len(values)) / (~same).sum()
    right, wrong = _pooled(right, wrong)
    total = right + wrong
    with np.errstate(divide="ignore", invalid="ignore"):
        missed = np.where(right > 0, right * np.log2(total / right), 0)
        accepted = np.where(wrong > 0, wrong * np.log2(total / wrong), 0)
    return float((missed + accepted).sum() / 2)


def _pooled(right: Floats, wrong: Floats) -> tuple[Floats, Floats]:
    """Pool neighbours until the share of right pairs rises from block to block."""
    blocks: list[list[float]] = []
    for pair in zip(right.tolist(), wrong.tolist(), strict=True):
        blocks.append(list(pair))
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [blocks[-1][0] + last[0], blocks[-1][1] + last[1]]
    pooled = np.array(blocks)
    return pooled[:, 0], pooled[:, 1]


def calibrated(faces: Embeddings, voices: Embeddings) -> dict[str, dict[str, Any]]:
    """Return a calibration for each direction with pairs of both kinds, as a record stores it.

    Across the modalities a pair of one label counts as a pair of one person. Where labels are
    genders, this is exact if the model knows nothing finer, and too careful otherwise. Within a
    modality pairs are of people, and no item is paired with itself.
    """
    sides: dict[Modality, Embeddings] = {"face": faces, "voice": voices}
    found = {}
    for probe in MODALITIES:
        for answer in MODALITIES:
            scores, same = _pairs(sides[probe], sides[answer], within=probe == answer)
            if not same.any() or same.all():
                continue
            calibration = fit(scores, same)
            least, most = bounds(calibration(scores), same)
            calibration = dataclasses.replace(calibration, least=least, most=most)
            found[direction(probe, answer)] = {
                **dataclasses.asdict(calibration),
                **costs(scores, same, calibration),
                "pairs": [int(same.sum()), int((~same).sum())],
            }
    return found


def costs(scores: Floats, same: Bools, calibration: Calibration | None) -> dict[str, float]:
    """Return ``minCllr`` of scores (n,) and, where there is a calibration, its ``Cllr``."""
    reached = {} if calibration is None else {"Cllr": cllr(calibration(scores), same)}
    return {**reached, "minCllr": min_cllr(scores, same)}


def direction_of(protocol: Verification) -> str:
    """Return the direction of a verification, by its first trial."""
    modalities = protocol.items.modalities
    first, second = (int(side[0]) for side in (protocol.first, protocol.second))
    return direction(modalities[first], modalities[second])


def _pairs(probes: Embeddings, answers: Embeddings, *, within: bool) -> tuple[Floats, Bools]:
    """The scores of pairs of one person, then of pairs of two."""
    scores = probes.vectors @ answers.vectors.T
    apart = probes.people[:, None] != answers.people[None]
    if within:
        alike = np.triu(~apart, 1)
        apart = np.triu(apart)
    else:
        alike = probes.labels[:, None] == answers.labels[None]
    right, wrong = scores[alike], scores[apart]
    return np.r_[right, wrong], np.arange(len(right) + len(wrong)) < len(right)
