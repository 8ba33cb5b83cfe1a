"""The library as it is imported, and the calls behind the verbs with a real model and media."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_adsm

import avsearch
from avsearch import library
from avsearch.models.checkpoint import save_checkpoint
from indexer.errors import BadRequest, ForeignSpace, RefusedFile


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
    made, report = library.index_galleries([gallery], index=folder, model=str(model))
    assert made == folder
    assert (report.people, report.faces, report.voices, report.refused) == (2, 2, 2, [])
    return folder


def test_every_public_name_is_there():
    assert sorted(avsearch.__all__) == sorted(set(avsearch.__all__))
    for name in avsearch.__all__:
        assert getattr(avsearch, name) is not None
    assert set(dir(avsearch)) == {*avsearch.__all__, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = avsearch.nothing


def test_three_lines(place, gallery, model):
    path = min((gallery / "Actor_01").glob("*.ogg"))
    with avsearch.open_index(place) as index:
        searcher = avsearch.Searcher(index, avsearch.load_model(model))
        hits = searcher.search(avsearch.Media(path, "voice"), top=5)
        assert [hit.rank for hit in hits] == [1, 2]
        assert {hit.person for hit in hits} == {"Actor_01", "Actor_02"}
        whole = searcher.search(avsearch.Media(gallery / "Actor_01" / "face.png", "face"))
        assert {hit.modality for hit in whole} == {"voice"}
        with pytest.raises(RefusedFile, match="not a picture"):
            searcher.search(avsearch.Media(path, "face"))
        picture = gallery / "Actor_01" / "face.png"
        with pytest.raises(BadRequest, match="is not inside the picture"):
            searcher.search(avsearch.Media(picture, "face", box=avsearch.Box(0, 0, 9999, 9)))
        with pytest.raises(RefusedFile, match="the sound ends after"):
            searcher.search(avsearch.Media(path, "voice", 1.0, 500.0))


def test_the_command_line_and_python_give_the_same(place, gallery, model):
    path = min((gallery / "Actor_02").glob("*.ogg"))
    answer, name = library.ask(path, index=place, want="any", by="item")
    assert name == "adsm"
    with avsearch.open_index(place) as index:
        media = list(avsearch.MediaExtractor().extract(path))
        hits = avsearch.Searcher(index, avsearch.load_model(model)).search(
            media, want="any", by="item"
        )
    assert hits == answer.hits
    assert hits[0].path == path


def test_progress_is_told_from_none_to_all(gallery, model, tmp_path):
    told: list[tuple[int, int]] = []
    library.index_galleries(
        [gallery], index=tmp_path / "i", model=str(model), progress=lambda *at: told.append(at)
    )
    assert told == [(done, 4) for done in range(5)]


def test_another_model_changes_nothing(place, gallery, model, tmp_path):
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, "adsm", tiny_adsm(1), {})
    with pytest.raises(ForeignSpace):
        library.index_galleries([gallery], index=place, model=str(other))
    with avsearch.open_index(place) as index:
        assert index.notes()["model"] == str(model)


def test_a_rerun_with_nothing_to_embed_loads_no_torch(place, gallery):
    code = f"""if True:
        import sys
        from pathlib import Path
        from avsearch import library
        _, report = library.index_galleries([Path({str(gallery)!r})], index=Path({str(place)!r}))
        print(report.unchanged, report.added, "torch" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "4 0 False\n"


def test_a_model_that_comes_later_takes_what_is_new(place, gallery, tmp_path):
    index = shutil.copytree(place, tmp_path / "index")
    new = shutil.copytree(gallery, tmp_path / "again") / "Actor_03"
    shutil.copytree(gallery / "Actor_01", new)
    _, report = library.index_galleries([new.parent], index=index)
    assert (report.added, report.unchanged) == (6, 0)
    with avsearch.open_index(index) as opened:
        old, twin = (opened.vectors_of(key)[1] for key in ("Actor_01", "Actor_03"))
    apart = np.abs(twin[:, None] - old[None]).max(2)  # files are read side by side, in any order
    assert (apart.min(1) < 1e-5).all()
