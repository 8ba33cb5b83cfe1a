"""The recipe of the default checkpoint: what it adds to trainings in phases."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint
from avsearch.models.layers.batch import Batch
from avsearch.models.papers.adsm import ADSM
from indexer.types import MODALITIES
from trainer.data.dataset import DataSet, Side
from trainer.data.sources import FaceSource, FeatureSource, VoiceSource, decoded
from trainer.recipes import default_model as recipe
from trainer.recipes import voice_phase
from trainer.recipes.galleries import Example
from trainer.recipes.phases import embed_voices


@pytest.fixture(scope="module")
def model() -> ADSM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ADSM(recipe.SETTINGS).eval()


def data(seed: int = 0, longest: int = 70_000) -> DataSet:
    """Four people with two faces, four others with two voices, of which one is long."""
    rng = np.random.default_rng(seed)
    faces = [rng.integers(0, 256, (160, 160, 3), dtype=np.uint8) for _ in range(8)]
    lengths = [9000, longest] * 4
    voices = [rng.integers(-9000, 9000, n).astype(np.int16) for n in lengths]
    teacher = rng.normal(size=(8, 5)).astype(np.float32)
    people, labels, paths = np.arange(8) // 2, np.arange(8) // 2 % 2, [f"f{at}" for at in range(8)]
    sides = (
        Side.of_source(FaceSource(faces, paths, 32), people, labels),
        Side.of_source(VoiceSource(voices, paths, 0.25), 4 + people, labels),
    )
    return DataSet(
        dataclasses.replace(sides[0], teacher_embeddings=teacher),
        dataclasses.replace(sides[1], teacher_embeddings=teacher[::-1].copy()),
        tuple("abcdefgh"),
        "gender",
    )


def test_everybody_is_on_one_side_and_those_left_out_are_tested():
    people = {f"ravdess/Actor_{number:02d}" for number in range(1, 17)}
    people |= {"nemo/MK0", "nemo/IC0", "lfw/Ann", "lfw/Bob"}
    splits = recipe.split(people)
    assert sorted(person for split in splits.values() for person in split) == sorted(people)
    assert set(recipe.LEFT_OUT) & people <= set(splits["test"])
    assert set(recipe.VALIDATING) & people <= set(splits["validation"])


def test_what_stands_behind_the_trunks_is_shared(model):
    behind = recipe.without_trunks(model)
    whole = {id(parameter) for parameter in model.parameters()}
    learning = {id(parameter) for parameter in behind.generator_parameters()}
    assert learning <= whole
    assert not learning & {id(parameter) for parameter in model.face_net[0].parameters()}
    with torch.inference_mode():
        for one, net, values in (
            (behind.embed_face, model.face_net, 256),
            (behind.embed_voice, model.voice_net, 1216),
        ):
            seen = torch.rand(2, values)
            torch.testing.assert_close(one(seen), torch.nn.functional.normalize(net[1](seen)))


def test_faces_go_on_with_the_trunk_and_voices_without_it(model):
    own = recipe.without_voice_trunk(model)
    learning = {id(parameter) for parameter in own.generator_parameters()}
    assert learning <= {id(parameter) for parameter in model.parameters()}
    assert {id(parameter) for parameter in model.face_net.parameters()} <= learning
    assert not learning & {id(parameter) for parameter in model.voice_net[0].parameters()}


def test_whole_batches_have_augmented_faces_and_copies_of_voices():
    own = data()
    copies = np.arange(3 * 8 * 2, dtype=np.float32).reshape(3, 8, 2)
    features = recipe.with_features(own, copies, copies)
    whole = recipe.with_face_pixels(features, own)
    batch = recipe.batches(whole, recipe.FACE_PEOPLE).make()
    size = recipe.WHOLE.face_size
    assert batch.faces.inputs.shape == (recipe.FACE_PEOPLE * recipe.EACH, 3, size, size)
    assert batch.faces.inputs.dtype == torch.uint8
    assert set(batch.faces.people.tolist()) == {0, 1, 2, 3}
    assert set(batch.voices.inputs[:, 0].tolist()) <= set(copies[..., 0].ravel().tolist())
    assert batch.faces.teacher_embeddings.shape == (len(batch.faces), 5)


def test_features_belong_to_the_items_that_are_drawn():
    own = data()
    copies = np.arange(3 * 8 * 2, dtype=np.float32).reshape(3, 8, 2)
    batches = recipe.batches(recipe.with_features(own, copies, copies + 1000), 48)
    seen = set()
    for _ in range(10):
        batch = batches.make()
        for side, given, base in ((batch.faces, own.faces, 0), (batch.voices, own.voices, 1000)):
            assert len(side) == recipe.FEATURE_PEOPLE * recipe.EACH
            at = ((side.inputs[:, 0] - base).long() // 2) % 8
            assert side.people.tolist() == given.people[at].tolist()
            assert side.labels.tolist() == given.labels[at].tolist()
            assert np.array_equal(side.teacher_embeddings.numpy(), given.teacher_embeddings[at])
            seen |= set(((side.inputs[:, 0] - base).long() // 16).tolist())
    assert seen == {0, 1, 2}


def test_auxiliary_losses_weigh_identity_and_distillation():
    own = recipe.with_features(data(), *(np.zeros((1, 8, 1), np.float32) for _ in range(2)))
    batch = Batch(own.faces.batch(np.arange(8)), own.voices.batch(np.arange(8)))
    losses = recipe.AuxiliaryLosses(8, 6)
    encoded = tuple(torch.nn.functional.normalize(torch.randn(8, 6)) for _ in range(2))
    terms = losses(encoded, batch)
    assert set(terms) == {f"{m}_{w}" for m in ("face", "voice") for w in ("identity", "likeness")}
    identity = losses.classifiers["voice"](encoded[1], batch.voices.people)
    torch.testing.assert_close(terms["voice_identity"], recipe.IDENTITY["voice"] * identity)


def test_the_phases_run_one_after_the_other(model, monkeypatch, tmp_path):
    """All phases of the recipe on a handful of items, two steps each, with random trunks."""
    own, head = data(longest=9000), torch.nn.Linear(256, 128, bias=False)
    examples = [
        Example(own.names[who], "fm"[label], modality, Path(f"{modality}{at}"), item)
        for modality in MODALITIES
        for at, (who, label, item) in enumerate(
            zip(
                own.side(modality).people,
                own.side(modality).labels,
                decoded(own.side(modality)),
                strict=True,
            )
        )
        if at < 4
    ]
    small = {"face_size": 160, "face_down": 10, "voice_seconds": 0.5, "dim": 8}
    monkeypatch.setattr(recipe, "SETTINGS", dataclasses.replace(recipe.SETTINGS, **small))
    for name in ("HEADS", "WHOLE"):
        short = dataclasses.replace(getattr(recipe, name), steps=2, warmup=0, face_size=160)
        monkeypatch.setattr(recipe, name, dataclasses.replace(short, voice_seconds=0.5))
    monkeypatch.setattr(recipe, "VOICE_COPIES", 2)
    for name, value in (("FACE_COPIES", 1), ("EVERY_HEADS", 2), ("EVERY_WHOLE", 2)):
        monkeypatch.setattr(recipe, name, value)
    monkeypatch.setattr(recipe, "FEATURE_PEOPLE", 4)
    monkeypatch.setattr(recipe, "FACE_PEOPLE", 2)
    last = dataclasses.replace(voice_phase.VOICES, steps=1, warmup=0, voice_seconds=0.5)
    monkeypatch.setattr(voice_phase, "VOICES", last)
    monkeypatch.setattr(voice_phase, "PEOPLE", 2)
    monkeypatch.setattr(voice_phase, "TENTHS", (9,))
    monkeypatch.setattr(recipe, "pretrained_model", lambda: (ADSM(recipe.SETTINGS).eval(), head))
    people = list(own.names)
    splits = {"train": people, "validation": people, "test": []}
    recipe.fit(examples, splits, tmp_path / "model.safetensors")
    found = load_checkpoint(tmp_path / "model.safetensors", MODELS)
    assert found.record["people"] == splits
    assert all(value.isfinite().all() for value in found.network.state_dict().values())


def test_layers_begin_as_the_teacher_and_as_principal_components(model):
    rng = np.random.default_rng(0)
    copies = [rng.normal(size=(1, 300, n)).astype(np.float32) for n in (256, 1216)]
    copies[1][..., 7] *= 50  # most of the variance
    many, paths = np.zeros(300, np.int64), ["none"] * 300
    side = Side.of_source(FeatureSource(np.zeros((300, 1)), paths), many, many)
    wide = DataSet(side, side, ())
    features = recipe.with_features(wide, *copies)
    teacher = torch.nn.Linear(256, 128, bias=False)
    fresh = ADSM(dataclasses.replace(recipe.SETTINGS))
    recipe.init_heads(fresh, teacher, features)
    assert torch.equal(fresh.face_net[1].linear.weight, teacher.weight)
    first = fresh.voice_net[1].linear.weight[0].detach().abs()
    assert first.argmax() == 7
    assert first[7].item() == pytest.approx(1, abs=1e-3)


def test_a_voice_is_the_unit_mean_of_its_windows():
    lengths = [3, 8, 20]
    items = [np.full(n, 100 + n, np.int16) for n in lengths]
    source = VoiceSource(items, ["a", "b", "c"], 4 / 16_000)
    voices = Side.of_source(source, np.arange(3), np.zeros(3, np.int64))

    def embed(windows: torch.Tensor) -> torch.Tensor:
        return torch.stack([windows[:, 0], torch.ones(len(windows))], 1)

    found = embed_voices(embed, voices, 4 / 16_000)
    for row, n in zip(found, lengths, strict=True):
        wanted = np.array([(100 + n) / 32768, 1.0])
        np.testing.assert_allclose(row, wanted / np.linalg.norm(wanted), rtol=1e-6)
