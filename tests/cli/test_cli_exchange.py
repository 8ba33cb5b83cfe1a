"""avsearch export and import, and their way through Parquet."""

from __future__ import annotations

import json

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def out(run, indexed, tmp_path):
    path = tmp_path / "out.parquet"
    facts = json.loads(run("export", path, "--index", indexed, "--json").stdout)
    assert facts == {"file": str(path), "people": 3, "faces": 3, "voices": 5, "files": 7}
    return path


def test_an_export_is_imported_and_answers_the_same(run, ask, out, voice, tmp_path):
    facts = json.loads(run("import", out, "--index", tmp_path / "copy", "--json").stdout)
    assert facts == {
        "index": str(tmp_path / "copy"),
        "people": 3,
        "faces": 3,
        "voices": 5,
        "files": 7,
        "replaced": 0,
        "notes": [],
    }
    found = json.loads(run("query", voice, "--index", tmp_path / "copy", "--json").stdout)
    assert found == ask(voice)
    assert run("verify", "--index", tmp_path / "copy").exit_code == 0


def test_both_say_what_they_did(run, out, indexed, tmp_path):
    result = run("export", out, "--index", indexed)
    assert result.stdout == f"{out} has 3 people, 3 faces and 5 voices of 7 files.\n"
    for replaced in (0, 7):
        result = run("import", out, "--index", tmp_path / "copy")
        assert result.stdout == (
            "Took 3 people, 3 faces and 5 voices of 7 files into "
            f"{tmp_path / 'copy'}; {replaced} files were replaced.\n"
        )


def vectors(path, dim):
    rows = {"person": ["ann", "bob"], "modality": ["face", "voice"]}
    pq.write_table(pa.table({**rows, "vector": np.eye(2, dim).tolist()}), path)
    return path


def test_vectors_of_a_model_are_asked_with_it(run, voice, model, tmp_path):
    path = vectors(tmp_path / "v.parquet", 16)
    without = run("import", path)
    assert without.exit_code == 2
    assert "does not say which model made its vectors; name it with --model" in without.stderr
    assert run("import", path, "--model", model).exit_code == 0
    answer = json.loads(run("query", voice, "--json").stdout)
    assert [hit["person"] for hit in answer["hits"]] == ["ann"]
    assert run("import", path, "--space", "mine").exit_code == 4


def test_vectors_of_a_model_of_ones_own(run, voice, tmp_path):
    path = vectors(tmp_path / "v.parquet", 5)
    assert run("import", path, "--space", "mine", "--metric", "l2").exit_code == 0
    facts = json.loads(run("info", "--json").stdout)["space"]
    assert facts == {"model": "mine", "weights_sha256": "unknown", "dim": 5, "metric": "l2"}
    answer = json.loads(run("query", "--person", "ann", "--want", "voice", "--json").stdout)
    assert [hit["person"] for hit in answer["hits"]] == ["bob"]
    result = run("query", voice)
    assert result.exit_code == 4
    assert "was made by mine (unknown, 5-d, l2)" in result.stderr
    both = run("import", path, "--space", "mine", "--model", "adsm")
    assert both.exit_code == 2
    assert "name one of the two" in both.stderr


@pytest.mark.parametrize("verb", ["export", "import"])
def test_what_is_in_the_way_is_said(run, indexed, tmp_path, verb):
    (tmp_path / "a.csv").write_text("person,name\n")
    result = run(verb, tmp_path / "a.csv", "--index", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a.csv" in result.stderr
    assert (tmp_path / "a.csv").read_text() == "person,name\n"
