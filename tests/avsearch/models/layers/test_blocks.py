from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from avsearch.models.layers.blocks import SEResNeXtBlock, SqueezeExcitation, conv_norm, fuse_norms
from tests.helpers.tiny import lived_adsm, tiny_adsm, tiny_batch


@settings(max_examples=50)
@given(
    ndim=st.sampled_from([1, 2]),
    size=st.integers(1, 20),
    kernel=st.sampled_from([1, 3, 5, 7]),
    stride=st.integers(1, 3),
)
def test_conv_norm_keeps_every_stride_th_position(ndim, size, kernel, stride):
    x = torch.zeros(1, 2, *(size,) * ndim)
    y = conv_norm(ndim, 2, 3, kernel, stride).eval()(x)
    assert y.shape == (1, 3, *(math.ceil(size / stride),) * ndim)


def test_conv_norm_normalises_each_channel_over_rows_and_positions():
    y = conv_norm(2, 3, 5, 3)(torch.randn(4, 3, 8, 8) * 7 + 2)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.square().mean((0, 2, 3)), torch.ones(5), atol=1e-3, rtol=0)


@pytest.mark.parametrize("positions", [(5,), (3, 4)])
def test_squeeze_excitation_scales_channels_by_their_means(positions):
    squeeze = SqueezeExcitation(6, 4)
    x = torch.randn(2, 6, *positions)
    y = squeeze(x)
    first, _, second, _ = squeeze.gate
    for row in range(2):
        means = torch.tensor([x[row, channel].mean() for channel in range(6)])
        hidden = (first.weight @ means + first.bias).clamp_min(0)
        gate = 1 / (1 + torch.exp(-(second.weight @ hidden + second.bias)))
        for channel in range(6):
            torch.testing.assert_close(y[row, channel], x[row, channel] * gate[channel])


def test_squeeze_excitation_of_few_channels_keeps_one_hidden_value():
    assert SqueezeExcitation(2, 16)(torch.ones(1, 2, 3)).shape == (1, 2, 3)


@pytest.mark.parametrize(("ndim", "positions"), [(1, (9,)), (2, (5, 4))])
def test_a_fresh_block_hands_on_what_a_rectifier_gives(ndim, positions):
    block = SEResNeXtBlock(ndim, 8, 3, 4, 4)
    x = torch.rand(3, 8, *positions)
    torch.testing.assert_close(block(x), x)
    torch.testing.assert_close(block(-x), torch.zeros_like(x))


@pytest.mark.parametrize("cardinality", [1, 2, 4])
def test_a_block_works_at_twice_the_channels_in_groups(cardinality):
    channels, kernel, reduction = 8, 3, 4
    block = SEResNeXtBlock(2, channels, kernel, cardinality, reduction)
    wide, hidden = 2 * channels, channels // reduction
    convolutions = (
        channels * wide + kernel**2 * wide * (wide // cardinality) + wide * channels
    )  # Xie et al., Table 1: grouping divides what the middle one costs
    norms = 2 * (wide + wide + channels)
    gate = channels * hidden + hidden + hidden * channels + channels
    assert sum(p.numel() for p in block.parameters()) == convolutions + norms + gate


@pytest.mark.parametrize("ndim", [1, 2])
def test_a_block_adds_its_body_to_its_input(ndim):
    block = SEResNeXtBlock(ndim, 8, 3, 2, 4).eval()
    nn.init.ones_(block.get_parameter("body.4.1.weight"))
    x = torch.randn(2, 8, *(6,) * ndim)
    y = block(x)
    torch.testing.assert_close(y, (x + block.body(x)).clamp_min(0))
    assert not torch.allclose(y, x.clamp_min(0), atol=1e-2)


def test_fusing_changes_nothing():
    network, batch = lived_adsm(), tiny_batch(seed=9)
    with torch.inference_mode():
        before = network.encode(batch)
        fuse_norms(network)
        after = network.encode(batch)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=0)


def test_the_network_that_fusing_is_tried_on_is_no_trivial_one():
    lived, fresh, batch = lived_adsm(), tiny_adsm().eval(), tiny_batch(seed=9)
    with torch.inference_mode():
        for one, other in zip(lived.encode(batch), fresh.encode(batch), strict=True):
            assert (one - other).abs().max() > 0.05


def test_fusing_leaves_no_norm_behind_a_convolution_and_may_be_done_twice():
    network, batch = lived_adsm(), tiny_batch(seed=9)
    fuse_norms(network)
    left = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert left == [network.face_net[-1], network.voice_net[-1]]  # those that follow the pooling
    with torch.inference_mode():
        once = network.encode(batch)
        fuse_norms(network)
        twice = network.encode(batch)
    for one, other in zip(once, twice, strict=True):
        torch.testing.assert_close(other, one, atol=0, rtol=0)
