"""The recipe of the default checkpoint: what it adds to trainings in phases."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from avsearch.models.layers.batch import Batch
from avsearch.models.papers.adsm import ADSM
from trainer.recipes import default_model as recipe
from trainer.recipes.in_memory import Side, TrainingSet, batch_side
from trainer.recipes.phases import embed_voices


@pytest.fixture(scope="module")
def model() -> ADSM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ADSM(recipe.SETTINGS).eval()


def data(seed: int = 0) -> TrainingSet:
    """Four people with two faces, four others with two voices, of which one is long."""
    rng = np.random.default_rng(seed)
    faces = [rng.integers(0, 256, (160, 160, 3), dtype=np.uint8) for _ in range(8)]
    lengths = [9000, 70_000] * 4
    voices = [rng.integers(-9000, 9000, n).astype(np.int16) for n in lengths]
    taught = rng.normal(size=(8, 5)).astype(np.float32)
    people, labels = np.arange(8) // 2, np.arange(8) // 2 % 2
    return TrainingSet(
        Side(faces, people, labels, taught), Side(voices, 4 + people, labels, taught[::-1].copy())
    )


def test_everybody_is_on_one_side_and_those_left_out_are_tested():
    people = {f"ravdess/Actor_{number:02d}" for number in range(1, 17)}
    people |= {"nemo/MK0", "nemo/IC0", "lfw/Ann", "lfw/Bob"}
    sides = recipe.split(people)
    assert sorted(person for side in sides.values() for person in side) == sorted(people)
    assert set(recipe.LEFT_OUT) & people <= set(sides["test"])
    assert set(recipe.VALIDATING) & people <= set(sides["validation"])


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


def test_faces_are_made_anew_and_voices_are_copies():
    own = data()
    copies = np.arange(3 * 8 * 2, dtype=np.float32).reshape(3, 8, 2)
    batches = recipe.FacesAnew(recipe.Features(own, copies, copies))
    batch = batches.make(20, 0)
    assert batch.faces.inputs.shape == (recipe.FACE_PEOPLE * recipe.EACH, 3, 20, 20)
    assert batch.faces.inputs.dtype == torch.uint8
    assert set(batch.faces.people.tolist()) == {0, 1, 2, 3}
    assert set(batch.voices.inputs[:, 0].tolist()) <= set(copies[..., 0].ravel().tolist())


def test_features_are_of_the_items_that_are_drawn():
    own = data()
    copies = np.arange(3 * 8 * 2, dtype=np.float32).reshape(3, 8, 2)
    batches = recipe.Features(own, copies, copies + 1000)
    seen = set()
    for _ in range(10):
        batch = batches.make(0, 0)
        for side, given, base in ((batch.faces, own.faces, 0), (batch.voices, own.voices, 1000)):
            at = ((side.inputs[:, 0] - base).long() // 2) % 8
            assert side.people.tolist() == given.people[at].tolist()
            assert side.labels.tolist() == given.labels[at].tolist()
            assert np.array_equal(side.teacher_embeddings.numpy(), given.taught[at])
            seen |= set(((side.inputs[:, 0] - base).long() // 16).tolist())
    assert seen == {0, 1, 2}


def test_lessons_weigh_who_is_who_and_whom_the_teacher_likens():
    own = data()
    batch = Batch(
        batch_side(own.faces, np.zeros((8, 1), np.float32)),
        batch_side(own.voices, np.zeros((8, 1), np.float32)),
    )
    lessons = recipe.Lessons(8, 6)
    encoded = tuple(torch.nn.functional.normalize(torch.randn(8, 6)) for _ in range(2))
    terms = lessons(encoded, batch)
    assert set(terms) == {f"{m}_{w}" for m in ("face", "voice") for w in ("identity", "likeness")}
    wanted = recipe.IDENTITY["voice"] * lessons.who["voice"](encoded[1], batch.voices.people)
    torch.testing.assert_close(terms["voice_identity"], wanted)


def test_layers_begin_as_the_teacher_and_as_principal_components(model):
    rng = np.random.default_rng(0)
    copies = [rng.normal(size=(1, 300, n)).astype(np.float32) for n in (256, 1216)]
    copies[1][..., 7] *= 50  # by far the most of what there is
    seen = recipe.Features(data(), *copies)
    teacher = torch.nn.Linear(256, 128, bias=False)
    fresh = ADSM(dataclasses.replace(recipe.SETTINGS))
    recipe.begin_behind_trunks(fresh, teacher, seen)
    assert torch.equal(fresh.face_net[1].linear.weight, teacher.weight)
    first = fresh.voice_net[1].linear.weight[0].detach().abs()
    assert first.argmax() == 7
    assert first[7].item() == pytest.approx(1, abs=1e-3)


def test_a_voice_is_the_unit_mean_of_its_windows():
    lengths = [3, 8, 20]
    voices = Side(
        [np.full(n, 100 + n, np.int16) for n in lengths], np.arange(3), np.zeros(3, np.int64)
    )

    def embed(windows: torch.Tensor) -> torch.Tensor:
        return torch.stack([windows[:, 0], torch.ones(len(windows))], 1)

    found = embed_voices(embed, voices, 4 / 16_000)
    for row, n in zip(found, lengths, strict=True):
        wanted = np.array([(100 + n) / 32768, 1.0])
        np.testing.assert_allclose(row, wanted / np.linalg.norm(wanted), rtol=1e-6)
