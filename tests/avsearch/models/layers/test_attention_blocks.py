"""Self-attention, switchable normalisation and the matching head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from avsearch.models.layers.blocks import MatchingHead, SelfAttention, SwitchableNorm

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def lived_attention() -> SelfAttention:
    attention = SelfAttention(16).eval()
    nn.init.constant_(attention.gamma, 0.7)
    return attention


def test_a_fresh_self_attention_is_the_identity():
    maps = torch.randn(2, 16, 3, 4)
    torch.testing.assert_close(SelfAttention(16)(maps), maps)


@torch.no_grad()
def test_self_attention_is_that_of_plain_loops():
    attention, maps = lived_attention(), torch.randn(1, 16, 2, 3)
    x = maps[0].flatten(1).T  # (N, C)
    query, key, value = (
        [(layer.weight.squeeze(2) @ place + layer.bias) for place in x]
        for layer in (attention.query, attention.key, attention.value)
    )
    found = attention(maps)[0].flatten(1).T
    for i in range(6):
        weights = [math.exp(float(query[i] @ key[j])) for j in range(6)]
        attended = sum(weights[j] * value[j] for j in range(6)) / sum(weights)
        torch.testing.assert_close(found[i], x[i] + 0.7 * attended, **CLOSE)


def test_self_attention_is_spectrally_normalised():
    attention = SelfAttention(32)
    for _ in range(50):  # each pass in training sharpens the estimate
        attention(torch.randn(1, 32, 2, 2))
    for layer in (attention.query, attention.key, attention.value):
        assert torch.linalg.matrix_norm(layer.weight.squeeze(2), 2).item() == pytest.approx(
            1, abs=0.02
        )


def test_self_attention_treats_each_row_alone():
    attention, maps = lived_attention(), torch.randn(4, 16, 3, 3)
    alone = torch.cat([attention(each[None]) for each in maps])
    torch.testing.assert_close(attention(maps), alone, **CLOSE)


def plain_switch(x: Tensor, norm: SwitchableNorm, mean: Tensor, variance: Tensor) -> Tensor:
    """Each row by mixtures of its own statistics and the given ones of the batch."""
    mixes = [
        [math.exp(value) / sum(math.exp(v) for v in mix.tolist()) for value in mix.tolist()]
        for mix in (norm.mean_mix, norm.variance_mix)
    ]
    rows = []
    for row in x:
        own = row.mean(), row.square().mean() - row.mean() ** 2
        mixed = [
            mix[0] * one + mix[1] * all_
            for mix, one, all_ in zip(mixes, own, (mean, variance), strict=True)
        ]
        rows.append((row - mixed[0]) / (mixed[1] + 1e-5).sqrt() * norm.weight + norm.bias)
    return torch.stack(rows)


def lived_norm() -> SwitchableNorm:
    norm = SwitchableNorm(5)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return norm


def test_switchable_norm_mixes_row_and_batch_in_training():
    norm, x = lived_norm(), torch.randn(6, 5) * 3 + 1
    wanted = plain_switch(x, norm, x.mean(0), x.var(0, correction=0))
    torch.testing.assert_close(norm(x), wanted, **CLOSE)


def test_switchable_norm_in_evaluation_takes_the_running_statistics():
    norm = lived_norm()
    for _ in range(100):
        norm(torch.randn(200, 5) * 2 + 3)
    norm.eval()
    assert norm.running_mean.tolist() == pytest.approx([3] * 5, abs=0.2)
    assert norm.running_variance.tolist() == pytest.approx([4] * 5, abs=0.4)
    x = torch.randn(4, 5)
    wanted = plain_switch(x, norm, norm.running_mean, norm.running_variance)
    torch.testing.assert_close(norm(x), wanted, **CLOSE)
    torch.testing.assert_close(norm(x[:1]), norm(x)[:1], **CLOSE)


def test_switchable_norm_of_tokens_takes_all_of_them_as_the_batch():
    norm, x = lived_norm(), torch.randn(3, 4, 5)
    torch.testing.assert_close(norm(x), norm(x.flatten(0, 1)).reshape(3, 4, 5), **CLOSE)


def test_switchable_norm_has_the_right_gradient():
    norm = lived_norm().double()
    assert torch.autograd.gradcheck(norm, torch.randn(3, 5).double().requires_grad_())


def test_a_constant_batch_is_finite():
    assert SwitchableNorm(5)(torch.ones(3, 5)).isfinite().all()


@pytest.mark.parametrize("k", [2, 3, 10])
def test_the_answer_of_the_matching_head_moves_with_the_candidates(k):
    head = MatchingHead(8)
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    anchors, candidates = torch.randn(4, 8), torch.randn(4, k, 8)
    order = torch.randperm(k)
    logits = head(anchors, candidates)
    assert logits.shape == (4, k)
    torch.testing.assert_close(head(anchors, candidates[:, order]), logits[:, order], **CLOSE)
    torch.testing.assert_close(head(anchors[:1], candidates[:1]), logits[:1], **CLOSE)


def test_the_matching_head_sees_the_other_candidates():
    head = MatchingHead(8)
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    anchors, candidates = torch.randn(1, 8), torch.randn(1, 3, 8)
    changed = torch.cat([candidates[:, :2], torch.randn(1, 1, 8)], 1)
    assert (head(anchors, changed) - head(anchors, candidates))[0, 0].abs() > 1e-3


def test_a_fresh_matching_head_sees_only_the_difference():
    head = MatchingHead(8)
    anchors, candidates, shift = torch.randn(2, 8), torch.randn(2, 3, 8), torch.randn(8)
    torch.testing.assert_close(
        head(anchors + shift, candidates + shift), head(anchors, candidates), **CLOSE
    )
