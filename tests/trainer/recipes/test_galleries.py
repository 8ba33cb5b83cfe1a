from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avsearch.media import MediaExtractor
from avsearch.models.papers.adsm import ADSMSettings
from indexer.errors import BadRequest
from indexer.types import MODALITIES
from trainer.data.sources import decoded
from trainer.data.synthetic.world import World, write_gallery
from trainer.recipes.galleries import FACE_SIZE, Example, read_gallery, training_set

WHOLE = MediaExtractor("whole")
SIZES = ADSMSettings(face_size=32, voice_seconds=0.25)


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=3)


@pytest.fixture(scope="module")
def gallery(world, tmp_path_factory) -> Path:
    """Four people, two pictures and one sound each; some files that are refused."""
    folder = tmp_path_factory.mktemp("sets") / "small"
    write_gallery(world, range(4), folder, faces=2, voices=1)
    (folder / "p00000" / "broken.jpg").write_bytes(b"no picture")
    (folder / "p00001" / "notes.txt").write_text("no media")
    (folder / "p00002" / "empty.flac").touch()
    return folder


@pytest.fixture(scope="module")
def examples(gallery) -> list[Example]:
    return read_gallery(gallery, WHOLE)


def test_each_person_has_its_items_and_what_is_refused_is_left_out(examples, world):
    for number in range(4):
        person = world.person(number)
        own = [e for e in examples if e.person == f"small/{person.key}"]
        faces = [e.path.name for e in own if e.modality == "face"]
        voices = [e.path.name for e in own if e.modality == "voice"]
        assert faces == ["face0.jpg", "face1.jpg"]
        assert voices
        assert set(voices) == {"voice0.flac"}  # one or more stretches of speech
        assert {e.gender for e in own} == {person.gender}
    assert len({e.person for e in examples}) == 4


def test_faces_are_of_the_size_that_training_takes(examples, world):
    faces = [e for e in examples if e.modality == "face"]
    for example in faces:
        assert example.data.shape == (FACE_SIZE, FACE_SIZE, 3)
        assert example.data.dtype == np.uint8
    drawn = Image.fromarray(world.draw_face(world.person(0), 0)).resize((FACE_SIZE, FACE_SIZE))
    assert np.abs(faces[0].data - np.asarray(drawn, float)).mean() < 8  # of 255, through JPEG


def test_voices_are_16_bit_stretches_of_the_recording(examples, world):
    voices = [e for e in examples if e.modality == "voice"]
    for example in voices:
        assert example.data.dtype == np.int16
        assert example.data.ndim == 1
        assert 1600 <= len(example.data) <= 160_000
    spoken = world.speak(world.person(0), 0)
    first = voices[0].data / 32767
    strides = np.lib.stride_tricks.sliding_window_view(spoken, 1000)
    distance = np.abs(strides - first[:1000]).mean(1).min()
    assert distance < 1e-3


def test_samples_beyond_full_scale_are_clipped_and_not_wrapped(tmp_path, monkeypatch):
    folder = tmp_path / "loud"
    write_gallery(World(seed=3), range(1), folder, faces=0, voices=1)
    loud = np.array([-3.0, -1.0, 0.0, 0.5, 1.0, 3.0], np.float32)
    extract = MediaExtractor.extract

    def loudly(self, path, modality=None):
        for media in extract(self, path, modality):
            object.__setattr__(media, "data", loud)
            yield media

    monkeypatch.setattr(MediaExtractor, "extract", loudly)
    (found, *_) = read_gallery(folder, MediaExtractor("whole"))
    assert found.data.tolist() == [-32767, -32767, 0, 16383, 32767, 32767]


def test_people_whose_gender_is_not_known_are_left_out(tmp_path):
    folder = tmp_path / "some"
    write_gallery(World(seed=3), range(3), folder, faces=1, voices=0)
    (folder / "people.csv").write_text("person,gender\np00000,female\np00001,\n")
    found = read_gallery(folder, WHOLE)
    assert [(e.person, e.gender) for e in found] == [("some/p00000", "f")]


def test_a_gallery_that_gives_nothing_is_refused(tmp_path):
    folder = tmp_path / "none"
    write_gallery(World(seed=3), range(2), folder, faces=1, voices=0)
    (folder / "people.csv").unlink()
    with pytest.raises(BadRequest, match="none holds no media of people whose gender"):
        read_gallery(folder, WHOLE)


def test_a_gallery_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadRequest, match="not a folder"):
        read_gallery(tmp_path / "absent", WHOLE)


def test_reading_twice_gives_the_same_in_the_same_order(gallery, examples):
    again = read_gallery(gallery, WHOLE)
    assert [(e.person, e.path) for e in again] == [(e.person, e.path) for e in examples]
    for one, other in zip(examples, again, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_a_training_set_numbers_people_by_name_over_both_modalities(examples, world):
    data = training_set(examples, SIZES)
    for modality, side in zip(MODALITIES, (data.faces, data.voices), strict=True):
        own = [e for e in examples if e.modality == modality]
        assert len(side) == len(side.people) == len(side.labels) == len(own)
        for item, person, label, example in zip(
            decoded(side), side.people, side.labels, own, strict=True
        ):
            assert item is example.data
            assert example.person == f"small/p{person:05d}"  # here names sort as numbers
            assert label == (0 if example.gender == "f" else 1)
    assert data.faces.people.dtype == data.faces.labels.dtype == np.int64
    assert data.names == tuple(f"small/p{number:05d}" for number in range(4))
    assert data.faces.batch(np.array([0])).inputs.shape == (1, 3, 32, 32)
    assert data.voices.batch(np.array([0])).inputs.shape == (1, 4000)
    assert data.shared == "gender"


def test_the_order_of_the_examples_changes_no_number(examples):
    turned = training_set(examples[::-1], SIZES)
    straight = training_set(examples, SIZES)
    assert turned.faces.people.tolist() == straight.faces.people.tolist()[::-1]
    assert turned.voices.labels.tolist() == straight.voices.labels.tolist()[::-1]


def test_a_set_of_one_modality_has_an_empty_other_side(examples):
    data = training_set([e for e in examples if e.modality == "face"], SIZES)
    assert len(data.faces) == 8
    assert (len(data.voices), data.voices.people.shape) == (0, (0,))


def test_of_a_group_picture_the_largest_face_is_read_and_the_others_are_said(
    test_data, tmp_path, capsys
):
    near, far = sorted((test_data / "lfw_full").glob("*/*.jpg"))[:2]
    canvas = Image.new("RGB", (660, 400), "grey")
    canvas.paste(Image.open(near).resize((400, 400)), (0, 0))
    canvas.paste(Image.open(far), (405, 0))
    folder = tmp_path / "some"
    (folder / "ann").mkdir(parents=True)
    canvas.save(folder / "ann" / "both.png")
    (folder / "people.csv").write_text("person,gender\nann,f\n")
    assert len(list(MediaExtractor().extract(folder / "ann" / "both.png"))) == 2
    assert len(read_gallery(folder, MediaExtractor())) == 1
    assert "some: 1 faces beside the largest" in capsys.readouterr().out
