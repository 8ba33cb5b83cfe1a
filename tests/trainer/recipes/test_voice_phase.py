"""The last phase of the default recipe: voices alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from avsearch.models.layers.batch import Batch
from avsearch.models.papers.adsm import ADSM
from trainer.data.dataset import Side
from trainer.data.sources import FeatureSource, VoiceSource, decoded
from trainer.recipes import voice_phase as phase
from trainer.recipes.default_model import SETTINGS


@pytest.fixture
def model() -> ADSM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ADSM(dataclasses.replace(SETTINGS, voice_seconds=0.6)).eval()


def voices_of(items: list[np.ndarray], people: np.ndarray, labels: np.ndarray) -> Side:
    return Side.of_source(VoiceSource(items, ["file"] * len(items), 0.25), people, labels)


def spoken() -> Side:
    rng = np.random.default_rng(0)
    lengths = [9000, 24_000] * 4
    items = [rng.integers(-9000, 9000, n).astype(np.int16) for n in lengths]
    return voices_of(items, np.arange(8) // 2, np.arange(8) // 2 % 2)


def batch_of(voices: Side) -> Batch:
    """Voices whose samples do not matter, and one constant face."""
    first = np.zeros(1, np.int64)
    face = FeatureSource(np.ones((1, 128), np.float32), ["none"])
    return Batch(
        Side.of_source(face, first, first).batch(first), voices.batch(np.arange(len(voices)))
    )


def test_only_the_voice_branch_learns_and_its_norms_stay(model):
    alone = phase.voices_only(model).train()
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


def test_a_segment_is_pulled_to_its_whole_recording(model):
    there = phase.with_recording_embeddings(model, spoken())
    assert there.teacher_embeddings.shape == (8, 128)
    np.testing.assert_allclose(np.linalg.norm(there.teacher_embeddings, axis=1), 1, atol=1e-5)
    batch = batch_of(there)
    targets = torch.from_numpy(there.teacher_embeddings)
    losses = phase.RecordingLosses(there)
    assert losses((targets, targets), batch)["recording"].item() == pytest.approx(0, abs=1e-6)
    assert losses((targets, -targets), batch)["recording"].item() == pytest.approx(2, abs=1e-6)


def test_a_segment_is_classified_by_the_recordings_of_people():
    axes = np.eye(3, 128, dtype=np.float32)
    people = np.array([0, 0, 1, 2])
    there = voices_of([np.zeros(1, np.int16)] * 4, people, np.zeros(4, int))
    there = dataclasses.replace(there, teacher_embeddings=axes[people])
    heard = np.array([0.8, 0.6, 0, *[0] * 125], np.float32)
    batch = batch_of(there.take(np.array([0])))
    vectors = torch.from_numpy(heard[None])
    loss = phase.RecordingLosses(there)((vectors, vectors), batch)["person"].item()
    odds = np.exp(phase.SCALE * np.array([0.8, 0.6, 0.0]))
    assert loss == pytest.approx(-phase.PERSON_WEIGHT * np.log(odds[0] / odds.sum()), rel=1e-4)


def test_voices_at_other_speeds_are_of_other_people():
    voices = spoken()
    sped = phase.at_speeds(dataclasses.replace(voices, people=10 * voices.people))
    kinds = 1 + len(phase.TENTHS)
    played, own_items = decoded(sped), decoded(voices)
    assert len(played) == 8 * kinds
    assert all(np.array_equal(one, own) for one, own in zip(played, own_items, strict=False))
    np.testing.assert_array_equal(np.unique(sped.people), np.arange(4 * kinds))
    np.testing.assert_array_equal(sped.labels, np.tile(voices.labels, kinds))
    for at, tenths in enumerate(phase.TENTHS, 1):
        own = slice(8 * at, 8 * at + 8)
        np.testing.assert_array_equal(sped.people[own], voices.people + 4 * at)
        for one, item in zip(played[own], own_items, strict=True):
            assert len(one) == pytest.approx(10 * len(item) / tenths, abs=1)


def test_a_tone_is_higher_where_it_is_played_faster():
    seconds = np.arange(16_000) / 16_000
    tone = (8000 * np.sin(2 * np.pi * 400 * seconds)).astype(np.int16)
    sped = phase.at_speeds(voices_of([tone], np.zeros(1, int), np.zeros(1, int)))
    for one, tenths in zip(decoded(sped)[1:], phase.TENTHS, strict=True):
        assert one.dtype == np.int16
        loudest = np.abs(np.fft.rfft(one)).argmax() * 16_000 / len(one)
        assert loudest == pytest.approx(40 * tenths, abs=2)


def test_some_voices_are_not_degraded():
    items = decoded(spoken())
    whole = items[1].astype(np.float32) / 32768
    rng = np.random.default_rng(2)
    good = 0
    for _ in range(100):
        heard = phase.degrade(items[1], 0.1, rng, items)
        windows = np.lib.stride_tricks.sliding_window_view(whole, len(heard))
        good += bool((windows[:, :4] == heard[:4]).all(1).any())
    untouched = phase.GOOD + (1 - phase.GOOD) * 0.2 * 0.3 * 0.3
    assert good == pytest.approx(100 * untouched, abs=15)


def test_batches_are_of_stretches_of_several_people(model):
    there = phase.with_recording_embeddings(model, spoken())
    batch = phase.batches_of(there, 128, 0.25, seed=0).make()
    assert batch.voices.inputs.shape == (phase.PEOPLE * phase.EACH, 4000)
    for person, target in zip(batch.voices.people, batch.voices.teacher_embeddings, strict=True):
        own = torch.from_numpy(there.teacher_embeddings[there.people == int(person)])
        assert (own == target).all(1).any()
