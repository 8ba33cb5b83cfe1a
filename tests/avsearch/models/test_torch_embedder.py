from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsearch.models.checkpoint import Checkpoint
from avsearch.models.inputs import voice_windows
from avsearch.models.torch_embedder import TorchEmbedder
from indexer.types import MODALITIES, Media, Space
from tests.helpers.tiny import NOWHERE, SAMPLES, face, lived_adsm, tiny_adsm, voice

SPACE = Space("adsm", "0" * 64, 16, "cosine")
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def embedder() -> TorchEmbedder:
    return TorchEmbedder(Checkpoint(lived_adsm(), SPACE, {"a": 1}), torch.device("cpu"))


@pytest.fixture(scope="module")
def media() -> list[Media]:
    """Forty faces and forty voices, more than one forward pass takes, of sizes that vary."""
    rng = np.random.default_rng(0)
    faces = [face(rng, side) for side in [32, 16, 45, 100] * 10]
    voices = [voice(rng, samples) for samples in [8000, 3000, 20_000, 8001] * 10]
    return [item for pair in zip(faces, voices, strict=True) for item in pair]


@pytest.fixture(scope="module")
def alone(embedder: TorchEmbedder, media: list[Media]) -> np.ndarray:
    """(80, 16), each embedded by itself."""
    return np.concatenate([embedder.embed([item]).vectors for item in media])


def test_vectors_are_unit_vectors_in_the_order_asked(embedder, media, alone):
    found = embedder.embed(media)
    assert found.vectors.shape == (80, 16)
    assert found.vectors.dtype == np.float32
    assert found.refusals == {}
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found.vectors, alone, **CLOSE)


def test_vectors_of_different_media_differ(alone):
    apart = np.linalg.norm(alone[:, None] - alone[None], axis=2) + 9 * np.eye(80)
    assert apart.min() > 1e-3  # what is held to 1e-5 elsewhere


@settings(max_examples=15)
@given(chosen=st.lists(st.integers(0, 79), max_size=50))
def test_neighbours_order_and_number_change_no_vector(embedder, media, alone, chosen):
    found = embedder.embed([media[i] for i in chosen])
    assert found.vectors.shape == (len(chosen), 16)
    np.testing.assert_allclose(found.vectors, alone[chosen], **CLOSE)


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_extreme_neighbour_changes_no_vector(embedder, modality):
    rng = np.random.default_rng(1)
    if modality == "voice":
        item, loud = voice(rng, level=1e-3), voice(rng, level=1.0)
        silent = Media(NOWHERE, "voice", data=np.zeros(SAMPLES, np.float32))
        others = [loud, silent, voice(rng, level=1e4)]
    else:
        item = face(rng)
        others = [Media(NOWHERE, "face", data=np.full((32, 32, 3), v, np.uint8)) for v in (0, 255)]
    wanted = embedder.embed([item]).vectors[0]
    found = embedder.embed([*others, item, *others])
    np.testing.assert_allclose(found.vectors[len(others)], wanted, **CLOSE)
    assert np.isfinite(found.vectors).all()


@pytest.mark.parametrize("at", [0, 1, 5, 6])
def test_refused_media_leave_the_others_as_they_are(embedder, media, alone, at):
    refused = [Media(NOWHERE / "a.png", "face"), Media(NOWHERE / "a.wav", "voice")]
    found = embedder.embed([*media[:at], *refused, *media[at:6]])
    assert found.refusals.keys() == {at, at + 1}
    assert all(str(NOWHERE) not in reason and reason for reason in found.refusals.values())
    assert np.isnan(found.vectors[at : at + 2]).all()
    np.testing.assert_allclose(np.delete(found.vectors, [at, at + 1], axis=0), alone[:6], **CLOSE)


def test_nothing_but_refused_media(embedder):
    found = embedder.embed([Media(NOWHERE / "a.png", "face")])
    assert np.isnan(found.vectors).all()
    assert found.vectors.shape == (1, 16)
    assert found.refusals.keys() == {0}


def test_no_media(embedder):
    found = embedder.embed([])
    assert found.vectors.shape == (0, 16)
    assert found.refusals == {}


@pytest.mark.parametrize("samples", [SAMPLES + 1, 2 * SAMPLES, 5 * SAMPLES - 7, 70 * SAMPLES])
def test_a_long_voice_is_the_unit_mean_of_windows_that_cover_it(embedder, samples):
    item = voice(np.random.default_rng(samples), samples)
    windows = voice_windows(item.data, 0.5)
    parts = embedder.embed([Media(NOWHERE, "voice", data=window) for window in windows]).vectors
    total = np.zeros(16)
    for part in parts:
        total += part
    found = embedder.embed([item, item]).vectors
    np.testing.assert_allclose(found[0], total / np.sqrt((total**2).sum()), **CLOSE)
    np.testing.assert_allclose(found[1], found[0], **CLOSE)


def test_a_short_voice_is_repeated(embedder):
    item = voice(np.random.default_rng(3), SAMPLES // 4)
    fourfold = Media(NOWHERE, "voice", data=np.tile(item.data, 4))
    one, other = embedder.embed([item, fourfold]).vectors
    np.testing.assert_allclose(one, other, **CLOSE)


def test_how_loud_a_voice_was_recorded_does_not_matter(embedder):
    item = voice(np.random.default_rng(4))
    quiet = Media(NOWHERE, "voice", data=item.data * np.float32(0.01))
    one, other = embedder.embed([item, quiet]).vectors
    assert one @ other > 0.999


def test_nothing_is_random_and_no_generator_is_touched(embedder, media, alone):
    before = torch.random.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global one is meant
    first, second = (embedder.embed(media[:10]).vectors for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_media_are_not_changed(embedder):
    rng = np.random.default_rng(6)
    items = [face(rng), voice(rng), voice(rng, 3 * SAMPLES)]
    copies = [item.data.copy() for item in items]
    for item in items:
        item.data.flags.writeable = False  # nor need it be writable
    embedder.embed(items)
    for item, copy in zip(items, copies, strict=True):
        np.testing.assert_array_equal(item.data, copy)


def test_space_and_record_are_those_of_the_checkpoint(embedder):
    assert embedder.space is SPACE
    assert embedder.record == {"a": 1}


def test_two_embedders_of_one_checkpoint_agree(media):
    checkpoint = Checkpoint(lived_adsm(), SPACE, {})
    first, second = (TorchEmbedder(checkpoint, torch.device("cpu")) for _ in range(2))
    np.testing.assert_array_equal(first.embed(media[:4]).vectors, second.embed(media[:4]).vectors)


def test_a_fresh_network_embeds_too(media):
    embedder = TorchEmbedder(Checkpoint(tiny_adsm().eval(), SPACE, {}), torch.device("cpu"))
    assert np.isfinite(embedder.embed(media[:4]).vectors).all()
