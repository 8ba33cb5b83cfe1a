"""Losses of the papers, one function or class each, on embeddings (n, dim).

Labels are integers; equal labels mean the same class (a person, or a shared attribute).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsearch.models.layers.batch import UNKNOWN


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (n, m) between rows of (n, dim) and (m, dim).

    The gradient at distance nought is nought, where that of ``torch.cdist`` may not be finite.
    """
    squared = a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T
    return squared.clamp_min(1e-12).sqrt()


def pair_distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (...) between the vectors of (..., dim) and (..., dim), one by one.

    The gradient at distance nought is nought.
    """
    return (a - b).square().sum(-1).clamp_min(1e-12).sqrt()


def row_mean(costs: Tensor) -> Tensor:
    """The mean of costs (n,); nought, with a gradient of nought, where there are none."""
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
    """Triplet loss with a weighted negative, ADSM Eq. 1.

    Mean of ``[d(a, p) - alpha * d(a, e) + margin]_+`` over every triplet of the batch that still
    costs something: anchors from one side, positives and negatives from the other. ``same`` says
    that both sides are the same rows, so that no item is its own positive. Nought, with a
    gradient of nought, where there is no such triplet.
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
    """Cosine classifier that holds a margin back from the right class; AM-softmax.

    Wang et al., Additive Margin Softmax for Face Verification, SPL 2018, Eq. 6.
    """

    def __init__(self, classes: int, dim: int, *, margin: float = 0.2, scale: float = 20.0) -> None:
        super().__init__()
        self.margin, self.scale = margin, scale
        # About unit length, so that the steps of Adam turn them fast enough.
        self.weight = nn.Parameter(torch.randn(classes, dim) / math.sqrt(dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Unit vectors (n, dim) and their classes (n,) to the mean cross-entropy."""
        cosines = embeddings @ functional.normalize(self.weight).T
        held = self.margin * functional.one_hot(labels, len(self.weight))
        return functional.cross_entropy(self.scale * (cosines - held), labels)


def likeness_loss(embeddings: Tensor, taught: Tensor, labels: Tensor) -> Tensor:
    """How far the likenesses of unit vectors are from a teacher's; no paper of the five has it.

    Relational distillation (Park et al., CVPR 2019): within each class the cosines of all pairs
    of ``embeddings`` (n, dim) and of ``taught`` (n, t) are brought to mean nought and deviation
    one, and their squared difference is averaged, then averaged over the classes. So the teacher
    says who is more like whom, not how far apart they lie. Nought, with a gradient of nought,
    where no class has three items.
    """
    costs = []
    for label in torch.unique(labels):
        own = labels == label
        if own.sum() >= 3:
            pairs = [_standard_cosines(vectors[own]) for vectors in (embeddings, taught)]
            costs.append((pairs[0] - pairs[1]).square().mean())
    return torch.stack(costs).mean() if costs else embeddings.sum() * 0


def _standard_cosines(vectors: Tensor) -> Tensor:
    """The cosines of all pairs of unit vectors (n, dim), with mean nought and deviation one."""
    first, second = torch.triu_indices(len(vectors), len(vectors), 1)
    cosines = (vectors @ vectors.T)[first, second]
    deviation, mean = torch.std_mean(cosines, correction=0)
    return (cosines - mean) / (deviation + 1e-6)


class MultiModalCentres(nn.Module):
    """Multi-modal centre loss, ADSM Eq. 2-5.

    Keeps a centre for each class and modality (Eq. 2), as running means: exact means over the
    training set would need a pass over it for every step.
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
        """Half the mean squared distance to the own centre and, times gamma, the shared one."""
        seen = self.known[:, labels].float()[..., None]  # (2, n, 1)
        own = self.centres[modality, labels]
        shared = (self.centres[:, labels] * seen).sum(0) / seen.sum(0).clamp_min(1)
        intra = (embeddings - own).square().sum(1).mean() / 2  # Eq. 3
        inter = (embeddings - shared).square().sum(1).mean() / 2  # Eq. 4
        return intra + self.gamma * inter  # Eq. 5


def modality_cross_entropy(logits: Tensor, modality: int) -> Tensor:
    """Cross-entropy of a modality classifier's logits (n, 2), ADSM Eq. 7."""
    target = torch.full((len(logits),), modality, device=logits.device)
    return functional.cross_entropy(logits, target)


def masked_cross_entropy(logits: Tensor, *, eta: float) -> Tensor:
    """Adaptive masked cross-entropy of tuples' logits (n, k), the match first; DSANet Eq. 14-17.

    The binary cross-entropy of the match and of those others whose probability (Eq. 15) is less
    than ``eta`` below the largest of the tuple (Eq. 16). Eq. 14 as printed adds log p of the
    others too, which would raise them; this is the loss whose gradient is Eq. 17.
    """
    p = logits.detach().sigmoid()  # Eq. 15
    counts = p[:, 1:] - p.amax(1, keepdim=True) + eta > 0  # omega of Eq. 16
    others = (counts * functional.softplus(logits[:, 1:])).sum(1)
    return row_mean(functional.softplus(-logits[:, 0]) + others)


def first_cross_entropy(logits: Tensor) -> Tensor:
    """Cross-entropy of tuples' logits (n, k), the match being the first; P2VANet Eq. 17."""
    return row_mean(-functional.log_softmax(logits, 1)[:, 0])


def structural_metric(anchors: Tensor, candidates: Tensor, *, margin: float) -> Tensor:
    """Structural metric of tuples, DSANet Eq. 21-22.

    Anchors (n, dim), candidates (n, k, dim), the match first: only the other nearest to the
    anchor and the one nearest to the match cost, so that their number does not matter.
    """
    match, from_anchor, from_match = _tuple_distances(anchors[:, None], candidates)
    nearest = torch.stack([margin - from_anchor.amin(1), margin - from_match.amin(1)], 1)
    return row_mean(functional.relu(nearest.logsumexp(1) + match)) / 2


def lifted_structure(anchors: Tensor, candidates: Tensor, *, margin: float) -> Tensor:
    """Lifted structured loss of tuples, P2VANet Eq. 15-16 (Oh Song et al., CVPR 2016).

    Anchors (n, dim), candidates (n, k, dim), the match first: every other costs by its distance
    to the anchor and to the match.
    """
    match, from_anchor, from_match = _tuple_distances(anchors[:, None], candidates)
    near = (margin - torch.cat([from_anchor, from_match], 1)).logsumexp(1)
    return row_mean(functional.relu(near + match).square()) / 2


def _tuple_distances(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of tuples: (M,) anchor to match; (M, k - 1) anchor, and match, to the others."""
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
        """Embeddings (n, dim) with labels (n,) in [0, classes)."""
        return row_mean(pair_distances(embeddings, self.centres[labels]))


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of normal distributions (n, dim) from the standard one, P2VANet Eq. 2-3.

    The mean over rows and values.
    """
    per_value = (mean.square() + log_variance.exp() - log_variance - 1) / 2
    return row_mean(per_value.mean(1))


def attribute_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (n, values) with labels (n,), the mean over those that are known."""
    known = labels != UNKNOWN
    total = functional.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="sum")
    return total / known.sum().clamp_min(1)


class SharedClassifier(nn.Module):
    """Cross-entropy of unit embeddings against unit class vectors that both modalities share.

    One classifier over faces and voices alike aligns them through what they have in common
    where no person has both, as in DIMNet (Wen et al., ICLR 2019, section 3).
    """

    def __init__(self, classes: int, dim: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        # About unit length, so that the steps of Adam turn them fast enough.
        self.weight = nn.Parameter(torch.randn(classes, dim) / math.sqrt(dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of unit embeddings (n, dim) with labels (n,)."""
        logits = self.scale * embeddings @ functional.normalize(self.weight).T
        return functional.cross_entropy(logits, labels)


def identity_alignment(similarities: Tensor, *, done: float, temperature: float = 5.0) -> Tensor:
    """Squared error of predicted similarities (M, k), ACIENet Eq. 12-13 and AICANet Eq. 2.

    The first of each k is the match, whose target is one, the others' nought; ``done``, the
    share of the training that is over, anneals the loss to nought by a cosine.
    """
    targets = torch.zeros_like(similarities)
    targets[:, 0] = 1
    errors = (torch.sigmoid(temperature * similarities) - targets).square().mean(1)
    return (1 + math.cos(math.pi * done)) / 2 * row_mean(errors)


def joint_attribute(log_shares: Tensor, genders: Tensor, nations: Tensor) -> Tensor:
    """Mean of minus the log of the share of what is known, ACIENet Eq. 16.

    ``log_shares`` (n, genders, nations) are log-probabilities over both together; genders and
    nations are (n,), UNKNOWN where they are: shares are summed over what is not known, so that
    a gender alone still teaches, and who is unknown in both costs nothing.
    """
    of_gender = _fits(genders, log_shares.shape[1])[:, :, None]
    of_nation = _fits(nations, log_shares.shape[2])[:, None]
    fitting = log_shares.masked_fill(~(of_gender & of_nation), -math.inf)
    costs = -fitting.flatten(1).logsumexp(1)
    return row_mean(costs[(genders != UNKNOWN) | (nations != UNKNOWN)])


def _fits(values: Tensor, count: int) -> Tensor:
    """(n, count) bool: which values each may have."""
    every = torch.arange(count, device=values.device)
    return (values[:, None] == every) | (values[:, None] == UNKNOWN)


def contrast(anchors: Tensor, candidates: Tensor, *, theta: float) -> Tensor:
    """Contrast loss over matching tuples, ACIENet Eq. 21-22.

    Anchors (M, k, dim), as each candidate (M, k, dim) sees them, k at least 2; the first
    candidate is the match. Of the others the nearest counts, to the anchor and to the match.
    """
    own, across, within = _tuple_distances(anchors, candidates)
    nearest = torch.exp(theta - across).amax(1) + torch.exp(theta - within).amax(1)
    return row_mean(functional.relu(torch.log(nearest + own))) / 2


def relative_distance_stretching(
    anchors: Tensor, candidates: Tensor, *, theta: float, mu1: float, mu2: float
) -> Tensor:
    """Relative distance stretching metric loss over matching tuples, AICANet Eq. 14-15.

    Shapes as in :func:`contrast`. The others also count by how much nearer than the match they
    are.
    """
    own, across, within = _tuple_distances(anchors, candidates)
    stretched = [
        torch.exp(theta - others + own[:, None] - others).amax(1) for others in (across, within)
    ]
    return row_mean(mu1 * torch.log1p(mu2 * (stretched[0] + stretched[1])) + own) / 2
