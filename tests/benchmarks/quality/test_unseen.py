from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from avsearch.models.papers.acienet import ACIENet
from benchmarks.quality.synthetic_bound import best_scores, crowd_of
from benchmarks.quality.unseen import Unseen, embedding_table, interaction_table
from tests.helpers.tiny_pairs import MEDIA, lived_pairs
from trainer.data.dataset import labelled_by_person
from trainer.data.load import read_data
from trainer.data.synthetic.dataset import SyntheticSet
from trainer.data.synthetic.world import World, WorldSettings
from trainer.training.validation import cross_modal_scores

WORLD = SyntheticSet(
    people=7, takes=2, seconds=0.5, world=WorldSettings(shared=0.5, picture_size=32)
)


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    sizes = SimpleNamespace(face_size=32, voice_seconds=0.5)
    data = read_data([WORLD.spec], sizes, tmp_path_factory.mktemp("cache"))
    return Unseen.of(labelled_by_person(data), WORLD)


def test_who_knows_the_traits_reaches_the_best_possible_figures(unseen):
    people = [World(WORLD.world, WORLD.seed).person(number) for number in range(7)]
    scores = best_scores(crowd_of(people), WORLD.world.shared)
    table = np.repeat(np.repeat(scores, 2, 0), 2, 1).astype(np.float32)
    found = {name: figure.value for name, figure in unseen.judge(table).items()}
    assert found["AUC"] == pytest.approx(unseen.best["AUC"])
    for way in ("V-F", "F-V"):
        assert found[f"1:2 {way}"] == pytest.approx(unseen.best["1:2"], abs=0.05)
    assert found["mAP V-F"] == pytest.approx(unseen.best["mAP"])


def test_the_figures_are_those_of_validation_in_both_directions(unseen):
    rng = np.random.default_rng(0)
    faces, voices = rng.standard_normal((2, 14, 5)).astype(np.float32)
    labels = np.arange(7).repeat(2)
    found = unseen.judge(voices @ faces.T)
    wanted = cross_modal_scores(faces, labels, voices, labels)
    assert found["AUC"].value == pytest.approx(wanted["auc"])
    assert found["mAP V-F"].value == pytest.approx(wanted["voice_to_face_map"])
    assert found["mAP F-V"].value == pytest.approx(wanted["face_to_voice_map"])
    assert wanted["voice_to_face_map"] != pytest.approx(wanted["face_to_voice_map"])


def test_the_way_leads_from_chance_to_the_best_possible(unseen):
    assert unseen.share("AUC", 0.5) == 0
    assert unseen.share("1:2 F-V", unseen.best["1:2"]) == 1


def test_a_person_is_tested_by_the_same_number_of_items_however_many_there_are(unseen):
    data = unseen.data
    many = dataclasses.replace(
        data,
        faces=data.faces.take(np.arange(14).repeat(5)),
        voices=data.voices.take(np.arange(14).repeat(5)),
    )
    tested = Unseen.of(many, WORLD).data
    assert np.bincount(tested.faces.people).tolist() == [4] * 7
    assert np.bincount(tested.voices.people).tolist() == [4] * 7


def test_every_pair_of_a_table_is_what_the_pair_alone_gives(unseen):
    model = lived_pairs(ACIENet, face_features=(), voice_features=(), **MEDIA)
    device = torch.device("cpu")
    data = unseen.data
    met = interaction_table(model, data, device)
    apart = embedding_table(model, data, device)
    with torch.inference_mode():
        for voice, face in ((0, 3), (13, 0)):
            one = data.voices.batch(np.array([voice])).inputs
            other = data.faces.batch(np.array([face])).inputs
            maps = model.feature_map_face(other), model.feature_map_voice(one)
            wanted = model.interact(*maps, "face")
            assert met[voice, face] == pytest.approx(wanted.item(), abs=1e-4)
            cosine = model.embed_face(other) @ model.embed_voice(one).T
            assert apart[voice, face] == pytest.approx(cosine.item(), abs=1e-5)
