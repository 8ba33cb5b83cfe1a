"""Trunks that published weights fit, and the layers behind them."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torchaudio.compliance.kaldi import fbank

from avsearch.models.layers.backbones import (
    CAMPlus,
    MaskedLayer,
    ResNet29,
    UnpaddedBlock,
    pooling_matrices,
)
from avsearch.models.layers.blocks import CorrectedLinear
from avsearch.models.layers.frontends import FilterBanks
from avsearch.models.papers.adsm import ADSM, ADSMSettings

SETTINGS = ADSMSettings(
    dim=16,
    face_trunk="resnet29",
    face_size=210,
    face_down=13,
    face_hidden=8,
    voice_trunk="cam++",
    voice_seconds=0.4,
    voice_hidden=8,
)


@pytest.fixture(scope="module")
def model() -> ADSM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ADSM(SETTINGS).eval()


def faces(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 3, 210, 210), dtype=torch.uint8, generator=generator)


def voices(n: int) -> torch.Tensor:
    return torch.randn(n, 6400, generator=torch.Generator().manual_seed(2)) * 0.1


def test_the_trunks_have_as_many_parameters_as_what_was_published():
    face = sum(each.numel() for each in ResNet29().parameters())
    assert face + 256 * 128 == 5_607_488  # of dlib's file, affine layers multiplied in
    tensors = CAMPlus().state_dict()
    assert len(tensors) == 937
    assert sum(each.numel() for each in tensors.values()) == 6_930_842


@torch.inference_mode()
def test_a_row_does_not_depend_on_its_neighbours(model):
    for embed, rows in ((model.embed_face, faces(3)), (model.embed_voice, voices(3))):
        together = embed(rows)
        assert together.shape == (3, 16)
        torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
        alone = torch.cat([embed(row[None]) for row in rows.flip(0)]).flip(0)
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_face_is_seen_only_in_the_part_it_is_cut_to(model):
    inside, outside = faces(1), faces(1)
    outside[:, :, :43] = 0
    outside[:, :, 193:] = 0
    outside[:, :, :, :30] = 0
    outside[:, :, :, 180:] = 0
    assert torch.equal(model.embed_face(inside), model.embed_face(outside))
    outside[:, :, 43] = 255 - outside[:, :, 43]
    assert not torch.equal(model.embed_face(inside), model.embed_face(outside))


@pytest.mark.parametrize("size", [4, 8, 9, 17, 35])
def test_a_block_fills_the_smaller_side_with_noughts(size):
    block = UnpaddedBlock(2, 3, 2)
    x = torch.rand(1, 2, size, size)
    inside = block.conv2(torch.relu(block.conv1(x)))
    past = functional.avg_pool2d(x, 2)
    side = max(inside.shape[2], past.shape[2])
    wanted = torch.zeros(3, side, side)
    wanted[:, : inside.shape[2], : inside.shape[3]] += inside[0]
    wanted[:2, : past.shape[2], : past.shape[3]] += past[0]
    torch.testing.assert_close(block(x)[0], wanted.relu())


def test_a_block_of_one_size_is_a_plain_residual_block():
    block = UnpaddedBlock(3, 3, 1)
    x = torch.rand(2, 3, 6, 7)
    torch.testing.assert_close(block(x), torch.relu(x + block.conv2(block.conv1(x).relu())))


@torch.inference_mode()
def test_a_voice_is_what_was_published_and_what_that_is_made_of():
    trunk, banks = CAMPlus().eval(), FilterBanks()(voices(2))
    frames = trunk.end(trunk.blocks(trunk.begin(trunk.head(banks[:, None]).flatten(1, 2))))
    statistics = torch.cat([frames.mean(2), frames.std(2)], 1)
    published = functional.normalize(trunk.last(statistics))
    wanted = torch.cat([published, functional.normalize(statistics)], 1)
    torch.testing.assert_close(trunk(banks), wanted)


@torch.inference_mode()
def test_a_layer_is_masked_by_the_whole_voice_and_by_stretches_of_a_hundred_frames():
    layer = MaskedLayer(5, 4, 6, dilation=2).eval()
    x = torch.randn(1, 5, 230, generator=torch.Generator().manual_seed(4))
    inside = torch.relu(layer.narrow(torch.relu(layer.norm(x))))
    wanted = layer.local(inside)
    for start, end in ((0, 100), (100, 200), (200, 230)):
        context = inside.mean(2) + inside[..., start:end].mean(2)
        wanted[..., start:end] *= torch.sigmoid(layer.mask(context[..., None]))
    torch.testing.assert_close(layer(x, *pooling_matrices(230, x)), wanted)


@settings(max_examples=20)
@given(factor=st.floats(0.01, 3))
def test_how_loud_a_voice_is_does_not_matter(factor):
    waves, banks = voices(2), FilterBanks()
    torch.testing.assert_close(banks(waves * factor), banks(waves), rtol=1e-3, atol=1e-3)


@settings(max_examples=20)
@given(samples=st.integers(560, 6400), constant=st.floats(-0.2, 0.2))
def test_filter_banks_are_those_of_kaldi(samples, constant):
    wave = voices(1)[:, :samples]
    level = 10 ** (-26 / 20) / (wave - wave.mean()).square().mean().sqrt()
    wanted = fbank((wave - wave.mean()) * level, num_mel_bins=80, dither=0.0)
    found = FilterBanks()(wave + constant)[0].T
    difference = (found - (wanted - wanted.mean(0))).abs()
    # The lowest bands see whether the mean was taken from the row or from each window.
    assert difference[:, 4:].max() < 0.05
    assert difference.mean() < 0.02


def test_filter_banks_follow_the_pitch():
    at = torch.arange(16_000) / 16_000
    low, high = (torch.sin(2 * torch.pi * hertz * at)[None] for hertz in (200, 4000))
    half = torch.cat([low[:, :8000], high[:, 8000:]], 1)
    early, late = (part.mean(2)[0] for part in FilterBanks()(half).chunk(2, 2))
    assert (early - late).argmax() < 10 < 40 < (late - early).argmax()


def test_a_correction_begins_as_nought_and_inputs_are_standardised():
    layer = CorrectedLinear(4, 2, hidden=5)
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(3)) * 3 + 7
    torch.testing.assert_close(layer(x), layer.linear(x))
    layer.standardise(x)
    wanted = layer.linear((x - x.mean(0)) / x.std(0).mean())
    torch.testing.assert_close(layer(x), wanted)
    layer.correction[2].bias.data.fill_(1.0)
    torch.testing.assert_close(layer(x), wanted + 1)


def test_everything_that_learns_gets_a_gradient(model):
    fresh = ADSM(dataclasses.replace(SETTINGS))
    for net in (fresh.face_net, fresh.voice_net):
        net[1].correction[2].weight.data.normal_()
    loss = fresh.embed_face(faces(2))[:, 0].sum() + fresh.embed_voice(voices(2))[:, 0].sum()
    loss.backward()
    for name, parameter in fresh.named_parameters():
        if name.startswith(("face_net", "voice_net")):
            assert parameter.grad is not None, name
