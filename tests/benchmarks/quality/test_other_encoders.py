from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality import other_encoders
from indexer.errors import BadRequest
from trainer.data.features import read_feature_file


@pytest.fixture
def media(tmp_path):
    """Two voices whose vectors a stand-in makes of their bytes."""
    named = {f"{who}/1.flac": tmp_path / f"{who}.flac" for who in ("ann", "bob")}
    for at, path in enumerate(named.values()):
        path.write_bytes(bytes([at + 1, 7]))
    return named


@pytest.fixture
def loaded(monkeypatch):
    """A teacher that is there; how often it was loaded."""
    times = []

    def load():
        times.append(1)
        return lambda path: np.frombuffer(path.read_bytes(), np.uint8).astype(np.float32)

    monkeypatch.setattr(other_encoders, "_ENCODERS", {"Resemblyzer": ("voice", load)})
    monkeypatch.setattr(other_encoders, "_NEEDS", {"Resemblyzer": {"json": "json"}})
    return times


def test_vectors_of_a_teacher_are_a_feature_file_by_the_lists_names(media, loaded, tmp_path):
    path = other_encoders.write_features("Resemblyzer", media, tmp_path / "features")
    table = read_feature_file(path)["voice"]
    np.testing.assert_array_equal(table.values, [[1, 7], [2, 7]])
    assert list(table.paths) == ["ann/1.flac", "bob/1.flac"]
    assert list(table.people) == ["ann", "bob"]


def test_vectors_are_computed_again_where_a_file_changed_and_only_there(media, loaded, tmp_path):
    first = other_encoders.write_features("Resemblyzer", media, tmp_path)
    assert other_encoders.write_features("Resemblyzer", media, tmp_path) == first
    assert len(loaded) == 1
    media["bob/1.flac"].write_bytes(bytes([9, 9]))
    second = other_encoders.write_features("Resemblyzer", media, tmp_path)
    assert second != first
    np.testing.assert_array_equal(read_feature_file(second)["voice"].values[1], [9, 9])


def test_a_teacher_that_is_not_installed_is_named_with_how_to_install_it(
    media, monkeypatch, tmp_path
):
    monkeypatch.setattr(other_encoders, "_NEEDS", {"dlib": {"json": "json", "no_such": "this-one"}})
    with pytest.raises(BadRequest, match=r"dlib needs no_such.*pip install this-one\.$"):
        other_encoders.write_features("dlib", media, tmp_path)
    assert list(tmp_path.glob("*.safetensors")) == []
