"""The public interface, with a real model and real media."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import avsearch
from avsearch import BadRequest, ForeignSpace, NoIndex, RefusedFile
from avsearch.models.checkpoint import save_checkpoint
from indexer import errors
from tests.helpers.tiny import tiny_adsm


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, "adsm", tiny_adsm(), {})
    return path


@pytest.fixture(scope="module")
def gallery(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    for actor in ("Actor_01", "Actor_02"):
        (folder / actor).mkdir()
        files = [test_data / "ravdess" / actor / "face.png"]
        files += sorted((test_data / "ravdess" / actor).glob("*.ogg"))[:1]
        for file in files:
            shutil.copy(file, folder / actor)
    return folder


@pytest.fixture(scope="module")
def place(gallery: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place") / ".avsearch"
    with avsearch.open(folder, model=model) as index:
        report = index.add(gallery)
    assert report.index == index.folder == folder
    assert (report.people, report.faces, report.voices, report.refused) == (2, 2, 2, [])
    return folder


@pytest.fixture(scope="module")
def voice(gallery: Path) -> Path:
    return min((gallery / "Actor_02").glob("*.ogg"))


def test_every_public_name_is_there():
    assert sorted(avsearch.__all__) == sorted(set(avsearch.__all__))
    for name in avsearch.__all__:
        assert getattr(avsearch, name) is not None
    assert set(dir(avsearch)) == {*avsearch.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = avsearch.nothing


def test_every_error_is_public():
    def below(kind: type[Exception]) -> set[str]:
        return {kind.__name__}.union(*map(below, kind.__subclasses__()))

    ours = {name for name in below(avsearch.AvsearchError) if hasattr(errors, name)}
    assert ours <= set(avsearch.__all__)


def test_an_index_says_what_it_holds(place, tmp_path):
    with avsearch.open(place) as index:
        assert len(index) == 4
        assert repr(index) == f"<MediaIndex {place}: 2 people, 2 faces, 2 voices>"
        assert [who.key for who in index.people()] == ["Actor_01", "Actor_02"]
    with avsearch.open(tmp_path / "none") as index:
        assert (len(index), bool(index)) == (0, True)
        assert repr(index) == f"<MediaIndex {tmp_path / 'none'}: not made yet>"
        with pytest.raises(NoIndex, match="make one with avsearch index GALLERY"):
            index.query(person="Actor_01")
    assert not (tmp_path / "none").exists()


def test_open_looks_in_the_working_folder_and_above(place, tmp_path, monkeypatch):
    monkeypatch.delenv("AVSEARCH_INDEX", raising=False)
    (place.parent / "in" / "side").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(place.parent / "in" / "side")
    with avsearch.open() as index:
        assert index.folder == place
    monkeypatch.chdir(tmp_path)
    with avsearch.open() as index:
        assert index.folder == tmp_path / ".avsearch"
    monkeypatch.setenv("AVSEARCH_INDEX", str(place.parent))
    with avsearch.open() as index:
        assert index.folder == place


def test_an_index_stays_the_same_when_the_working_folder_changes(
    place, voice, tmp_path, monkeypatch
):
    monkeypatch.chdir(place.parent)
    with avsearch.open(".avsearch") as index:
        monkeypatch.chdir(tmp_path)
        assert index.folder == place
        assert len(index.query(voice)) == 2


def test_faces_answer_a_voice_and_voices_a_face(place, gallery, voice):
    with avsearch.open(str(place)) as index:
        answer = index.query(str(voice), top=5)
        assert [hit.rank for hit in answer] == [1, 2]
        assert {hit.modality for hit in answer} == {"face"}
        assert {hit.person for hit in answer} == {"Actor_01", "Actor_02"}
        answer = index.query(gallery / "Actor_01" / "face.png")
        assert {hit.modality for hit in answer} == {"voice"}


def test_media_of_any_kind_ask_with_what_they_have(place, gallery, voice):
    with avsearch.open(place) as index:
        with pytest.raises(RefusedFile, match="an image has no voice"):
            index.query(gallery / "Actor_01" / "face.png", ask="voice")
        with pytest.raises(RefusedFile, match="an audio file has no face"):
            index.query(voice, ask="face")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "one of a file, a person and vectors"),
        ({"file": "a.wav", "person": "Actor_01"}, "one of a file, a person and vectors"),
        ({"person": "Actor_99"}, "There is no 'Actor_99'"),
        ({"person": "Actor_01", "want": "faces"}, "must be face or voice or any"),
        ({"person": "Actor_01", "top": "3"}, "must be a whole number"),
        ({"person": "Actor_01", "where": {"age": 3}}, "no 'age' to filter by"),
        ({"vectors": np.zeros(32)}, "modality is None"),
        ({"vectors": np.zeros(5), "modality": "face"}, r"of shape \(1, 5\)"),
        ({"vectors": "voice.wav", "modality": "face"}, "not an array of numbers"),
        ({"vectors": np.zeros((1, 1, 32)), "modality": "face"}, "shape"),
        ({"file": "a.wav", "ask": "Voice"}, "must be face or voice"),
    ],
)
def test_a_wrong_request_is_said(place, request_, words):
    with avsearch.open(place) as index, pytest.raises(BadRequest, match=words):
        index.query(**request_)


def test_vectors_ask_as_the_media_they_were_made_of(place, voice):
    with avsearch.open(place) as index:
        items, vectors = index.store.items_of("Actor_02", "voice")
        assert [item.path for item in items] == [voice]
        by_vectors = index.query(vectors=vectors, modality="voice", want="any", by="item")
        by_file = index.query(voice, want="any", by="item")
    assert [hit.person for hit in by_vectors] == [hit.person for hit in by_file]
    assert [hit.score for hit in by_vectors] == pytest.approx(
        [hit.score for hit in by_file], abs=1e-4
    )
    assert by_vectors.query.path is None


def test_many_files_are_answered_as_each_alone_and_refused_as_values(place, gallery, voice):
    picture, missing = gallery / "Actor_01" / "face.png", gallery / "missing.wav"
    with avsearch.open(place) as index:
        answers = index.query_many([str(voice), missing, picture], top=1)
        alone = [index.query(voice, top=1), index.query(picture, top=1)]
    assert isinstance(answers[1], RefusedFile)
    assert answers[1].path == missing
    for one, other in zip((answers[0], answers[2]), alone, strict=True):
        assert [hit.person for hit in one] == [hit.person for hit in other]
        assert one[0].score == pytest.approx(other[0].score, abs=1e-4)


def test_a_notebook_shows_faces_and_players(place, gallery, voice):
    with avsearch.open(place) as index:
        faces, voices = index.query(voice), index.query(gallery / "Actor_01" / "face.png")
    shown = faces._repr_html_()
    assert shown.count('<img src="data:image/jpeg;base64,') == 2
    assert "Actor_01" in shown
    assert voices._repr_html_().count("<audio controls") == 2
    assert voices[0]._repr_html_().count("<audio controls") == 1


def test_progress_is_told_from_none_to_all(gallery, model, tmp_path):
    told: list[tuple[int, int]] = []
    with avsearch.open(tmp_path / "i", model=model) as index:
        index.add(gallery, on_progress=lambda *at: told.append(at))
    assert told == [(done, 4) for done in range(5)]


def test_another_model_changes_nothing(place, gallery, tmp_path):
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, "adsm", tiny_adsm(1), {})
    with avsearch.open(place) as index:
        before = index.info()
    with avsearch.open(place, model=other) as index:
        with pytest.raises(ForeignSpace):
            index.add(gallery)
        with pytest.raises(ForeignSpace):
            index.query(min((gallery / "Actor_01").glob("*.ogg")))
    with avsearch.open(place) as index:
        assert index.info() == before


def test_a_rerun_with_nothing_to_embed_loads_no_torch(place, gallery):
    code = f"""if True:
        import sys
        import avsearch
        report = avsearch.open({str(place)!r}).add({str(gallery)!r})
        print(report.unchanged, report.added, "torch" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == "4 0 False\n"


def test_a_model_that_comes_later_takes_what_is_new(place, gallery, tmp_path):
    folder = shutil.copytree(place, tmp_path / "index")
    new = shutil.copytree(gallery, tmp_path / "again") / "Actor_03"
    shutil.copytree(gallery / "Actor_01", new)
    with avsearch.open(folder) as index:
        report = index.add(new.parent)
        assert (report.added, report.unchanged) == (6, 0)
        old, twin = (index.store.vectors_of(key)[1] for key in ("Actor_01", "Actor_03"))
    apart = np.abs(twin[:, None] - old[None]).max(2)  # files are read side by side, in any order
    assert (apart.min(1) < 1e-5).all()


def test_an_index_may_be_used_by_several_threads(place, gallery, voice):
    files = [voice, gallery / "Actor_01" / "face.png"] * 8
    with avsearch.open(place) as index, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(index.query, files))
        expected = [index.query(file) for file in files[:2]] * 8
    for one, other in zip(answers, expected, strict=True):
        assert [hit.person for hit in one] == [hit.person for hit in other]
        assert [hit.score for hit in one] == pytest.approx([h.score for h in other], abs=1e-4)


def test_an_embedder_of_ones_own_indexes_and_asks(gallery, voice, tmp_path):
    class Own:
        space = avsearch.Space("own", "1", 3, "cosine")

        def embed(self, media):
            vectors = np.stack([np.arange(3) + len(each.path.name) for each in media])
            return avsearch.Embedded(vectors.astype(np.float32), {})

    with avsearch.open(tmp_path / "own", model=Own()) as index:
        assert index.add(gallery).people == 2
        assert len(index.query(voice)) == 2
        assert index.query(person="Actor_01").model == "own"
    with avsearch.open(tmp_path / "own") as index:
        assert len(index.query(person="Actor_01")) == 2
        with pytest.raises(BadRequest, match="an embedder of a Python program"):
            index.query(voice)
