"""Relative paths mean the folder in which they were named, whatever becomes the working folder."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import avsearch
from avsearch.annotation.audio_source import open_recording
from avsearch.media import kind_of
from avsearch.runtime.onnx_session import Session
from avsearch.runtime.weights import find_weights
from indexer.errors import BadRequest, NoIndex, RefusedFile
from indexer.exchange.exchange import export_index, import_file, vector_size
from indexer.index import Index
from indexer.ingest.ingest import ingest
from indexer.ingest.scan import scan
from indexer.open import find_index, new_index, open_index
from indexer.types import Box, Media
from tests.helpers.fakes import SPACE, FakeEmbedder, FakeExtractor, fake_vector
from tests.helpers.making import tone
from tests.helpers.places import fill
from trainer.data.prepared_cache import PrepareJob, ShardItems, prepare
from trainer.training.config import TrainRequest

QUERY = fake_vector("a question")[None]
FACE = np.full((64, 64, 3), 127, np.uint8)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders with an index each, called the same; the first is the working folder."""
    monkeypatch.delenv("AVSEARCH_INDEX", raising=False)
    for name in ("one", "two"):
        gallery = fill(tmp_path / name / "gallery", {"ann/a.wav": f"voice: {name}\n"})
        with Index.create(tmp_path / name / ".avsearch", SPACE, notes={"name": name}) as index:
            ingest(index, gallery, FakeExtractor(), FakeEmbedder())
    monkeypatch.chdir(tmp_path / "one")
    return tmp_path


def open_by_variable(folder: str) -> Index:
    os.environ["AVSEARCH_INDEX"] = folder
    return open_index()


WAYS = {
    "text": lambda: Index.open(".avsearch"),
    "path": lambda: Index.open(Path(".avsearch")),
    "open": lambda: avsearch.open(".avsearch").store,
    "the folder around it": lambda: avsearch.open(".").store,
    "a way up and down": lambda: open_index("../one/.avsearch"),
    "the variable": lambda: open_by_variable(".avsearch"),
    "found": open_index,
    "open_or_create": lambda: Index.open_or_create(".avsearch", SPACE),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_index_stays_the_one_that_was_opened(places, monkeypatch, way):
    monkeypatch.setenv("AVSEARCH_INDEX", "")
    with WAYS[way]() as index:
        os.chdir("../two")
        index.note({"written": "to one"})
        assert index.search(QUERY, 1).hits[0][0][0].path == places / "one/gallery/ann/a.wav"
        os.chdir("/")
        assert index.verify() == []
        index.rebuild()
        export_index(index, str(places / "all.parquet"))
        assert index.forget("ann").clean
        assert index.folder == places / "one/.avsearch" or way == "a way up and down"
    with Index.open(places / "one/.avsearch") as index:
        assert index.notes() == {"name": "one", "written": "to one"}
        assert index.people() == []
    with Index.open(places / "two/.avsearch") as index:
        assert index.notes() == {"name": "two"}


def test_a_new_index_is_made_where_it_was_named(places, monkeypatch):
    for path, expected in {"new": "one/new", None: "one/.avsearch"}.items():
        assert new_index(path) == places / expected
        assert find_index(path) == places / expected
    monkeypatch.setenv("AVSEARCH_INDEX", "by variable")
    assert new_index() == find_index() == places / "one/by variable"
    with Index.create("new", SPACE) as index:
        os.chdir("/")
        index.note({"a": "b"})
    assert (places / "one/new/catalog.sqlite").exists()
    with pytest.raises(NoIndex, match=str(places / "one/nowhere")):
        Index.open(places / "one" / "nowhere")


def test_text_is_taken_wherever_a_path_is(places):
    with Index.open_or_create("third", SPACE) as index:
        assert ingest(index, "gallery", FakeExtractor(), FakeEmbedder()).added == 1
        again = ingest(index, ["gallery", Path("gallery")], FakeExtractor(), FakeEmbedder())
        assert again.unchanged == 1
        export_index(index, "all.parquet")
    assert vector_size("all.parquet") == SPACE.dim
    assert import_file("all.parquet", "fourth").voices == 1
    Path("list.csv").write_text("path,person\nann/a.wav,ann\n")
    found = scan("gallery", FakeExtractor().kind, manifest="list.csv")
    assert [source.path for source in found.sources] == [places / "one/gallery/ann/a.wav"]
    assert RefusedFile("a.wav", "is odd.").path == Path("a.wav")
    assert kind_of("a.WAV") == "audio"


@pytest.mark.parametrize("wrong", [None, 3, b"bytes", ["a", "b"]])
def test_what_is_no_path_is_said(wrong):
    for take in (Index.open, lambda path: Index.create(path, SPACE), lambda p: Media(p, "voice")):
        with pytest.raises(BadRequest, match=rf"a path or text, not {type(wrong).__name__}\."):
            take(wrong)


# Media


def test_media_stay_the_file_that_was_named(tmp_path, monkeypatch):
    for name, seconds in (("one", 1.0), ("two", 2.0)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", tone(440, 16000, seconds), 16000)
    monkeypatch.chdir(tmp_path / "one")
    media, recording = Media("a.wav", "voice"), open_recording("a.wav")
    found = avsearch.MediaExtractor("whole").extract("a.wav", "voice", 0.0, 0.5)
    os.chdir("../two")
    assert media.path == next(found).path == tmp_path / "one/a.wav"
    assert sum(map(len, recording.stream())) == 16000
    assert pickle.loads(pickle.dumps(media)) == media == Media(tmp_path / "one/a.wav", "voice")


def test_media_take_numbers_of_any_kind():
    media = Media("a.mp4", "face", np.float32(1.5), 2, (1, np.int64(2), 3.5, 4))
    assert (media.start_s, media.end_s, media.box) == (1.5, 2.0, Box(1.0, 2.0, 3.5, 4.0))
    assert type(media.start_s) is type(media.end_s) is float
    assert type(media.box) is Box


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"modality": "faces"}, "'faces'; it is face or voice"),
        ({"modality": None}, "None; it is face or voice"),
        ({"modality": ["face"]}, "it is face or voice"),
        ({"start_s": "3"}, "start_s is '3'"),
        ({"start_s": -1.0}, "start_s is -1.0; it must be 0 seconds or more"),
        ({"start_s": float("nan")}, "start_s is nan"),
        ({"start_s": None}, "start_s is None"),
        ({"start_s": True}, "start_s is True"),
        ({"end_s": float("inf")}, "end_s is inf"),
        ({"end_s": "later"}, "end_s is 'later'"),
        ({"box": (1, 2, 3)}, "give left, top, right, bottom"),
        ({"box": "wide"}, "give left, top, right, bottom"),
        ({"box": 7}, "give left, top, right, bottom"),
    ],
)
def test_media_that_cannot_be_are_said(given, message):
    with pytest.raises(BadRequest, match=message):
        Media(**{"path": "a.mp4", "modality": "face", **given})


# Models and what a training prepares


def test_a_model_stays_the_file_that_was_named(tmp_path, monkeypatch):
    for file in find_weights("demo").parent.glob("demo.*"):
        shutil.copy(file, tmp_path / file.name.replace("demo", "mine"))
    monkeypatch.chdir(tmp_path)
    model, session = avsearch.load_model("mine.safetensors"), Session("mine.face.onnx")
    os.chdir("/")
    media = [Media("v.wav", "voice", data=tone(440, 16000)), Media("f.png", "face", data=FACE)]
    assert np.isfinite(model.embed(media).vectors).all()
    with pytest.raises(ValueError, match="argument"):  # too few inputs; it was loaded, though
        session.run()
    assert find_weights("mine.safetensors") == Path("/mine.safetensors")


def test_prepared_inputs_are_read_from_where_they_were_written(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    levels = {"one": 0.25, "two": 0.5}
    rows = {}
    for name, level in levels.items():
        os.chdir(tmp_path / name)
        media = Media("x.wav", "voice", data=np.full(1000, level, np.float32))
        job = PrepareJob("ann", "x", "the same", lambda media=media: iter([media]))
        rows[name] = ShardItems(prepare([job], 8, Path("cache")).of("voice"))
    os.chdir("/")
    for name, level in levels.items():
        np.testing.assert_allclose(rows[name][0] / 32768, level, atol=1e-4)
    assert TrainRequest("adsm", Path("out.safetensors")).out == Path("/out.safetensors")
