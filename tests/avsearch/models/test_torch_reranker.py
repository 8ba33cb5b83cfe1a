from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from avsearch.models import load_model, load_reranker
from avsearch.models.checkpoint import Checkpoint, save_checkpoint
from avsearch.models.papers.acienet import ACIENet
from avsearch.models.papers.aicanet import AICANet
from avsearch.models.torch_reranker import MapCache, TorchReranker
from indexer.errors import BadRequest, RefusedFile
from indexer.types import Media, Space
from tests.helpers.tiny import NOWHERE, face, face_noise, tiny_adsm, voice
from tests.helpers.tiny_pairs import MEDIA, lived_pairs

SPACE = Space("acienet", "0" * 64, 16, "cosine")
CLOSE = {"atol": 1e-4, "rtol": 1e-5}  # of scores of about ten
OF_MEDIA = {"face_features": (), "voice_features": (), **MEDIA}


def reranker_of(kind, **options) -> TorchReranker:
    checkpoint = Checkpoint(lived_pairs(kind, **OF_MEDIA), SPACE, {"a": 1})
    return TorchReranker(checkpoint, torch.device("cpu"), **options)


@pytest.fixture(scope="module", params=[ACIENet, AICANet])
def reranker(request) -> TorchReranker:
    return reranker_of(request.param)


@pytest.fixture(scope="module")
def faces() -> list[Media]:
    """More than one pass takes."""
    rng = np.random.default_rng(0)
    return [face(rng, side) for side in [32, 16, 45, 100] * 9]


@pytest.fixture(scope="module")
def query() -> Media:
    return voice(np.random.default_rng(1), 20_000)  # more than one window


@pytest.fixture
def files(tmp_path: Path) -> list[Media]:
    rng = np.random.default_rng(2)
    found = []
    for at in range(5):
        path = tmp_path / f"{at}.png"
        Image.fromarray(face_noise(rng)).save(path)
        found.append(Media(path, "face"))
    return found


@settings(max_examples=3)
@given(chosen=st.lists(st.integers(0, 35), max_size=40))
def test_scores_depend_neither_on_order_nor_on_number(reranker, faces, query, chosen):
    every = reranker.score(query, faces)
    found = reranker.score(query, [faces[at] for at in chosen])
    assert found.dtype == np.float32
    assert found.shape == (len(chosen),)
    np.testing.assert_allclose(found, every[chosen], **CLOSE)
    apart = np.abs(every[:, None] - every) + np.eye(36)
    assert np.median(apart) > 1e-2  # what is held to 1e-4 above


def test_each_pair_is_scored_by_the_network(reranker, faces, query):
    network = reranker.embedder.network
    with torch.inference_mode():
        pixels = torch.from_numpy(faces[0].data).movedim(2, 0)[None]
        face_map = network.feature_map_face(pixels)
        windows = torch.from_numpy(
            np.stack([query.data[:8000], query.data[6000:14000], query.data[12000:]])
        )
        voice_map = network.feature_map_voice(windows).mean(0, keepdim=True)
        wanted = network.interact(voice_map, face_map, "voice")
    np.testing.assert_allclose(reranker.score(query, faces[:1]), wanted.numpy(), **CLOSE)


def test_faces_ask_too(reranker, faces, query):
    by_face = reranker.score(faces[0], [query])
    np.testing.assert_allclose(by_face, reranker.score(query, faces[:1]), **CLOSE)


def test_the_map_of_a_file_is_computed_once_until_the_file_changes(files, query, monkeypatch):
    reranker = reranker_of(ACIENet)
    asked: list[int] = []
    run = reranker.embedder.rows

    def counting(function, media):
        asked.append(sum(item.modality == "face" for item in media))
        return run(function, media)

    monkeypatch.setattr(reranker.embedder, "rows", counting)
    first = reranker.score(query, files)
    np.testing.assert_allclose(reranker.score(query, files[::-1]), first[::-1], **CLOSE)
    assert asked == [5, 0]
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(files[1].path)
    os.utime(files[1].path, ns=(1, 1))
    again = reranker.score(query, files)
    assert asked == [5, 0, 1]
    assert (np.abs(again - first) > 1e-3).tolist() == [False, True, False, False, False]


def test_the_memory_for_maps_is_bounded(files, query):
    size = 32 * 3 * 3 * 4
    small, large = reranker_of(ACIENet, memory=2 * size), reranker_of(ACIENet)
    np.testing.assert_allclose(small.score(query, files), large.score(query, files), **CLOSE)
    np.testing.assert_allclose(small.score(query, files), large.score(query, files), **CLOSE)
    assert (len(small.maps), len(large.maps)) == (2, 5)
    assert small.maps.used == 2 * size


def test_the_longest_unused_maps_go_first():
    kept = MapCache(8)
    a, b, c = (np.full(1, value, np.float32) for value in (1, 2, 3))
    kept.put("a", a)
    kept.put("b", b)
    assert kept.get("a") is a
    kept.put("c", c)
    assert kept.get("b") is None
    assert kept.get("a") is a
    assert kept.get("c") is c
    kept.put(None, b)
    assert kept.get(None) is None


def test_a_map_larger_than_the_memory_is_not_kept():
    kept = MapCache(2)
    kept.put("a", np.zeros(1, np.float32))
    assert (len(kept), kept.used) == (0, 0)


def test_what_cannot_be_read_has_no_score_and_changes_no_other(reranker, faces, query):
    absent = Media(NOWHERE / "a.png", "face")
    found = reranker.score(query, [absent, faces[0], absent, faces[1]])
    assert np.isnan(found).tolist() == [True, False, True, False]
    np.testing.assert_allclose(found[[1, 3]], reranker.score(query, faces[:2]), **CLOSE)
    assert np.isnan(reranker.score(query, [absent])).all()


def test_a_query_that_cannot_be_read_is_refused(reranker, faces):
    with pytest.raises(RefusedFile, match=r"nowhere/a\.wav"):
        reranker.score(Media(NOWHERE / "a.wav", "voice"), faces[:2])


def test_candidates_are_of_the_other_modality(reranker, faces, query):
    with pytest.raises(BadRequest, match="want the other modality"):
        reranker.score(query, [faces[0], query])


# From files.


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.safetensors"
    save_checkpoint(path, "aicanet", lived_pairs(AICANet, **OF_MEDIA), {"epochs": 3}, half=False)
    return path


def test_one_checkpoint_embeds_and_reranks(saved, faces, query):
    reranker = load_reranker(saved, "cpu")
    assert (reranker.name, reranker.record) == ("aicanet", {"epochs": 3})
    np.testing.assert_allclose(
        reranker.score(query, faces[:3]), reranker_of(AICANet).score(query, faces[:3]), **CLOSE
    )
    embedded = load_model(saved, "cpu").embed([*faces[:2], query])
    assert embedded.vectors.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(embedded.vectors, axis=1), 1, atol=1e-5)


def test_an_embedder_does_not_rerank(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, "adsm", tiny_adsm(), {})
    with pytest.raises(BadRequest, match="'adsm', which embeds and does not re-rank; name a check"):
        load_reranker(path, "cpu")


def test_a_reranker_that_is_not_there(tmp_path):
    with pytest.raises(BadRequest, match="There is no re-ranker 'nothing'"):
        load_reranker("nothing")
    with pytest.raises(BadRequest, match="There is no checkpoint"):
        load_reranker(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("load", [load_model, load_reranker])
def test_a_model_of_frozen_features_cannot_read_media(load, tmp_path):
    path = tmp_path / "frozen.safetensors"
    save_checkpoint(path, "acienet", lived_pairs(ACIENet), {})
    with pytest.raises(BadRequest, match="features that another encoder computed"):
        load(path, "cpu")
