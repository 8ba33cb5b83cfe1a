"""From scores to evidence: log-likelihood ratios, and what they cost.

A log-likelihood ratio (natural logarithm) says how much more likely a score is where two items
are of one person than where they are of two. It is fitted on validation people and, unlike a
score, means the same for every model. Cost as in Brummer and du Preez, Application-independent
evaluation of speaker detection, Computer Speech and Language 2006: 0 is perfect, 1 bit is what
knowing nothing costs.
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
    """Logistic regression in which both kinds of pairs (n,) weigh alike.

    Newton's method on a convex loss with a ridge that is far below any noise. Raises ValueError
    where a kind is missing.
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
    """The least and the most that log-likelihood ratios (n,) of pairs of both kinds can support.

    Where a ratio lies further from nought than these, pairs like it are too few to say more: to
    decide by it, one more wrong pair of either kind granted, would cost as much as to decide
    without it. 0 and 0 where the ratios are worth nothing. By Vergeer et al., Numerical
    likelihood ratios outputted by LR systems are often based on extrapolation, Science and
    Justice 2016.
    """
    return -_most(-ratios, ~same), _most(ratios, same)


def _most(ratios: Floats, same: Bools) -> float:
    """The greatest threshold at or above nought beyond which right pairs still outweigh wrong."""
    at = np.unique(ratios[ratios > 0])
    right, wrong = (
        np.count_nonzero(kind) - np.searchsorted(np.sort(ratios[kind]), at)
        for kind in (same, ~same)
    )
    shares = (1 + np.count_nonzero(~same)) / (1 + np.count_nonzero(same)) * right / (1 + wrong)
    with np.errstate(divide="ignore"):
        supported = np.minimum(at, np.log(shares))
    # Up to a ratio, from the next below it on, the same pairs lie beyond a threshold.
    below = np.r_[0.0, at[:-1]]
    return float(np.max(supported, where=supported > below, initial=0.0))


def cllr(ratios: Floats, same: Bools) -> float:
    """Cost of log-likelihood ratios (n,) in bits; NaN where a kind is missing."""
    if same.all() or not same.any():
        return float("nan")
    missed = np.logaddexp(0, -ratios[same]).mean()
    accepted = np.logaddexp(0, ratios[~same]).mean()
    return float((missed + accepted) / (2 * np.log(2)))


def min_cllr(scores: Floats, same: Bools) -> float:
    """The cost of the best calibration that keeps the scores' order; NaN where a kind is missing.

    By pooling adjacent violators.
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
    """Blocks whose share of right pairs rises, from neighbours pooled where it would fall."""
    blocks: list[list[float]] = []
    for pair in zip(right.tolist(), wrong.tolist(), strict=True):
        blocks.append(list(pair))
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [blocks[-1][0] + last[0], blocks[-1][1] + last[1]]
    pooled = np.array(blocks)
    return pooled[:, 0], pooled[:, 1]


def calibrated(faces: Embeddings, voices: Embeddings) -> dict[str, dict[str, Any]]:
    """A calibration of each direction that has pairs for one, as a checkpoint's record keeps it.

    Across the modalities a pair of one label stands for a pair of one person. Where labels are
    genders that is as far as validation goes: right if the model knows nothing finer, and else
    too careful. Within a modality pairs are of people, and no item is paired with itself.
    """
    sides: dict[Modality, Embeddings] = {"face": faces, "voice": voices}
    found = {}
    for asked in MODALITIES:
        for answer in MODALITIES:
            scores, same = _pairs(sides[asked], sides[answer], within=asked == answer)
            if same.any() and not same.all():
                found[direction(asked, answer)] = _recorded(scores, same)
    return found


def costs(scores: Floats, same: Bools, calibration: Calibration | None) -> dict[str, float]:
    """``minCllr`` of scores (n,) and, where there is a calibration, the ``Cllr`` it reaches."""
    reached = {} if calibration is None else {"Cllr": cllr(calibration(scores), same)}
    return {**reached, "minCllr": min_cllr(scores, same)}


def direction_of(protocol: Verification) -> str:
    """The direction of a verification, by its first trial."""
    modalities = protocol.items.modalities
    first, second = (int(side[0]) for side in (protocol.first, protocol.second))
    return direction(modalities[first], modalities[second])


def _pairs(asked: Embeddings, answers: Embeddings, *, within: bool) -> tuple[Floats, Bools]:
    """Scores of pairs of one person, and of pairs of two, one after the other."""
    scores = asked.vectors @ answers.vectors.T
    apart = asked.people[:, None] != answers.people[None]
    if within:
        alike = np.triu(~apart, 1)
        apart = np.triu(apart)
    else:
        alike = asked.labels[:, None] == answers.labels[None]
    right, wrong = scores[alike], scores[apart]
    return np.r_[right, wrong], np.arange(len(right) + len(wrong)) < len(right)


def _recorded(scores: Floats, same: Bools) -> dict[str, Any]:
    calibration = fit(scores, same)
    least, most = bounds(calibration(scores), same)
    calibration = dataclasses.replace(calibration, least=least, most=most)
    return {
        **dataclasses.asdict(calibration),
        **costs(scores, same, calibration),
        "pairs": [int(same.sum()), int((~same).sum())],
    }
