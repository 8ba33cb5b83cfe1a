from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.quality.synthetic_maps import Trunk, train_trunks, write_maps
from trainer.data.dataset import labelled_by_person
from trainer.data.features import read_feature_file
from trainer.data.load import read_data
from trainer.data.synthetic.dataset import SyntheticSet, parse_synthetic
from trainer.data.synthetic.world import World, WorldSettings

SET = SyntheticSet(people=4, takes=2, seconds=1.0, world=WorldSettings(shared=0.5))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    return write_maps(folder, SET, crowd=3, steps=2, cache=folder / "cache")


def test_the_maps_are_data_of_the_same_people(written, tmp_path):
    data = read_data([written], SimpleNamespace(face_size=8, voice_seconds=1), tmp_path)
    people = [World(SET.world).person(number) for number in range(4)]
    assert data.names == tuple(person.key for person in people)
    assert data.faces.source.features == data.voices.source.features == (64, 7, 7)
    assert data.faces.people.tolist() == data.voices.people.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert data.faces.genders[::2].tolist() == [int(person.gender == "m") for person in people]
    maps = data.faces.batch(np.arange(8)).inputs
    assert maps.isfinite().all()
    assert not torch.equal(maps[0], maps[1])


def test_the_same_world_gives_the_same_maps(written, tmp_path):
    again = write_maps(tmp_path, SET, crowd=3, steps=2, cache=written.parent / "cache")
    for modality, table in read_feature_file(again).items():
        first = read_feature_file(written)[modality]
        np.testing.assert_array_equal(table.values, first.values)
        assert (table.paths, table.people) == (first.paths, first.people)
    assert (tmp_path / "people.csv").read_text() == (written.parent / "people.csv").read_text()


def test_trunks_learn_who_the_people_of_their_crowd_are(written):
    spec = dataclasses.replace(SET, people=3, first=1_000_000).spec
    sizes = SimpleNamespace(face_size=112, voice_seconds=2.5)
    crowd = labelled_by_person(read_data([spec], sizes, written.parent / "cache"))
    torch.manual_seed(0)
    trunks = {"face": Trunk("face", 3, 4), "voice": Trunk("voice", 3, 4)}
    rows = np.arange(6)
    before = [trunks[one].loss(crowd.side(one).batch(rows)).item() for one in ("face", "voice")]
    train_trunks(trunks, crowd, 12)
    after = [trunks[one].loss(crowd.side(one).batch(rows)).item() for one in ("face", "voice")]
    assert after[0] < before[0]
    assert after[1] < before[1]


def test_a_set_and_its_text_are_the_same():
    assert parse_synthetic(SET.spec) == SET
    assert parse_synthetic("synthetic") == SyntheticSet()
