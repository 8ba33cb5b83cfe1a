"""The people, media and lists of the default model's figures, and the figures of a tiny model."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from avsearch.media import kind_of, read_audio, read_image
from avsearch.models.checkpoint import save_checkpoint
from benchmarks.quality.default_model import people_and_others, prepare, shown, write
from benchmarks.quality.held_out import people_of_side
from benchmarks.quality.trial_folder import TrialFolder
from benchmarks.quality.trial_media import TrialMedia
from indexer.errors import BadRequest, RefusedFile
from indexer.types import Media
from tests.helpers.tiny import face_noise, tiny_adsm, voice_noise
from trainer.evaluation.systems import Model, RunOptions

MANY = {"lfw": 3, "librispeech": 1, "ravdess": 4, "nemo": 4}  # files of a person
SIDES = ("train", "validation", "test")


def extract(path, modality):
    """The whole of a file; one called silent holds no speech."""
    if path.stem == "silent":
        raise RefusedFile(path, "no speech found.")
    if kind_of(path) == "video":
        rng = np.random.default_rng(0)
        data = face_noise(rng) if modality == "face" else voice_noise(rng)
    else:
        data = read_image(path) if modality == "face" else read_audio(path)
    yield Media(path, modality, data=data)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Galleries of noise with two women and two men on each side."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for gallery, count in MANY.items():
        rows = ["person,name,gender,nationality"]
        for side in SIDES:
            for number in range(4):
                key = f"{gallery}-{side}-{number}"
                folder = root / gallery / key
                folder.mkdir(parents=True)
                rows.append(f"{key},{key},{'fm'[number % 2]},")
                for at in range(count):
                    if gallery == "lfw":
                        Image.fromarray(face_noise(rng)).save(folder / f"{key}_000{at}.jpg")
                    else:
                        samples = voice_noise(rng, 9001)
                        soundfile.write(folder / f"{key}_{at}.wav", samples, 16_000)
                if gallery == "ravdess":
                    Image.fromarray(face_noise(rng)).save(folder / "face.png")
        (root / gallery / "people.csv").write_text("\n".join(rows) + "\n")
    for key in ("bbaf2n", "brbk7n"):
        (root / "grid" / key).mkdir(parents=True)
        (root / "grid" / key / f"{key}.mpg").touch()
    return root


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    people = {
        side: [f"{gallery}/{gallery}-{side}-{number}" for gallery in MANY for number in range(4)]
        for side in SIDES
    }
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, "adsm", tiny_adsm(), {"people": people})
    return path


@pytest.fixture(scope="module")
def exam(data, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return prepare(out, *people_and_others(checkpoint, data, "test"), extract=extract)


def names_in(asked):
    return set(asked.protocol.items.names)


def test_people_of_a_side_are_those_of_the_record_and_grid_is_only_tested(data, checkpoint):
    for side in ("validation", "test"):
        found = people_of_side(checkpoint, data, side)
        grid = {"bbaf2n": "m", "brbk7n": "f"} if side == "test" else {}
        expected = {f"{gallery}-{side}-{at}": "fm"[at % 2] for gallery in MANY for at in range(4)}
        assert {one.key: one.gender for one in found} == expected | grid
        assert all(len(one.files) >= MANY.get(one.gallery, 1) for one in found)


def test_a_checkpoint_without_sides_is_refused(data, tmp_path):
    save_checkpoint(tmp_path / "bare.safetensors", "adsm", tiny_adsm(), {})
    with pytest.raises(BadRequest, match="does not record who is on its test side"):
        people_of_side(tmp_path / "bare.safetensors", data, "test")


def test_nobody_of_another_side_is_asked_about_and_the_threshold_is_of_validation(exam):
    grid = {"bbaf2n", "brbk7n"}
    for _, asked in exam.tasks:
        assert all("-test-" in name for name in names_in(asked) - grid)
    assert exam.threshold_pairs is not None
    assert all("-validation-" in name for name in names_in(exam.threshold_pairs))


def test_where_validation_people_are_tested_half_of_them_give_the_threshold(data, checkpoint):
    tested, others = people_and_others(checkpoint, data, "validation")
    assert {one.gallery for one in tested} == MANY.keys()
    faces = [one.key for one in tested if one.gallery == "lfw"]
    assert len(faces) == len(others) == 2
    assert not set(faces) & {one.key for one in others}


def test_every_question_of_the_table_is_asked_and_of_every_kind_of_voice(exam):
    titles = [row.title for row, _ in exam.tasks]
    assert len(titles) == len(set(titles)) == 2 + 6 + 5 + 15 + 1
    within = [row for row, _ in exam.tasks if row.within == "voice"]
    clean = [row for row in within if row.clean is None]
    assert [row.title for row in clean] == [
        "voice to voice, halves of recordings",
        "voice to voice, nEMO and RAVDESS sentences",
        "voice to voice, nEMO sentences",
        "voice to voice, RAVDESS sentences",
    ]
    asked = {row.title: asked.protocol for row, asked in exam.tasks}
    for row in within:
        if row.clean is not None:
            one, other = asked[row.title], asked[row.clean]
            assert one.items.names == other.items.names
            np.testing.assert_array_equal(one.same, other.same)
            first = [one.items.paths[at] for at in one.first]
            assert first == [other.items.paths[at] for at in other.first]
            assert not set(one.items.paths) & {other.items.paths[at] for at in other.second}


def test_sentences_are_compared_within_their_data_set_and_never_with_themselves(exam):
    asked = {row.title: asked.protocol for row, asked in exam.tasks}
    trials = asked["voice to voice, nEMO and RAVDESS sentences"]
    assert not set(trials.first.tolist()) & set(trials.second.tolist())
    galleries = np.array([trials.items.names[who].partition("-")[0] for who in trials.items.people])
    assert (galleries[trials.first] == galleries[trials.second]).all()


def test_halves_of_a_recording_do_not_overlap_and_leave_nothing_out(data, tmp_path):
    media = TrialMedia(tmp_path, 0, extract)
    key = "librispeech-test-0"
    whole = {key: media.voices(key, sorted((data / "librispeech" / key).iterdir()))}
    first, second = (media.halves(whole, part)[key][0] for part in (1, 2))
    assert (first, second) == (f"{key}/{key}-0_1.flac", f"{key}/{key}-0_2.flac")
    parts = [read_audio(tmp_path / name) for name in (first, second)]
    np.testing.assert_array_equal(np.concatenate(parts), read_audio(tmp_path / whole[key][0]))


def test_halves_of_one_recording_are_known_as_such(exam):
    asked = {row.title: asked.protocol for row, asked in exam.tasks}
    own = asked["voice to voice, halves of recordings"].own_recording()
    assert own.sum() == 4
    assert not asked["face to face, faces in the wild"].own_recording().any()


def test_a_recording_without_speech_is_left_out(tmp_path):
    sounds = [tmp_path / "silent.wav", tmp_path / "spoken.wav"]
    for path in sounds:
        soundfile.write(path, voice_noise(np.random.default_rng(0)), 16_000)
    media = TrialMedia(tmp_path / "media", 0, extract)
    assert media.voices("ann", sounds) == ["ann/spoken.flac"]


def test_nobody_babbles_behind_their_own_voice(tmp_path):
    media = TrialMedia(tmp_path, 0, extract)
    rng = np.random.default_rng(0)
    for name in ("ann", "bob"):
        soundfile.write(tmp_path / f"{name}.wav", voice_noise(rng), 16_000)
    voices = {name: media.voices(name, [tmp_path / f"{name}.wav"]) for name in ("ann", "bob")}
    poor = media.degraded(voices, "in noise", voices)
    alone = media.degraded({"ann": voices["ann"]}, "in noise", {"bob": voices["bob"]})
    assert poor["ann"] == alone["ann"] == ["ann/ann-in-noise.flac"]
    heard = read_audio(tmp_path / "ann" / "ann-in-noise.flac")
    media.degraded({"ann": voices["ann"]}, "in noise", {**voices, "bob": voices["bob"]})
    np.testing.assert_array_equal(read_audio(tmp_path / "ann" / "ann-in-noise.flac"), heard)


def test_the_same_seed_makes_the_same_lists_and_media(exam, data, checkpoint, tmp_path):
    people, others = people_and_others(checkpoint, data, "test")
    prepare(tmp_path, people, others, extract=extract)
    first = exam.table.parent
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    made = [path for path in files if path.parts[0] in ("lists", "media") or len(path.parts) == 1]
    for path in made:
        if path.parts[0] != "features":
            assert (tmp_path / path).read_bytes() == (first / path).read_bytes()


FEW = (
    "voice to face, by gender",
    "1:2 F-V, RAVDESS",
    "voice to voice, halves of recordings",
    "voice to voice, halves of recordings, telephone",
    "face to face, faces in the wild",
)


def test_a_checkpoint_has_every_figure_audited_with_its_gap_and_its_loss(
    exam, checkpoint, tmp_path
):
    rows = [each for each in exam.tasks if each[0].title in FEW]
    exam = dataclasses.replace(exam, tasks=rows)
    model = Model(str(checkpoint), RunOptions(device="cpu", sample=3))
    ours = exam.take(model)
    assert tuple(ours) == FEW
    assert all(found.section.valid for found in ours.values())
    assert not any(found.section.seen for found in ours.values())
    faces = ours["face to face, faces in the wild"]
    assert 0 <= faces.figure.value <= 1
    title = "voice to voice, halves of recordings"
    worse = ours[f"{title}, telephone"]
    lost = worse.less(ours[title])
    assert lost.value == pytest.approx(worse.figure.value - ours[title].figure.value)
    told = shown(ours, {})
    assert len(told.splitlines()) == 2 + len(ours)
    assert told.count("passed") == len(ours)
    rows = told.splitlines()[2:]
    assert ["0.95: " in row for row in rows] == [True, False, False, False, False]
    verdict = "kept" if lost.value <= 0.05 else "missed"
    assert ["lost 5: " in row for row in rows] == [False, False, False, True, False]
    assert f"lost 5: {verdict}" in told
    with pytest.raises(ValueError, match="other people"):
        faces.less(worse)
    beside = shown(ours, exam.take(model, "voice"))
    assert "Resemblyzer: kept" in beside
    assert "+0.0 [+0.0, +0.0]" in beside  # a model is no better than itself
    write(tmp_path, model.name, exam, ours, {})
    figures = json.loads((tmp_path / "figures.json").read_text())["ours"]
    assert figures.keys() == ours.keys()
    assert (tmp_path / "report.html").is_file()


def test_faces_are_not_told_apart_without_people_to_choose_a_threshold_on(
    data, checkpoint, tmp_path
):
    people = [one for one in people_of_side(checkpoint, data, "test") if one.gallery == "lfw"]
    assert [
        row.title for row, _ in prepare(tmp_path, people, people[:1], extract=extract).tasks
    ] == []
    (found,) = prepare(tmp_path, people[:2], people[2:], extract=extract).tasks
    assert found[0].title == "face to face, faces in the wild"


def test_too_few_people_leave_rows_out(data, checkpoint, tmp_path):
    people = [one for one in people_of_side(checkpoint, data, "test") if one.gallery == "nemo"]
    rows = TrialFolder(tmp_path, people, extract=extract).rows()
    assert [row.title for row in rows if row.clean is None] == ["voice to voice, nEMO sentences"]
    assert TrialFolder(tmp_path, people[:1], extract=extract).rows() == []
    assert TrialFolder(tmp_path, people, extract=extract).threshold_rows() == []
