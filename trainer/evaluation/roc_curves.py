"""The curves of a scored protocol, thinned to as many points as a plot shows."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import Floats, roc_curve
from trainer.evaluation.retrieval import Ranking
from trainer.evaluation.score import Scores
from trainer.protocols.trials import Retrieval, Verification

POINTS = 300
RANKS = 50
BINS = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Curves:
    """Lines (x, y) by name; empty for a kind of protocol without curves.

    ``roc``: false and true match rate. ``same``, ``different``: score and share of pairs.
    ``cmc``: rank and share of queries. ``precision``: mean recall and mean precision at k.
    """

    lines: dict[str, tuple[list[float], list[float]]]


def curves_of(scores: Scores) -> Curves:
    """Return the curves of a protocol's kind."""
    if isinstance(scores.protocol, Verification):
        assert isinstance(scores.values, np.ndarray)
        return Curves(_pair_curves(scores.values[:, 0], scores.protocol.same))
    if isinstance(scores.protocol, Retrieval):
        assert isinstance(scores.values, Ranking)
        return Curves(_ranking_curves(scores.values))
    return Curves({})


def _pair_curves(
    scores: Floats, same: NDArray[np.bool_]
) -> dict[str, tuple[list[float], list[float]]]:
    false_match, true_match = roc_curve(scores, same)
    # Half of the points are even along the curve, half along the logarithm of the false matches.
    low = np.searchsorted(false_match, np.geomspace(1e-4, 1, POINTS // 2))
    even = np.linspace(0, len(false_match) - 1, POINTS // 2).astype(int)
    kept = np.unique(np.r_[0, np.minimum(low, len(false_match) - 1), even])
    edges = np.linspace(float(scores.min()), float(scores.max()) or 1.0, BINS + 1)
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    shares = {
        name: (np.histogram(part, edges)[0] / max(len(part), 1)).tolist()
        for name, part in (("same", scores[same]), ("different", scores[~same]))
    }
    return {
        "roc": (false_match[kept].tolist(), true_match[kept].tolist()),
        **{name: (middles, share) for name, share in shares.items()},
    }


def _ranking_curves(ranking: Ranking) -> dict[str, tuple[list[float], list[float]]]:
    ranks = np.arange(1, RANKS + 1)
    answered = ranking.relevant > 0
    recall, precision = (
        values[answered].mean(0).tolist() if answered.any() else []
        for values in (ranking.recall(), ranking.precision())
    )
    return {
        "cmc": (ranks.astype(float).tolist(), ranking.cmc(RANKS).tolist()),
        "precision": (recall, precision),
    }
