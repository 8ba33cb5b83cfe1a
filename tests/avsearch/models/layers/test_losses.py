from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avsearch.models.layers.batch import UNKNOWN
from avsearch.models.layers.losses import (
    AdditiveMargin,
    MultiModalCentres,
    contrast,
    distances,
    identity_alignment,
    joint_attribute,
    likeness_loss,
    modality_cross_entropy,
    relative_distance_stretching,
    weighted_triplet,
)
from tests.helpers import plain

SEEDS = st.integers(0, 2**32 - 1)
LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=7)


def points(n: int, dim: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=torch.float64)


def paper_triplet(
    anchors: Tensor, others: Tensor, labels: list[int], other_labels: list[int], same: bool = False
) -> Tensor:
    labels_of = torch.tensor(labels), torch.tensor(other_labels)
    return weighted_triplet(anchors, others, *labels_of, alpha=0.8, margin=0.6, same=same)


def has_gradient(function, *inputs: Tensor) -> bool:
    """Compare autograd's gradient with finite differences, in float64."""
    return torch.autograd.gradcheck(function, tuple(each.requires_grad_() for each in inputs))


# Distances.


@settings(max_examples=50)
@given(n=st.integers(1, 6), m=st.integers(1, 6), dim=st.integers(1, 5), seed=SEEDS)
def test_distances_are_euclidean(n, m, dim, seed):
    a, b = points(n, dim, seed), points(m, dim, seed + 1)
    found = distances(a, b)
    assert found.shape == (n, m)
    for i in range(n):
        for j in range(m):
            assert found[i, j].item() == pytest.approx(math.dist(a[i], b[j]), rel=1e-7, abs=1e-6)


def test_distances_have_the_right_gradient():
    assert has_gradient(distances, points(3), points(4, seed=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_gradient_blows_up_where_points_coincide(dtype):
    # Random directions, so that rounding leaves the squared distance a little off zero.
    rows = torch.nn.functional.normalize(points(20, 128).to(dtype)).requires_grad_()
    apart = distances(rows, rows)
    apart.diagonal().sum().backward()
    assert apart.diagonal().max() < 2e-3
    assert rows.grad.abs().max() < 1e-2  # cdist and norm give NaN, or unit vectors of noise


# The triplet.


@settings(max_examples=50)
@given(
    labels=LABELS,
    other_labels=LABELS,
    alpha=st.floats(0.1, 1.5),
    margin=st.floats(-1.0, 2.0),
    seed=SEEDS,
)
def test_triplet_is_the_mean_over_all_that_cost(labels, other_labels, alpha, margin, seed):
    anchors, others = points(len(labels), seed=seed), points(len(other_labels), seed=seed + 1)
    found = weighted_triplet(
        anchors,
        others,
        torch.tensor(labels),
        torch.tensor(other_labels),
        alpha=alpha,
        margin=margin,
    )
    wanted = plain.triplet(
        anchors.tolist(), others.tolist(), labels, other_labels, alpha=alpha, margin=margin
    )
    assert found.item() == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=50)
@given(labels=LABELS, seed=SEEDS)
def test_triplet_within_one_side_takes_no_item_as_its_own_positive(labels, seed):
    rows = points(len(labels), seed=seed)
    found = paper_triplet(rows, rows, labels, labels, same=True)
    wanted = plain.triplet(
        rows.tolist(), rows.tolist(), labels, labels, alpha=0.8, margin=0.6, same=True
    )
    assert found.item() == pytest.approx(wanted, abs=1e-9)


def test_triplet_has_the_right_gradient():
    labels, others = [0, 0, 1, 2], [1, 0, 0, 2, 2]
    assert has_gradient(
        lambda a, b: paper_triplet(a, b, labels, others), points(4), points(5, seed=1)
    )
    assert has_gradient(lambda a: paper_triplet(a, a, labels, labels, same=True), points(4, seed=2))


@pytest.mark.parametrize(
    ("labels", "other_labels", "same"),
    [
        ([0, 0, 1], [2, 3, 2], False),  # no positives
        ([0, 0, 0], [0, 0, 0], False),  # no negatives: one class
        ([0, 0, 0], [0, 0, 0], True),
        ([0, 1, 2], [0, 1, 2], True),  # no positives but oneself
        ([0], [0], True),
    ],
)
def test_triplet_is_zero_with_no_gradient_where_there_is_none(labels, other_labels, same):
    anchors = points(len(labels)).requires_grad_()
    others = anchors if same else points(len(other_labels), seed=1).requires_grad_()
    loss = paper_triplet(anchors, others, labels, other_labels, same)
    assert loss.item() == 0
    loss.backward()
    assert not anchors.grad.any()
    assert not others.grad.any()


def test_triplet_is_zero_where_every_negative_is_far():
    anchors = torch.tensor([[0.0, 0.0], [10.0, 0.0]]).requires_grad_()
    others = torch.tensor([[0.1, 0.0], [9.9, 0.0]])
    loss = paper_triplet(anchors, others, [0, 1], [0, 1])
    loss.backward()
    assert loss.item() == 0
    assert not anchors.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_triplet_of_identical_points_is_the_margin(dtype):
    rows = torch.full((4, 3), 0.5, dtype=dtype).requires_grad_()
    loss = paper_triplet(rows, rows, [0, 0, 1, 1], [0, 0, 1, 1], same=True)
    loss.backward()
    assert loss.item() == pytest.approx(0.6, abs=1e-5)
    assert not rows.grad.any()


def test_triplet_pulls_the_positive_and_pushes_the_negative():
    anchors = torch.zeros(1, 2, dtype=torch.float64)
    others = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64).requires_grad_()
    loss = paper_triplet(anchors, others, [0], [0, 1])
    loss.backward()
    assert loss.item() == pytest.approx(1 - 0.8 + 0.6)
    torch.testing.assert_close(others.grad, torch.tensor([[1.0, 0.0], [0.0, -0.8]]).double())


# The centres.


class PlainCentres:
    """Eq. 2-5 in plain loops: running means by class and modality."""

    def __init__(self, gamma: float, momentum: float) -> None:
        self.gamma, self.momentum = gamma, momentum
        self.centres: dict[tuple[int, int], list[float]] = {}

    def update(self, modality: int, rows: list[list[float]], labels: list[int]) -> None:
        for label in set(labels):
            own = [row for row, its in zip(rows, labels, strict=True) if its == label]
            new, key = plain.mean(own), (modality, label)
            if key in self.centres:
                pairs = zip(self.centres[key], new, strict=True)
                new = [(1 - self.momentum) * old + self.momentum * now for old, now in pairs]
            self.centres[key] = new

    def loss(self, modality: int, rows: list[list[float]], labels: list[int]) -> float:
        intra = inter = 0.0
        for row, label in zip(rows, labels, strict=True):
            known = [self.centres[key] for key in ((0, label), (1, label)) if key in self.centres]
            intra += plain.squared(row, self.centres[modality, label]) / 2
            inter += plain.squared(row, plain.mean(known)) / 2
        return (intra + self.gamma * inter) / len(rows)


@settings(max_examples=50)
@given(
    rounds=st.lists(st.tuples(st.integers(0, 1), LABELS), min_size=1, max_size=6),
    gamma=st.floats(0.0, 2.0),
    momentum=st.floats(0.1, 1.0),
    seed=SEEDS,
)
def test_centres_are_running_means_by_class_and_modality(rounds, gamma, momentum, seed):
    centres = MultiModalCentres(4, 3, gamma=gamma, momentum=momentum).double()
    wanted = PlainCentres(gamma, momentum)
    for turn, (modality, labels) in enumerate(rounds):
        rows = points(len(labels), seed=seed + turn)
        centres.update(modality, rows, torch.tensor(labels))
        wanted.update(modality, rows.tolist(), labels)
        found = centres(modality, rows, torch.tensor(labels))
        assert found.item() == pytest.approx(wanted.loss(modality, rows.tolist(), labels), abs=1e-9)
    for (modality, label), centre in wanted.centres.items():
        assert centres.centres[modality, label].tolist() == pytest.approx(centre, abs=1e-9)
    assert {(int(m), int(c)) for m, c in centres.known.nonzero()} == wanted.centres.keys()


def test_a_centre_known_from_one_modality_alone_is_the_shared_one():
    centres = MultiModalCentres(2, 3, gamma=1.0)
    rows = torch.tensor([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    labels = torch.tensor([1, 1])
    centres.update(0, rows, labels)
    assert centres(0, rows, labels).item() == pytest.approx(0.5 + 0.5)  # not halved towards zero


def test_centres_are_zero_where_all_points_of_a_class_are_one():
    centres = MultiModalCentres(1, 3, gamma=1.0)
    rows, labels = torch.ones(4, 3).requires_grad_(), torch.zeros(4, dtype=torch.int64)
    centres.update(0, rows, labels)
    centres.update(1, rows, labels)
    loss = centres(0, rows, labels)
    loss.backward()
    assert loss.item() == 0
    assert not rows.grad.any()


def test_centres_have_the_right_gradient_and_stand_still_for_it():
    centres = MultiModalCentres(3, 3, gamma=0.7).double()
    labels = torch.tensor([0, 2, 0, 1])
    centres.update(0, points(4), labels)
    centres.update(1, points(4, seed=1), labels)
    before = centres.centres.clone()
    assert has_gradient(lambda rows: centres(0, rows, labels), points(4, seed=2))
    torch.testing.assert_close(centres.centres, before, rtol=0, atol=0)
    assert not centres.centres.requires_grad


# The classifiers.


@settings(max_examples=50)
@given(n=st.integers(1, 6), modality=st.integers(0, 1), seed=SEEDS)
def test_modality_cross_entropy_is_that_of_plain_loops(n, modality, seed):
    logits = points(n, 2, seed)
    found = modality_cross_entropy(logits, modality)
    wanted = plain.cross_entropy(logits.tolist(), [modality] * n)
    assert found.item() == pytest.approx(wanted, abs=1e-9)


def test_modality_cross_entropy_of_one_who_cannot_tell():
    assert modality_cross_entropy(torch.zeros(3, 2), 1).item() == pytest.approx(math.log(2))


def test_modality_cross_entropy_has_the_right_gradient():
    assert has_gradient(lambda logits: modality_cross_entropy(logits, 1), points(4, 2))


@settings(max_examples=50)
@given(labels=LABELS, scale=st.floats(0.5, 16.0), seed=SEEDS)
def test_shared_classifier_is_the_cross_entropy_of_scaled_cosines(labels, scale, seed):
    classifier = AdditiveMargin(4, 3, margin=0, scale=scale).double()
    rows = [plain.unit(row) for row in points(len(labels), seed=seed).tolist()]
    vectors = [plain.unit(row) for row in classifier.weight.tolist()]
    logits = [
        [scale * sum(x * y for x, y in zip(row, vector, strict=True)) for vector in vectors]
        for row in rows
    ]
    found = classifier(torch.tensor(rows, dtype=torch.float64), torch.tensor(labels))
    assert found.item() == pytest.approx(plain.cross_entropy(logits, labels), rel=1e-7, abs=1e-9)


def test_shared_classifier_of_one_class_is_always_right():
    classifier = AdditiveMargin(1, 3, margin=0, scale=8.0)
    rows = torch.nn.functional.normalize(points(4).float()).requires_grad_()
    loss = classifier(rows, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert not rows.grad.any()


def test_shared_classifier_has_the_right_gradient():
    classifier = AdditiveMargin(3, 3, margin=0, scale=2.0).double()
    labels = torch.tensor([0, 2, 1, 2])

    def loss(rows: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(classifier, {"weight": weight}, (rows, labels))

    assert has_gradient(loss, points(4), classifier.weight.detach().clone())


# Of matching tuples.


def tuples(count: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Anchors and candidates (count, k, 3)."""
    return points(count * k, 3, seed).reshape(count, k, 3), points(count * k, 3, seed + 1).reshape(
        count, k, 3
    )


@settings(max_examples=50)
@given(count=st.integers(1, 4), k=st.integers(2, 5), theta=st.floats(0, 3), seed=SEEDS)
def test_contrast_is_that_of_plain_loops(count, k, theta, seed):
    anchors, candidates = tuples(count, k, seed)
    found = contrast(anchors, candidates, theta=theta)
    wanted = plain.contrast(anchors.tolist(), candidates.tolist(), theta)
    assert found.item() == pytest.approx(wanted, rel=1e-7, abs=1e-9)


@settings(max_examples=50)
@given(
    count=st.integers(1, 4),
    k=st.integers(2, 5),
    theta=st.floats(0, 3),
    mu1=st.floats(0.1, 20),
    mu2=st.floats(0.1, 20),
    seed=SEEDS,
)
def test_stretching_is_that_of_plain_loops(count, k, theta, mu1, mu2, seed):
    anchors, candidates = tuples(count, k, seed)
    found = relative_distance_stretching(anchors, candidates, theta=theta, mu1=mu1, mu2=mu2)
    wanted = plain.stretching(anchors.tolist(), candidates.tolist(), theta, mu1, mu2)
    assert found.item() == pytest.approx(wanted, rel=1e-7)


@settings(max_examples=50)
@given(count=st.integers(1, 4), k=st.integers(1, 5), done=st.floats(0, 1), seed=SEEDS)
def test_alignment_is_that_of_plain_loops(count, k, done, seed):
    similarities = points(count, k, seed)
    found = identity_alignment(similarities, done=done, temperature=5.0)
    assert found.item() == pytest.approx(plain.alignment(similarities.tolist(), done, 5.0))


TUPLE_LOSSES = [
    lambda a, b: contrast(a, b, theta=1.2),
    lambda a, b: relative_distance_stretching(a, b, theta=1.2, mu1=10.0, mu2=4.0),
]


@pytest.mark.parametrize("loss", TUPLE_LOSSES, ids=["contrast", "stretching"])
def test_losses_of_tuples_have_the_right_gradient(loss):
    assert has_gradient(loss, *tuples(3, 4))


def test_alignment_has_the_right_gradient():
    assert has_gradient(lambda s: identity_alignment(s, done=0.3), points(3, 4))


@pytest.mark.parametrize("loss", TUPLE_LOSSES, ids=["contrast", "stretching"])
def test_losses_of_tuples_are_zero_without_any(loss):
    anchors = torch.zeros(0, 2, 3).requires_grad_()
    cost = loss(anchors, torch.zeros(0, 2, 3))
    cost.backward()
    assert cost.item() == 0
    assert identity_alignment(torch.zeros(0, 2), done=0.0).item() == 0


@pytest.mark.parametrize("loss", TUPLE_LOSSES, ids=["contrast", "stretching"])
def test_losses_of_tuples_stay_finite_where_all_are_one_point(loss):
    anchors = torch.ones(2, 3, 4).requires_grad_()
    candidates = torch.ones(2, 3, 4).requires_grad_()
    cost = loss(anchors, candidates)
    cost.backward()
    assert cost > 0
    assert anchors.grad.isfinite().all()
    assert candidates.grad.isfinite().all()


def test_contrast_is_zero_where_the_match_is_near_and_the_others_are_far():
    anchors = torch.zeros(1, 2, 2)
    candidates = torch.tensor([[[0.1, 0.0], [9.0, 0.0]]])
    assert contrast(anchors, candidates, theta=1.2).item() == 0


@pytest.mark.parametrize("loss", TUPLE_LOSSES, ids=["contrast", "stretching"])
def test_losses_of_tuples_count_the_nearest_of_the_others_only(loss):
    anchors, candidates = torch.zeros(1, 3, 2), torch.tensor([[[0.1, 0.0], [1.0, 0.0], [3.0, 0.0]]])
    moved = candidates.clone()
    moved[0, 2] = torch.tensor([2.5, 0.0])
    assert loss(anchors, moved).item() == loss(anchors, candidates).item()
    moved[0, 1] = torch.tensor([0.9, 0.0])
    assert loss(anchors, moved) > loss(anchors, candidates)


def test_alignment_is_annealed_to_zero():
    similarities = points(4, 2)
    costs = [identity_alignment(similarities, done=done).item() for done in (0.0, 0.5, 1.0)]
    assert costs[1] == pytest.approx(costs[0] / 2)
    assert costs[2] == pytest.approx(0)


# The joint attribute.


def log_shares(n: int, seed: int = 0) -> Tensor:
    """(n, 2, 3)."""
    return torch.log_softmax(points(n, 6, seed), 1).reshape(n, 2, 3)


@settings(max_examples=50)
@given(
    known=st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 2)), min_size=1, max_size=6),
    seed=SEEDS,
)
def test_joint_attribute_sums_over_what_is_not_known(known, seed):
    shares = log_shares(len(known), seed)
    costs = []
    for row, (gender, nation) in zip(shares.exp().tolist(), known, strict=True):
        share = sum(
            row[g][n]
            for g in range(2)
            for n in range(3)
            if gender in (g, UNKNOWN) and nation in (n, UNKNOWN)
        )
        if (gender, nation) != (UNKNOWN, UNKNOWN):
            costs.append(-math.log(share))
    found = joint_attribute(shares, *torch.tensor(known).T)
    assert found.item() == pytest.approx(sum(costs) / max(len(costs), 1), abs=1e-9)


def test_joint_attribute_has_the_right_gradient():
    genders, nations = torch.tensor([0, 1, UNKNOWN, 1]), torch.tensor([2, UNKNOWN, 1, 0])
    assert has_gradient(lambda s: joint_attribute(s, genders, nations), log_shares(4))


def test_joint_attribute_of_the_unknown_is_zero_with_no_gradient():
    shares = log_shares(3).requires_grad_()
    unknown = torch.full((3,), UNKNOWN)
    cost = joint_attribute(shares, unknown, unknown)
    cost.backward()
    assert cost.item() == 0
    assert not shares.grad.any()


# What a teacher says, and who is who.


def unit(n: int, dim: int = 4, seed: int = 0) -> Tensor:
    return torch.nn.functional.normalize(points(n, dim, seed))


def standard_cosines(vectors: Tensor) -> list[float]:
    cosines = [
        sum(float(a) * float(b) for a, b in zip(vectors[i], vectors[j], strict=True))
        for i in range(len(vectors))
        for j in range(i + 1, len(vectors))
    ]
    mean = sum(cosines) / len(cosines)
    deviation = math.sqrt(sum((each - mean) ** 2 for each in cosines) / len(cosines))
    return [(each - mean) / (deviation + 1e-6) for each in cosines]


@settings(max_examples=50)
@given(labels=st.lists(st.integers(0, 2), min_size=1, max_size=9), seed=SEEDS)
def test_likeness_by_plain_loops(labels, seed):
    own, taught = unit(len(labels), 4, seed), unit(len(labels), 6, seed + 1)
    costs = []
    for label in set(labels):
        rows = [at for at, each in enumerate(labels) if each == label]
        if len(rows) >= 3:
            pairs = zip(standard_cosines(own[rows]), standard_cosines(taught[rows]), strict=True)
            differences = [(a - b) ** 2 for a, b in pairs]
            costs.append(sum(differences) / len(differences))
    wanted = sum(costs) / len(costs) if costs else 0.0
    found = likeness_loss(own, taught, torch.tensor(labels))
    assert found.item() == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_likeness_is_zero_where_the_teacher_is_followed_and_where_there_is_nothing_to_follow():
    taught, labels = unit(6), torch.tensor([0, 0, 0, 1, 1, 1])
    assert likeness_loss(taught, taught, labels).item() == pytest.approx(0, abs=1e-9)
    alone = unit(4).requires_grad_()
    cost = likeness_loss(alone, unit(4, seed=1), torch.tensor([0, 0, 1, 1]))
    cost.backward()
    assert cost.item() == 0
    assert not alone.grad.any()


def test_likeness_has_the_right_gradient():
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    taught = unit(7, seed=5)
    assert has_gradient(lambda x: likeness_loss(x, taught, labels), points(7, 4))


def test_the_additive_margin_by_plain_loops():
    classifier = AdditiveMargin(3, 4, margin=0.3, scale=5.0).double()
    vectors, labels = unit(5), [0, 2, 1, 1, 0]
    centres = torch.nn.functional.normalize(classifier.weight.detach())
    costs = []
    for vector, label in zip(vectors, labels, strict=True):
        logits = [
            5 * (float(vector @ centre) - (0.3 if at == label else 0))
            for at, centre in enumerate(centres)
        ]
        costs.append(math.log(sum(map(math.exp, logits))) - logits[label])
    found = classifier(vectors, torch.tensor(labels))
    assert found.item() == pytest.approx(sum(costs) / len(costs))
    assert has_gradient(lambda x: classifier(x, torch.tensor(labels)), points(5, 4))
