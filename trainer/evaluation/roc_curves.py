"""What a report draws of a scored protocol, thinned to as many points as a picture shows."""

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
    """Lines by name, each its (x, y); empty where the kind of protocol has none.

    ``roc``: false and true match rate. ``same``, ``different``: the share of pairs by score.
    ``cmc``: rank and share answered. ``precision``: mean recall and precision over cuts.
    """

    lines: dict[str, tuple[list[float], list[float]]]


def curves_of(scored: Scores) -> Curves:
    """The curves of a protocol's kind."""
    if isinstance(scored.protocol, Verification):
        assert isinstance(scored.scores, np.ndarray)
        return Curves(_of_pairs(scored.scores[:, 0], scored.protocol.same))
    if isinstance(scored.protocol, Retrieval):
        assert isinstance(scored.scores, Ranking)
        return Curves(_of_ranking(scored.scores))
    return Curves({})


def _of_pairs(
    scores: Floats, same: NDArray[np.bool_]
) -> dict[str, tuple[list[float], list[float]]]:
    false_match, true_match = roc_curve(scores, same)
    # Evenly along the curve and, for its low end, along the logarithm of the false matches.
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


def _of_ranking(ranking: Ranking) -> dict[str, tuple[list[float], list[float]]]:
    ranks = np.arange(1, RANKS + 1)
    asked = ranking.relevant > 0
    recall, precision = (
        values[asked].mean(0).tolist() if asked.any() else []
        for values in (ranking.recall(), ranking.precision())
    )
    return {
        "cmc": (ranks.astype(float).tolist(), ranking.cmc(RANKS).tolist()),
        "precision": (recall, precision),
    }
