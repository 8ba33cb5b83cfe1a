"""The last phase of the default recipe: voices alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from avsearch.models.layers.batch import Batch
from avsearch.models.papers.adsm import ADSM
from trainer.recipes import voice_phase as phase
from trainer.recipes.default_model import SETTINGS
from trainer.recipes.in_memory import Side, batch_side


@pytest.fixture
def model() -> ADSM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ADSM(dataclasses.replace(SETTINGS, voice_seconds=0.6)).eval()


def spoken() -> Side[np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = [9000, 24_000] * 4
    items = [rng.integers(-9000, 9000, n).astype(np.int16) for n in lengths]
    return Side(items, np.arange(8) // 2, np.arange(8) // 2 % 2)


def batch_of(voices: Side[np.ndarray]) -> Batch:
    """Of voices whose samples do not matter, and nobody's face."""
    nobody = Side([], np.zeros(1, int), np.zeros(1, int))
    return Batch(
        batch_side(nobody, np.ones((1, 128), np.float32)),
        batch_side(voices, np.zeros((len(voices.people), 1), np.float32)),
    )


def test_only_the_voice_branch_learns_and_its_norms_stay(model):
    alone = phase.voices_alone(model).train()
    learning = {id(parameter) for parameter in alone.generator_parameters()}
    assert {id(parameter) for parameter in model.voice_net.parameters()} <= learning
    assert not learning & {id(parameter) for parameter in model.face_net.parameters()}
    norms = [each for each in alone.modules() if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    before = {key: value.clone() for key, value in model.named_buffers()}
    waves = torch.randn(3, 9600, generator=torch.Generator().manual_seed(1)) * 0.1
    together = alone.embed_voice(waves)
    torch.testing.assert_close(together, model.embed_voice(waves))
    for key, value in model.named_buffers():
        assert torch.equal(value, before[key]), key


def test_a_voice_is_kept_where_its_whole_recording_lies(model):
    there = phase.where_they_lie(model, spoken())
    assert there.taught.shape == (8, 128)
    np.testing.assert_allclose(np.linalg.norm(there.taught, axis=1), 1, atol=1e-5)
    batch = batch_of(there)
    kept = torch.from_numpy(there.taught)
    keeping = phase.Keeping(there)
    assert keeping((kept, kept), batch)["kept"].item() == pytest.approx(0, abs=1e-6)
    assert keeping((kept, -kept), batch)["kept"].item() == pytest.approx(2, abs=1e-6)


def test_a_voice_is_told_from_other_people_by_where_their_recordings_lie():
    axes = np.eye(3, 128, dtype=np.float32)
    people = np.array([0, 0, 1, 2])
    there = Side([np.zeros(1, np.int16)] * 4, people, np.zeros(4, int), axes[people])
    heard = np.array([0.8, 0.6, 0, *[0] * 125], np.float32)
    batch = batch_of(there.take(np.array([0])))
    vectors = torch.from_numpy(heard[None])
    told = phase.Keeping(there)((vectors, vectors), batch)["told"].item()
    odds = np.exp(phase.SHARPNESS * np.array([0.8, 0.6, 0.0]))
    assert told == pytest.approx(-phase.TOLD * np.log(odds[0] / odds.sum()), rel=1e-4)


def test_voices_at_other_speeds_are_of_other_people():
    voices = spoken()
    sped = phase.at_speeds(dataclasses.replace(voices, people=10 * voices.people))
    kinds = 1 + len(phase.TENTHS)
    assert len(sped.items) == 8 * kinds
    assert all(np.array_equal(one, own) for one, own in zip(sped.items, voices.items, strict=False))
    np.testing.assert_array_equal(np.unique(sped.people), np.arange(4 * kinds))
    np.testing.assert_array_equal(sped.labels, np.tile(voices.labels, kinds))
    for at, tenths in enumerate(phase.TENTHS, 1):
        own = slice(8 * at, 8 * at + 8)
        np.testing.assert_array_equal(sped.people[own], voices.people + 4 * at)
        for one, item in zip(sped.items[own], voices.items, strict=True):
            assert len(one) == pytest.approx(10 * len(item) / tenths, abs=1)


def test_a_tone_is_higher_where_it_is_played_faster():
    seconds = np.arange(16_000) / 16_000
    tone = (8000 * np.sin(2 * np.pi * 400 * seconds)).astype(np.int16)
    sped = phase.at_speeds(Side([tone], np.zeros(1, int), np.zeros(1, int)))
    for one, tenths in zip(sped.items[1:], phase.TENTHS, strict=True):
        assert one.dtype == np.int16
        loudest = np.abs(np.fft.rfft(one)).argmax() * 16_000 / len(one)
        assert loudest == pytest.approx(40 * tenths, abs=2)


def test_some_voices_are_heard_as_they_are():
    voices = spoken()
    whole = voices.items[1].astype(np.float32) / 32768
    rng = np.random.default_rng(2)
    good = 0
    for _ in range(100):
        heard = phase.recorded(voices.items[1], 0.1, rng, voices.items)
        windows = np.lib.stride_tricks.sliding_window_view(whole, len(heard))
        good += bool((windows[:, :4] == heard[:4]).all(1).any())
    untouched = phase.GOOD + (1 - phase.GOOD) * 0.2 * 0.3 * 0.3
    assert good == pytest.approx(100 * untouched, abs=15)


def test_batches_are_of_stretches_of_several_people(model):
    there = phase.where_they_lie(model, spoken())
    batch = phase.Recordings(there, 128, seed=0).make(0, 0.25)
    assert batch.voices.inputs.shape == (phase.PEOPLE * phase.EACH, 4000)
    for person, taught in zip(batch.voices.people, batch.voices.teacher_embeddings, strict=True):
        own = torch.from_numpy(there.taught[there.people == int(person)])
        assert (own == taught).all(1).any()
