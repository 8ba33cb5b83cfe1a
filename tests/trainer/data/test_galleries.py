from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from indexer.errors import BadRequest
from tests.helpers.sides import numbered_set
from trainer.data.dataset import BatchMaker
from trainer.data.features import feature_source
from trainer.data.load import DataOptions, read_data
from trainer.data.splits import split
from trainer.data.synthetic.world import World, write_gallery

SIZES = SimpleNamespace(face_size=32, voice_seconds=0.5)
WHOLE = DataOptions(faces="whole")


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=3)


@pytest.fixture(scope="module")
def root(world, tmp_path_factory) -> Path:
    """Two galleries, one with files that are refused, and a cache for them all."""
    folder = tmp_path_factory.mktemp("data")
    write_gallery(world, range(3), folder / "one", faces=2, voices=1)
    write_gallery(world, range(2, 5), folder / "two", faces=1, voices=1)
    (folder / "one" / "p00000" / "broken.jpg").write_bytes(b"no picture")
    (folder / "one" / "p00001" / "notes.txt").write_text("no media")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_gallery_gives_the_items_and_what_is_known_of_its_people(root, cache, world):
    told: list[str] = []
    data = read_data([root / "one"], SIZES, cache, WHOLE, on_warning=told.append)
    assert data.names == ("one/p00000", "one/p00001", "one/p00002")
    assert data.faces.people.tolist() == [0, 0, 1, 1, 2, 2]
    assert set(data.voices.people.tolist()) == {0, 1, 2}  # one or more stretches each
    genders = [int(world.person(n).gender == "m") for n in range(3)]
    assert data.faces.genders.tolist() == np.repeat(genders, 2).tolist()
    assert data.faces.origins(np.array([0])) == [str(root / "one/p00000/face0.jpg")]
    (line,) = told
    assert "1 files were rejected" in line
    assert "broken.jpg" in line


def test_a_folder_of_galleries_is_all_of_them_with_their_people_apart(root, cache):
    data = read_data([root], SIZES, cache, WHOLE)
    apart = read_data([root / "two", root / "one"], SIZES, cache, WHOLE)
    assert data.names == apart.names
    assert len(data.names) == 6
    assert sorted(data.faces.origins(np.arange(9))) == sorted(apart.faces.origins(np.arange(9)))


def test_what_was_prepared_is_what_a_model_takes(root, cache, world):
    data = read_data([root], SIZES, cache, WHOLE)
    batch = BatchMaker(split(data, "last:2,0")["train"], 4, 2, np.random.default_rng(0)).make()
    assert batch.faces.inputs.shape == (8, 3, 32, 32)
    assert batch.voices.inputs.shape == (8, 8000)
    face = data.faces.batch(np.array([0])).inputs[0].permute(1, 2, 0).float()
    drawn = world.draw_face(world.person(0), 0).reshape(32, 5, 32, 5, 3).mean((1, 3))
    assert np.abs(face.numpy() - drawn).mean() < 12  # of 255, through JPEG and two scalings


def test_a_table_names_files_and_ranges_of_them(root, cache, tmp_path):
    table = tmp_path / "files.csv"
    one = root / "one" / "p00000"
    table.write_text(
        "path,person,modality,start_s,end_s,gender\n"
        f"{one}/face0.jpg,ann,face,,,f\n"
        f"{one}/voice0.flac,ann,voice,1,1.5,f\n"
        f"{one}/voice0.flac,bob,,2,2.25,\n"
    )
    data = read_data([table], SIZES, cache, WHOLE)
    assert data.names == ("files/ann", "files/bob")
    assert [len(data.voices.source.items[row]) for row in (0, 1)] == [8000, 4000]  # type: ignore[attr-defined]
    assert data.voices.genders.tolist() == [0, -1]


def test_a_table_that_names_an_absent_file_is_refused(root, cache, tmp_path):
    table = tmp_path / "files.csv"
    table.write_text("path,person\nno.jpg,ann\nnor.wav,ann\n")
    with pytest.raises(BadRequest, match=r"names 2 files .*no.jpg, is named .* not there"):
        read_data([table], SIZES, cache, WHOLE)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent", "is no data source: name a folder"), ("empty", "holds no media; a gallery has")],
)
def test_what_is_no_data_is_refused(tmp_path, name, reason):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadRequest, match=reason):
        read_data([tmp_path / name], SIZES, tmp_path / "cache", WHOLE)


def test_a_gallery_of_one_modality_is_refused_alone_and_taken_with_another(world, tmp_path):
    write_gallery(world, range(2), tmp_path / "pictures", faces=1, voices=0)
    write_gallery(world, range(2), tmp_path / "sounds", faces=0, voices=1)
    with pytest.raises(BadRequest, match="The data holds no voices"):
        read_data([tmp_path / "pictures"], SIZES, tmp_path / "cache", WHOLE)
    data = read_data([tmp_path / "pictures", tmp_path / "sounds"], SIZES, tmp_path / "c", WHOLE)
    assert len(data.paired) == 0
    assert len(data.people) == 4


def test_features_and_private_attributes_are_read_by_the_same_door(tmp_path):
    np.savez(
        tmp_path / "f.npz",
        faces=np.ones((2, 4), np.float32),
        face_paths=["ann/1", "bob/1"],
        voices=np.ones((2, 3), np.float32),
        voice_paths=["ann/2", "bob/2"],
    )
    np.savez(tmp_path / "p.npz", voices=np.full((1, 5), 2.0), voice_paths=["bob/2"])
    options = DataOptions(voice_private=tmp_path / "p.npz")
    data = read_data([tmp_path / "f.npz"], SIZES, tmp_path / "cache", options)
    assert data.faces.private is None
    assert data.voices.private is not None
    assert data.voices.private[1].tolist() == [2.0] * 5
    assert feature_source(tmp_path / "f.npz").voices is not None
    assert not (tmp_path / "cache").exists()


# The synthetic world.


def test_the_synthetic_world_is_data(cache):
    spec = "synthetic:people=3,takes=2,seconds=1,first=5,shared=0.5,seed=4"
    data = read_data([spec], SIZES, cache)
    assert data.names == ("p00005", "p00006", "p00007")
    assert data.faces.people.tolist() == data.voices.people.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.faces.origins(np.array([2])) == ["synthetic/p00006"]
    world = World(seed=4)
    expected = [int(world.person(number).gender == "m") for number in (5, 6, 7)]
    assert data.voices.genders[::2].tolist() == expected
    more = read_data([spec.replace("people=3", "people=4")], SIZES, cache)
    np.testing.assert_array_equal(
        more.faces.batch(np.arange(6)).inputs, data.faces.batch(np.arange(6)).inputs
    )


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("synthetic:peple=3", "has no setting 'peple'; it has people, takes"),
        ("synthetic:people=three", "people is 'three', which is no whole number"),
        ("synthetic:people=0", "people is 0; give more"),
        ("synthetic:shared=2", "shared is 2.0; it is 0.0 to 1.0"),
        ("synthetic:people", "people is '', which is no whole number"),
    ],
)
def test_a_world_that_there_is_not_is_refused(spec, reason, tmp_path):
    with pytest.raises(BadRequest, match=reason):
        read_data([spec], SIZES, tmp_path)


def test_the_people_of_a_set_are_those_of_either_side():
    assert numbered_set([0, 1], [3]).people.tolist() == [0, 1, 3]


def test_of_a_group_picture_the_largest_face_is_trained_on(test_data, tmp_path):
    """Two real people beside each other, one nearer; who was left out is counted and said."""
    from PIL import Image

    from avsearch.media import read_image

    near, far = sorted((test_data / "lfw_full").glob("*/*.jpg"))[:2]
    canvas = np.full((400, 660, 3), 128, np.uint8)
    canvas[:, :400] = np.asarray(Image.fromarray(read_image(near)).resize((400, 400)))
    canvas[:250, 400:650] = np.asarray(Image.fromarray(read_image(far)).resize((250, 250)))
    for who in ("ann", "bob"):
        (tmp_path / "g" / who).mkdir(parents=True)
        Image.fromarray(canvas).save(tmp_path / "g" / who / "both.png")
    write_gallery(World(seed=3), range(2), tmp_path / "sounds", faces=0, voices=1)
    told: list[str] = []
    data = read_data(
        [tmp_path / "g", tmp_path / "sounds"], SIZES, tmp_path / "cache", on_warning=told.append
    )
    assert data.faces.people.tolist() == [0, 1]
    (line,) = told
    assert "2 images show several faces; the largest were taken and 2 left out" in line
