"""Figures from scores: pure functions on arrays, larger scores being nearer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


def average_precision(scores: Floats, relevant: Bools) -> float:
    """Mean over the relevant of the precision at their score; ties share one threshold.

    ``scores`` and ``relevant`` are (n,). NaN where nothing is relevant.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hit = scores[order], relevant[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])  # last place of each threshold
    found = np.cumsum(hit)[last]
    precision = found / (last + 1)
    gained = np.diff(found, prepend=0)
    return float((precision * gained).sum() / found[-1]) if found[-1] else float("nan")


def average_precisions(scores: Floats, relevant: Bools) -> NDArray[np.float64]:
    """Average precision of every query: (q, n) and (q, n) to (q,)."""
    return np.array([average_precision(s, r) for s, r in zip(scores, relevant, strict=True)])


def roc_auc(scores: Floats, same: Bools) -> float:
    """Chance that a pair of the same scores above one that is not, ties counting half.

    ``scores`` and ``same`` are (n,). NaN where either kind is missing.
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


def people_interval(
    values: Floats,
    people: NDArray[np.int64],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    statistic: Callable[[Floats], float] = lambda v: float(np.mean(v)),
) -> tuple[float, float, float]:
    """A statistic of per-query values and its bootstrap interval over people.

    People are drawn with replacement, with all their queries, because the queries of one person
    stand and fall together. Returns (statistic, lower, upper), all NaN where there are no values.
    """
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    groups = [values[people == person] for person in np.unique(people)]
    drawn = [
        statistic(np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))]))
        for _ in range(draws)
    ]
    tail = (1 - level) / 2
    return statistic(values), float(np.quantile(drawn, tail)), float(np.quantile(drawn, 1 - tail))
