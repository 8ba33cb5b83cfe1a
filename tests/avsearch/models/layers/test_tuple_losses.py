"""Losses of matching tuples, of distributions and of attributes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avsearch.models.layers.batch import UNKNOWN
from avsearch.models.layers.losses import (
    CentreLoss,
    attribute_cross_entropy,
    first_cross_entropy,
    gaussian_divergence,
    lifted_structure,
    masked_cross_entropy,
    pair_distances,
    structural_metric,
)
from tests.helpers import plain

SEEDS = st.integers(0, 2**32 - 1)
METRICS = [
    (structural_metric, plain.structural_metric),
    (lifted_structure, plain.lifted_structure),
]


def points(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def has_gradient(function, *inputs: Tensor) -> bool:
    """Compare autograd's gradient with finite differences, in float64."""
    return torch.autograd.gradcheck(function, tuple(each.requires_grad_() for each in inputs))


# Distances in pairs.


@settings(max_examples=30)
@given(n=st.integers(1, 5), dim=st.integers(1, 5), seed=SEEDS)
def test_pair_distances_are_euclidean(n, dim, seed):
    a, b = points(n, dim, seed=seed), points(n, dim, seed=seed + 1)
    found = pair_distances(a, b)
    for row in range(n):
        assert found[row].item() == pytest.approx(math.dist(a[row], b[row]), abs=1e-6)


def test_pair_distances_of_equal_rows_have_no_gradient():
    rows = points(4, 3).requires_grad_()
    pair_distances(rows, rows.detach().clone()).sum().backward()
    assert not rows.grad.any()


# Adaptive masked cross-entropy.


@settings(max_examples=50)
@given(n=st.integers(0, 5), k=st.integers(2, 6), eta=st.floats(0.01, 1.0), seed=SEEDS)
def test_masked_cross_entropy_is_that_of_plain_loops(n, k, eta, seed):
    logits = points(n, k, seed=seed)
    found = masked_cross_entropy(logits, eta=eta)
    assert found.item() == pytest.approx(plain.masked_cross_entropy(logits.tolist(), eta))


@settings(max_examples=50)
@given(k=st.integers(2, 6), seed=SEEDS)
def test_masked_cross_entropy_has_the_gradient_of_eq_17(k, seed):
    logits = (0.3 * points(1, k, seed=seed)).requires_grad_()
    masked_cross_entropy(logits, eta=0.1).backward()
    p = [1 / (1 + math.exp(-value)) for value in logits[0].tolist()]
    wanted = [p[0] - 1, *(other if other - max(p) + 0.1 > 0 else 0.0 for other in p[1:])]
    assert logits.grad[0].tolist() == pytest.approx(wanted)


def test_masked_cross_entropy_has_the_gradient_of_finite_differences():
    assert has_gradient(lambda logits: masked_cross_entropy(logits, eta=0.1), points(5, 4))


def test_others_far_below_the_largest_do_not_count():
    logits = torch.tensor([[0.0, 3.0, -3.0]]).requires_grad_()
    masked_cross_entropy(logits, eta=0.1).backward()
    assert logits.grad[0, 1] > 0
    assert logits.grad[0, 2] == 0


def test_equal_candidates_all_count():
    found = masked_cross_entropy(torch.zeros(2, 4), eta=0.1)
    assert found.item() == pytest.approx(4 * math.log(2))


@settings(max_examples=30)
@given(n=st.integers(1, 5), k=st.integers(2, 6), seed=SEEDS)
def test_first_cross_entropy_is_that_of_plain_loops(n, k, seed):
    logits = points(n, k, seed=seed)
    wanted = plain.cross_entropy(logits.tolist(), [0] * n)
    assert first_cross_entropy(logits).item() == pytest.approx(wanted)


def test_first_cross_entropy_has_the_right_gradient():
    assert has_gradient(first_cross_entropy, points(3, 4))


# The metrics.


@pytest.mark.parametrize(("loss", "loops"), METRICS)
@settings(max_examples=50)
@given(
    n=st.integers(0, 4),
    k=st.integers(2, 6),
    dim=st.integers(1, 4),
    margin=st.floats(-2.0, 2.0),
    seed=SEEDS,
)
def test_metrics_are_those_of_plain_loops(loss, loops, n, k, dim, margin, seed):
    anchors, candidates = points(n, dim, seed=seed), points(n, k, dim, seed=seed + 1)
    found = loss(anchors, candidates, margin=margin)
    wanted = loops(anchors.tolist(), candidates.tolist(), margin)
    assert found.item() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("loss", "loops"), METRICS)
def test_metrics_have_the_right_gradient(loss, loops):
    assert has_gradient(lambda a, c: loss(a, c, margin=1.0), points(3, 4), points(3, 5, 4, seed=1))


@pytest.mark.parametrize(("loss", "loops"), METRICS)
def test_metrics_are_nought_where_others_are_far(loss, loops):
    anchors = torch.zeros(1, 2).requires_grad_()
    candidates = torch.tensor([[[0.1, 0.0], [9.0, 0.0], [0.0, 9.0]]])
    found = loss(anchors, candidates, margin=1.0)
    found.backward()
    assert found.item() == 0
    assert not anchors.grad.any()


@pytest.mark.parametrize(("loss", "loops"), METRICS)
def test_metrics_of_one_point_are_finite_with_no_gradient(loss, loops):
    anchors = torch.ones(2, 3).requires_grad_()
    candidates = torch.ones(2, 4, 3).requires_grad_()
    found = loss(anchors, candidates, margin=1.0)
    found.backward()
    wanted = loops(anchors.tolist(), candidates.tolist(), 1.0)
    assert found.item() == pytest.approx(wanted, abs=1e-5)
    assert not anchors.grad.any()
    assert not candidates.grad.any()


def test_with_two_candidates_the_metrics_agree_up_to_the_square():
    anchors, candidates = points(1, 4), points(1, 2, 4, seed=1)
    structural = 2 * structural_metric(anchors, candidates, margin=1.0)
    lifted = 2 * lifted_structure(anchors, candidates, margin=1.0)
    assert lifted.item() == pytest.approx(structural.item() ** 2)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, c: structural_metric(a, c, margin=1.0),
        lambda a, c: lifted_structure(a, c, margin=1.0),
        lambda a, c: masked_cross_entropy((a[:, None] * c).sum(2), eta=0.1),
        lambda a, c: first_cross_entropy((a[:, None] * c).sum(2)),
    ],
)
def test_without_tuples_there_is_no_cost_and_no_gradient(loss):
    rows = points(4, 3).requires_grad_()
    nobody = torch.empty(0, dtype=torch.int64)
    found = loss(rows[nobody], rows[nobody.reshape(0, 2)])
    found.backward()
    assert found.item() == 0
    assert not rows.grad.any()


# Centres, distributions, attributes.


def test_centre_loss_is_the_mean_distance_to_the_own_centre():
    loss = CentreLoss(4, 3).double()
    rows, labels = points(5, 3), [0, 2, 2, 3, 0]
    centres = loss.centres.tolist()
    wanted = sum(math.dist(row, centres[c]) for row, c in zip(rows.tolist(), labels, strict=True))
    assert loss(rows, torch.tensor(labels)).item() == pytest.approx(wanted / 5)


def test_centre_loss_has_the_right_gradient():
    loss = CentreLoss(3, 4).double()
    assert has_gradient(lambda rows: loss(rows, torch.tensor([0, 1, 1])), points(3, 4))


def test_centres_move_towards_their_rows_and_others_stand_still():
    loss, rows = CentreLoss(3, 2), torch.tensor([[5.0, 5.0]])
    before = loss(rows, torch.tensor([1]))
    before.backward()
    assert not loss.centres.grad[[0, 2]].any()
    with torch.no_grad():
        loss.centres -= 0.1 * loss.centres.grad
    assert loss(rows, torch.tensor([1])) < before


def test_centre_loss_of_nobody_is_nought():
    found = CentreLoss(3, 2)(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
    found.backward()
    assert found.item() == 0


@settings(max_examples=30)
@given(n=st.integers(0, 4), dim=st.integers(1, 4), seed=SEEDS)
def test_gaussian_divergence_is_that_of_plain_loops(n, dim, seed):
    mean, log_variance = points(n, dim, seed=seed), points(n, dim, seed=seed + 1)
    total = 0.0
    for row in range(n):
        for value in range(dim):
            m, v = mean[row, value].item(), math.exp(log_variance[row, value].item())
            total += (v + m * m - 1 - math.log(v)) / 2
    wanted = total / (n * dim) if n else 0.0
    assert gaussian_divergence(mean, log_variance).item() == pytest.approx(wanted)


def test_gaussian_divergence_agrees_with_torch():
    mean, log_variance = points(3, 4), points(3, 4, seed=1)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (log_variance / 2).exp()),
        torch.distributions.Normal(torch.zeros(4), torch.ones(4)),
    )
    torch.testing.assert_close(gaussian_divergence(mean, log_variance), theirs.mean())


def test_gaussian_divergence_of_the_standard_one_is_nought():
    assert gaussian_divergence(torch.zeros(3, 4), torch.zeros(3, 4)).item() == 0


def test_gaussian_divergence_has_the_right_gradient():
    assert has_gradient(gaussian_divergence, points(3, 2), points(3, 2, seed=1))


@settings(max_examples=30)
@given(labels=st.lists(st.sampled_from([UNKNOWN, 0, 1, 2]), max_size=6), seed=SEEDS)
def test_attribute_cross_entropy_is_the_mean_over_what_is_known(labels, seed):
    logits = points(len(labels), 3, seed=seed)
    found = attribute_cross_entropy(logits, torch.tensor(labels, dtype=torch.int64))
    rows = [row for row, label in zip(logits.tolist(), labels, strict=True) if label != UNKNOWN]
    known = [label for label in labels if label != UNKNOWN]
    wanted = plain.cross_entropy(rows, known) if known else 0.0
    assert found.item() == pytest.approx(wanted)


def test_unknown_attributes_send_no_gradient():
    logits = points(3, 2).requires_grad_()
    attribute_cross_entropy(logits, torch.tensor([UNKNOWN, 1, UNKNOWN])).backward()
    assert not logits.grad[[0, 2]].any()
    assert logits.grad[1].any()


def test_attribute_cross_entropy_has_the_right_gradient():
    labels = torch.tensor([0, UNKNOWN, 2])
    assert has_gradient(lambda logits: attribute_cross_entropy(logits, labels), points(3, 3))
