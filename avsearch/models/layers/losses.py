"""Losses of the papers, one function or class each, on embeddings (n, dim).

Labels are integers; equal labels mean the same class (a person, or a shared attribute). Without
items a loss is zero, with a gradient of zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsearch.models.layers.batch import UNKNOWN


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Return Euclidean distances (n, m) between rows of (n, dim) and (m, dim).

    The gradient at distance zero is zero; that of ``torch.cdist`` may not be finite.
    """
    squared = a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T
    return squared.clamp_min(1e-12).sqrt()


def pair_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return Euclidean distances (...) between pairs of vectors (..., dim).

    The gradient at distance zero is zero.
    """
    return (a - b).square().sum(-1).clamp_min(1e-12).sqrt()


def row_mean(costs: Tensor) -> Tensor:
    """Return the mean of costs (n,), zero for none."""
    return costs.sum() / max(1, len(costs))


def weighted_triplet(
    anchors: Tensor,
    others: Tensor,
    anchor_labels: Tensor,
    other_labels: Tensor,
    *,
    alpha: float,
    margin: float,
    same: bool = False,
) -> Tensor:
    """Return the triplet loss with a weighted negative, ADSM Eq. 1.

    The mean of ``[d(a, p) - alpha * d(a, e) + margin]_+`` over all triplets with a positive cost;
    zero, with a gradient of zero, without any.

    Args:
        anchors: (n, dim).
        others: (m, dim), positives and negatives.
        anchor_labels: (n,).
        other_labels: (m,).
        alpha: The weight of the negative.
        margin: The margin.
        same: Both sides are the same rows, so no item is its own positive.
    """
    apart = distances(anchors, others)  # (n, m)
    equal = anchor_labels[:, None] == other_labels[None]  # (n, m)
    positive = (
        equal & ~torch.eye(len(equal), dtype=torch.bool, device=equal.device) if same else equal
    )
    costs = functional.relu(apart[:, :, None] - alpha * apart[:, None, :] + margin)  # (n, m, m)
    valid = positive[:, :, None] & ~equal[:, None, :]
    costs = costs * valid
    return costs.sum() / (costs > 0).sum().clamp_min(1)


class AdditiveMargin(nn.Module):
    """Cosine classifier with an additive margin for the right class; AM-softmax.

    Wang et al., Additive Margin Softmax for Face Verification, SPL 2018, Eq. 6. Without a margin
    it is the classifier that faces and voices share in DIMNet (Wen et al., ICLR 2019, section 3):
    it aligns both modalities through their attributes if no person has both.
    """

    def __init__(self, classes: int, dim: int, *, margin: float = 0.2, scale: float = 20.0) -> None:
        super().__init__()
        self.margin, self.scale = margin, scale
        # About unit length, so that the steps of Adam are large enough.
        self.weight = nn.Parameter(torch.randn(classes, dim) / math.sqrt(dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of unit vectors (n, dim) with classes (n,)."""
        cosines = embeddings @ functional.normalize(self.weight).T
        held = self.margin * functional.one_hot(labels, len(self.weight))
        return functional.cross_entropy(self.scale * (cosines - held), labels)


def likeness_loss(embeddings: Tensor, teacher_embeddings: Tensor, labels: Tensor) -> Tensor:
    """Return a relational distillation loss (Park et al., CVPR 2019); not in the five papers.

    The cosines of all pairs in a class, of ``embeddings`` (n, dim) and of ``teacher_embeddings``
    (n, t), are standardised; the loss is the mean squared difference, averaged over the classes
    with three items or more. So the teacher gives the order of similarities, not their size. Zero,
    with a gradient of zero, without such a class.
    """
    costs = []
    for label in torch.unique(labels):
        own = labels == label
        if own.sum() >= 3:
            pairs = [
                _standard_cosines(vectors[own]) for vectors in (embeddings, teacher_embeddings)
            ]
            costs.append((pairs[0] - pairs[1]).square().mean())
    return torch.stack(costs).mean() if costs else embeddings.sum() * 0


def _standard_cosines(vectors: Tensor) -> Tensor:
    """Return the standardised cosines of all pairs of unit vectors (n, dim)."""
    first, second = torch.triu_indices(len(vectors), len(vectors), 1)
    cosines = (vectors @ vectors.T)[first, second]
    deviation, mean = torch.std_mean(cosines, correction=0)
    return (cosines - mean) / (deviation + 1e-6)


class MultiModalCentres(nn.Module):
    """Multi-modal centre loss, ADSM Eq. 2-5.

    The centre of each class and modality (Eq. 2) is a running mean: exact means over the training
    set would need a pass over it in every step.
    """

    centres: Tensor
    known: Tensor

    def __init__(self, classes: int, dim: int, *, gamma: float, momentum: float = 0.5) -> None:
        super().__init__()
        self.gamma = gamma
        self.momentum = momentum
        self.register_buffer("centres", torch.zeros(2, classes, dim))
        self.register_buffer("known", torch.zeros(2, classes, dtype=torch.bool))

    @torch.no_grad()
    def update(self, modality: int, embeddings: Tensor, labels: Tensor) -> None:
        """Move the centres of the classes present towards their means in this batch."""
        present, rows, counts = torch.unique(labels, return_inverse=True, return_counts=True)
        before = self.centres[modality, present]
        sums = torch.zeros_like(before).index_add_(0, rows, embeddings.to(before.dtype))
        ones = before.new_ones(len(present), 1)
        weights = ones.masked_fill(self.known[modality, present, None], self.momentum)
        moved = before.lerp(sums / counts[:, None], weights)
        self.centres[modality, present] = moved
        self.known[modality, present] = True

    def forward(self, modality: int, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return half the mean squared distance to the own and, times gamma, the shared centre."""
        seen = self.known[:, labels].float()[..., None]  # (2, n, 1)
        own = self.centres[modality, labels]
        shared = (self.centres[:, labels] * seen).sum(0) / seen.sum(0).clamp_min(1)
        intra = (embeddings - own).square().sum(1).mean() / 2  # Eq. 3
        inter = (embeddings - shared).square().sum(1).mean() / 2  # Eq. 4
        return intra + self.gamma * inter  # Eq. 5


def modality_cross_entropy(logits: Tensor, modality: int) -> Tensor:
    """Return the cross-entropy of a modality classifier's logits (n, 2), ADSM Eq. 7."""
    target = torch.full((len(logits),), modality, device=logits.device)
    return functional.cross_entropy(logits, target)


def masked_cross_entropy(logits: Tensor, *, eta: float) -> Tensor:
    """Return the adaptive masked cross-entropy of logits (n, k), match first; DSANet Eq. 14-17.

    The binary cross-entropy of the match and of those others whose probability (Eq. 15) is less
    than ``eta`` below the largest of the tuple (Eq. 16). Eq. 14 as printed also adds log p of the
    others, which would raise them; this is the loss with the gradient of Eq. 17.
    """
    p = logits.detach().sigmoid()  # Eq. 15
    counts = p[:, 1:] - p.amax(1, keepdim=True) + eta > 0  # omega of Eq. 16
    others = (counts * functional.softplus(logits[:, 1:])).sum(1)
    return row_mean(functional.softplus(-logits[:, 0]) + others)


def first_cross_entropy(logits: Tensor) -> Tensor:
    """Return the cross-entropy of tuples' logits (n, k), the match first; P2VANet Eq. 17."""
    return row_mean(-functional.log_softmax(logits, 1)[:, 0])


def structural_metric(anchors: Tensor, candidates: Tensor, *, margin: float) -> Tensor:
    """Return the structural metric of tuples, DSANet Eq. 21-22.

    Only the candidate nearest to the anchor and the one nearest to the match have a cost, so
    their number does not matter.

    Args:
        anchors: (n, dim).
        candidates: (n, k, dim), the match first.
        margin: The margin theta.
    """
    match, from_anchor, from_match = _tuple_distances(anchors[:, None], candidates)
    nearest = torch.stack([margin - from_anchor.amin(1), margin - from_match.amin(1)], 1)
    return row_mean(functional.relu(nearest.logsumexp(1) + match)) / 2


def lifted_structure(anchors: Tensor, candidates: Tensor, *, margin: float) -> Tensor:
    """Return the lifted structured loss, P2VANet Eq. 15-16 (Oh Song et al., CVPR 2016).

    Arguments as in :func:`structural_metric`. Every candidate has a cost, by its distances to the
    anchor and to the match.
    """
    match, from_anchor, from_match = _tuple_distances(anchors[:, None], candidates)
    near = (margin - torch.cat([from_anchor, from_match], 1)).logsumexp(1)
    return row_mean(functional.relu(near + match).square()) / 2


def _tuple_distances(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return distances anchor to match (M,), and anchor and match to others (M, k - 1)."""
    apart = pair_distances(anchors, candidates)
    within = pair_distances(candidates[:, :1], candidates[:, 1:])
    return apart[:, 0], apart[:, 1:], within


class CentreLoss(nn.Module):
    """Mean distance of embeddings to the centre of their class, DSANet Eq. 27.

    The centres are learned, as in its reference (Luo et al., CVPR Workshops 2019).
    """

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(functional.normalize(torch.randn(classes, dim)))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of embeddings (n, dim) with labels (n,) in [0, classes)."""
        return row_mean(pair_distances(embeddings, self.centres[labels]))


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the KL divergence of normal distributions (n, dim) from the standard one.

    P2VANet Eq. 2-3; the mean over rows and values.
    """
    per_value = (mean.square() + log_variance.exp() - log_variance - 1) / 2
    return row_mean(per_value.mean(1))


def attribute_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (n, values) with the known ones of labels (n,)."""
    known = labels != UNKNOWN
    total = functional.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="sum")
    return total / known.sum().clamp_min(1)


def identity_alignment(similarities: Tensor, *, done: float, temperature: float = 5.0) -> Tensor:
    """Return the squared error of predicted similarities, ACIENet Eq. 12-13 and AICANet Eq. 2.

    Args:
        similarities: (M, k), the match first; its target is one, the others' zero.
        done: The share of the training that is over; the loss falls to zero along a cosine.
        temperature: The factor of the similarities in the sigmoid.
    """
    targets = torch.zeros_like(similarities)
    targets[:, 0] = 1
    errors = (torch.sigmoid(temperature * similarities) - targets).square().mean(1)
    return (1 + math.cos(math.pi * done)) / 2 * row_mean(errors)


def joint_attribute(log_shares: Tensor, genders: Tensor, nations: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of the known attributes, ACIENet Eq. 16.

    Probabilities are summed over an unknown attribute. So a gender alone contributes, and an item
    with two unknown attributes has no cost.

    Args:
        log_shares: (n, genders, nations), joint log-probabilities.
        genders: (n,), or UNKNOWN.
        nations: (n,), or UNKNOWN.
    """

    def possible(values: Tensor, count: int) -> Tensor:
        """Return the mask (n, count) of the values that each may have."""
        every = torch.arange(count, device=values.device)
        return (values[:, None] == every) | (values[:, None] == UNKNOWN)

    of_gender = possible(genders, log_shares.shape[1])[:, :, None]
    of_nation = possible(nations, log_shares.shape[2])[:, None]
    fitting = log_shares.masked_fill(~(of_gender & of_nation), -math.inf)
    costs = -fitting.flatten(1).logsumexp(1)
    return row_mean(costs[(genders != UNKNOWN) | (nations != UNKNOWN)])


def contrast(anchors: Tensor, candidates: Tensor, *, theta: float) -> Tensor:
    """Return the contrast loss of matching tuples, ACIENet Eq. 21-22.

    Only the candidates nearest to the anchor and to the match have a cost.

    Args:
        anchors: (M, k, dim), k at least 2; an anchor's vector depends on the candidate.
        candidates: (M, k, dim), the match first.
        theta: The margin.
    """
    own, across, within = _tuple_distances(anchors, candidates)
    nearest = torch.exp(theta - across).amax(1) + torch.exp(theta - within).amax(1)
    return row_mean(functional.relu(torch.log(nearest + own))) / 2


def relative_distance_stretching(
    anchors: Tensor, candidates: Tensor, *, theta: float, mu1: float, mu2: float
) -> Tensor:
    """Return the relative distance stretching loss of matching tuples, AICANet Eq. 14-15.

    Arguments as in :func:`contrast`. The cost of a candidate also depends on its distance relative
    to the match's; ``mu1`` and ``mu2`` are the weights of Eq. 15.
    """
    own, across, within = _tuple_distances(anchors, candidates)
    stretched = [
        torch.exp(theta - others + own[:, None] - others).amax(1) for others in (across, within)
    ]
    return row_mean(mu1 * torch.log1p(mu2 * (stretched[0] + stretched[1])) + own) / 2
