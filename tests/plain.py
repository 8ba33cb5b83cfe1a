"""What the losses are, in plain loops over plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

Points = Sequence[Sequence[float]]
Labels = Sequence[int]


def triplet(
    anchors: Points,
    others: Points,
    labels: Labels,
    other_labels: Labels,
    *,
    alpha: float,
    margin: float,
    same: bool = False,
) -> float:
    """ADSM Eq. 1: the mean of what costs something."""
    costs = []
    for a, anchor in enumerate(anchors):
        for p, positive in enumerate(others):
            if other_labels[p] != labels[a] or (same and p == a):
                continue
            for e, negative in enumerate(others):
                if other_labels[e] == labels[a]:
                    continue
                cost = math.dist(anchor, positive) - alpha * math.dist(anchor, negative) + margin
                if cost > 0:
                    costs.append(cost)
    return sum(costs) / len(costs) if costs else 0.0


def cross_entropy(logits: Points, targets: Labels) -> float:
    """Mean of minus the log of the target's share."""
    losses = []
    for row, target in zip(logits, targets, strict=True):
        total = sum(math.exp(value) for value in row)
        losses.append(-math.log(math.exp(row[target]) / total))
    return sum(losses) / len(losses)


def unit(point: Sequence[float]) -> list[float]:
    """The point at distance one from the origin, in the same direction."""
    return [value / math.hypot(*point) for value in point]


def mean(points: Points) -> list[float]:
    """The mean point."""
    return [sum(column) / len(points) for column in zip(*points, strict=True)]


def squared(a: Sequence[float], b: Sequence[float]) -> float:
    """Squared distance."""
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
