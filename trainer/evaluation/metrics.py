"""Metrics of scores, as pure functions on arrays; a larger score means a nearer candidate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


def average_precision(scores: Floats, relevant: Bools) -> float:
    """Return the mean precision at the score of each relevant item; ties share a threshold.

    Args:
        scores: (n,).
        relevant: (n,).

    Returns:
        0 to 1; NaN where no item is relevant.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hit = scores[order], relevant[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])  # last place of each threshold
    found = np.cumsum(hit)[last]
    precision = found / (last + 1)
    gained = np.diff(found, prepend=0)
    return float((precision * gained).sum() / found[-1]) if found[-1] else float("nan")


def roc_auc(scores: Floats, same: Bools) -> float:
    """Return the probability that a same pair scores above a different one; ties count half.

    Args:
        scores: (n,).
        same: (n,).

    Returns:
        0 to 1; NaN where either kind is missing.
    """
    positives = int(same.sum())
    negatives = len(same) - positives
    if not positives or not negatives:
        return float("nan")
    values, places = np.unique(scores, return_inverse=True)
    counts = np.bincount(places, minlength=len(values))
    ranks = np.cumsum(counts) - (counts - 1) / 2  # mean rank of each value, from 1
    above = ranks[places][same].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def roc_curve(scores: Floats, same: Bools) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false and true match rates (t + 1,) at every threshold, from none accepted to all.

    Equal scores share a threshold. The rates are NaN where their kind is missing.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hit = scores[order], same[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True][: len(ranked)])
    true, false = np.cumsum(hit)[last], np.cumsum(~hit)[last]
    with np.errstate(invalid="ignore"):
        return (
            np.r_[0, false] / np.float64((~same).sum()),
            np.r_[0, true] / np.float64(same.sum()),
        )


def equal_error_rate(scores: Floats, same: Bools) -> float:
    """Return the rate at which false matches and false non-matches are equally frequent.

    Where no threshold gives equal rates, interpolate between the two nearest points of the ROC.
    NaN where either kind is missing.
    """
    false_match, true_match = roc_curve(scores, same)
    gap = false_match - (1 - true_match)  # rises from -1 to 1
    if np.isnan(gap).any():
        return float("nan")
    after = int(np.argmax(gap >= 0))
    rise = gap[after] - gap[after - 1]
    share = -gap[after - 1] / rise
    return float(false_match[after - 1] + share * (false_match[after] - false_match[after - 1]))


def best_threshold(scores: Floats, same: Bools) -> float:
    """Return the threshold with the best accuracy; pairs that reach it are called the same.

    It is half way between two neighbouring scores, and infinite where it is best to accept none.
    NaN where either kind is missing.
    """
    if same.all() or not same.any():
        return float("nan")
    values, places = np.unique(np.asarray(scores, float), return_inverse=True)
    accepted = np.cumsum(np.bincount(places[same], minlength=len(values))[::-1])[::-1]
    rejected = np.cumsum(np.bincount(places[~same], minlength=len(values)))
    ends = np.r_[values[:1], (values[1:] + values[:-1]) / 2, np.inf]
    return float(ends[np.argmax(np.r_[accepted, 0] + np.r_[0, rejected])])


def true_match_rate(scores: Floats, same: Bools, false_match_rate: float) -> float:
    """Return the largest true match rate at this false match rate or a lower one.

    NaN where either kind is missing.
    """
    false_match, true_match = roc_curve(scores, same)
    if np.isnan(false_match).any() or np.isnan(true_match).any():
        return float("nan")
    return float(true_match[false_match <= false_match_rate].max())


def matching_hits(scores: Floats, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each trial 1 where the right candidate scores highest, else 0.

    Where t candidates tie for the highest score and the right one is among them, the trial counts
    1 / t, the expected value of a random pick.

    Args:
        scores: (n, k).
        truth: The column of the right candidate, (n,).
    """
    best = scores == scores.max(1, keepdims=True)
    right: NDArray[np.float64] = best[np.arange(len(truth)), truth] / best.sum(1)
    return right
