"""The losses in plain loops over plain numbers."""

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


def masked_cross_entropy(logits: Points, eta: float) -> float:
    """DSANet Eq. 15-17; the match first."""
    losses = []
    for row in logits:
        p = [1 / (1 + math.exp(-value)) for value in row]
        loss = -math.log(p[0])
        for other in p[1:]:
            if other - max(p) + eta > 0:
                loss -= math.log(1 - other)
        losses.append(loss)
    return sum(losses) / len(losses) if losses else 0.0


def structural_metric(anchors: Points, candidates: Sequence[Points], margin: float) -> float:
    """DSANet Eq. 21-22; the match first."""
    total = 0.0
    for anchor, (match, *others) in zip(anchors, candidates, strict=True):
        near = max(math.exp(margin - math.dist(anchor, other)) for other in others)
        near += max(math.exp(margin - math.dist(match, other)) for other in others)
        total += max(0.0, math.log(near) + math.dist(anchor, match))
    return total / (2 * len(anchors)) if anchors else 0.0


def lifted_structure(anchors: Points, candidates: Sequence[Points], margin: float) -> float:
    """P2VANet Eq. 15-16; the match first."""
    total = 0.0
    for anchor, (match, *others) in zip(anchors, candidates, strict=True):
        near = sum(math.exp(margin - math.dist(anchor, other)) for other in others)
        near += sum(math.exp(margin - math.dist(match, other)) for other in others)
        total += max(0.0, math.log(near) + math.dist(anchor, match)) ** 2
    return total / (2 * len(anchors)) if anchors else 0.0


def contrast(anchors: Sequence[Points], candidates: Sequence[Points], theta: float) -> float:
    """ACIENet Eq. 21-22; the first candidate of each tuple is the match."""
    costs = []
    for seen, shown in zip(anchors, candidates, strict=True):
        own = math.dist(seen[0], shown[0])
        across = max(math.exp(theta - math.dist(seen[j], shown[j])) for j in range(1, len(shown)))
        within = max(math.exp(theta - math.dist(shown[0], other)) for other in shown[1:])
        costs.append(max(0.0, math.log(across + within + own)))
    return sum(costs) / (2 * len(costs))


def stretching(
    anchors: Sequence[Points], candidates: Sequence[Points], theta: float, mu1: float, mu2: float
) -> float:
    """AICANet Eq. 14-15; the first candidate of each tuple is the match."""
    costs = []
    for seen, shown in zip(anchors, candidates, strict=True):
        own = math.dist(seen[0], shown[0])
        across, within = [], []
        for j in range(1, len(shown)):
            apart, among = math.dist(seen[j], shown[j]), math.dist(shown[0], shown[j])
            across.append(math.exp(theta - apart) * math.exp(own - apart))
            within.append(math.exp(theta - among) * math.exp(own - among))
        costs.append(mu1 * math.log(1 + mu2 * (max(across) + max(within))) + own)
    return sum(max(cost, 0.0) for cost in costs) / (2 * len(costs))


def alignment(similarities: Points, done: float, temperature: float) -> float:
    """ACIENet Eq. 12-13; the first of each tuple is the match."""
    total = 0.0
    for row in similarities:
        errors = 0.0
        for j, value in enumerate(row):
            errors += (1 / (1 + math.exp(-temperature * value)) - (j == 0)) ** 2
        total += (1 + math.cos(done * math.pi)) * errors / (2 * len(row))
    return total / len(similarities)
