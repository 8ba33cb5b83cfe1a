"""avsearch info, verify and forget, and an index that is damaged."""

from __future__ import annotations

import json
import sqlite3

import pytest

from indexer import approximate


def test_info_says_what_there_is(run, indexed):
    result = run("info", "--index", indexed, "--json")
    facts = json.loads(result.stdout)
    assert (facts["people"], facts["faces"], facts["voices"], facts["files"]) == (3, 3, 5, 7)
    assert facts["index"] == str(indexed / ".avsearch")
    assert facts["model"] == facts["space"]["model"] == "adsm"
    assert len(facts["space"]["weights_sha256"]) == 64
    assert facts["refused"] == []
    assert facts["bytes"] > 11 * 16 * 4
    words = run("info", "--index", indexed).stdout
    assert "people    3\n" in words
    assert "7, and 0 refused" in words


def test_verify_says_clean(run, indexed):
    result = run("verify", "--index", indexed)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{indexed / '.avsearch'} is clean.\n"
    facts = json.loads(run("verify", "--index", indexed, "--json").stdout)
    assert facts == {"index": str(indexed / ".avsearch"), "clean": True, "problems": []}


@pytest.mark.parametrize("verb", ["info", "verify"])
def test_a_name_cannot_break_a_line(run, copy_of_index, verb):
    odd = copy_of_index.rename(copy_of_index.with_name("two\nlines"))
    result = run(verb, "--index", odd)
    assert result.exit_code == 0
    assert "two\\nlines" in result.stdout
    assert "lines" not in [line[:5] for line in result.stdout.splitlines()]


def test_forget_leaves_nothing_and_proves_it(run, copy_of_index):
    index = ("--index", copy_of_index)
    held = b"".join(path.read_bytes() for path in copy_of_index.rglob("*") if path.is_file())
    assert b"Actor_02" in held
    assert b"Bea Two" in held
    receipt = json.loads(run("forget", "Actor_02", *index, "--json").stdout)
    assert receipt.keys() == {
        *("person", "items", "files", "bytes_searched", "clean", "leftovers", "skipped"),
        "backups",
    }
    assert (receipt["person"], receipt["items"], receipt["files"]) == ("Actor_02", 3, 3)
    assert (receipt["clean"], receipt["leftovers"], receipt["skipped"]) == (True, [], [])
    assert receipt["bytes_searched"] > 0
    files = [path.read_bytes() for path in copy_of_index.rglob("*") if path.is_file()]
    assert not any(b"Actor_02" in content or b"Bea Two" in content for content in files)
    assert run("verify", *index).exit_code == 0
    (kept,) = json.loads(run("info", *index, "--json").stdout)["forgotten"]
    assert (kept["items"], kept["files"], kept["clean"]) == (3, 3, True)
    assert "forgotten 1, the last on 2" in run("info", *index).stdout
    again = run("forget", "Actor_02", *index)
    assert again.exit_code == 2
    assert "There is no 'Actor_02' in this index" in again.stderr
    answer = json.loads(run("query", "--person", "Actor_01", *index, "--json").stdout)
    assert {hit["person"] for hit in answer["hits"]} == {"Actor_01", "bbaf2n"}


def test_forget_in_words(run, copy_of_index):
    result = run("forget", "Actor_01", "--index", copy_of_index)
    assert result.exit_code == 0
    assert result.stdout.startswith("Actor_01 is forgotten: 3 items of 3 files.")
    assert "Nothing of them is left." in result.stdout


def test_a_trace_outside_of_the_catalog_is_a_failure(run, copy_of_index):
    (copy_of_index / "notes.txt").write_text("I met Actor_01 today")
    result = run("forget", "Actor_01", "--index", copy_of_index, "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["clean"] is False
    assert "notes.txt still holds the text 'Actor_01'" in result.stderr


@pytest.mark.parametrize("verb", ["info", "verify", "forget", "query"])
@pytest.mark.parametrize("place", ["missing", "empty", "file"])
def test_where_there_is_no_index_it_is_said(run, tmp_path, verb, place):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    person = {"forget": ["ann"], "query": ["--person", "ann"]}.get(verb, [])
    result = run(verb, *person, "--index", tmp_path / place)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "There is no index in" in result.stderr


def cut(catalog):
    catalog.write_bytes(catalog.read_bytes()[: catalog.stat().st_size // 2])


def scribble(catalog):
    catalog.write_bytes(b"SQLite? No.")


def empty(catalog):
    catalog.write_bytes(b"")


def other_tables(catalog):
    catalog.unlink()
    with sqlite3.connect(catalog) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()


def holes(catalog):
    content = bytearray(catalog.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    catalog.write_bytes(content)


@pytest.mark.parametrize("harm", [cut, scribble, empty, other_tables, holes])
@pytest.mark.parametrize("verb", ["info", "verify", "forget", "query", "index"])
def test_a_damaged_catalog_is_exit_4(run, gallery, copy_of_index, model, harm, verb):
    harm(copy_of_index / "catalog.sqlite")
    arguments = {
        "forget": ["Actor_01"],
        "query": ["--person", "Actor_01"],
        "index": [gallery, "--model", model],
    }
    result = run(verb, *arguments.get(verb, []), "--index", copy_of_index)
    assert result.exit_code == 4, result.output
    assert result.stderr.startswith("avsearch: ")


def test_a_wrong_vector_is_found(run, copy_of_index):
    with sqlite3.connect(copy_of_index / "catalog.sqlite") as connection:
        connection.execute("UPDATE item SET vector = zeroblob(7) WHERE id = 3")
    connection.close()
    result = run("verify", "--index", copy_of_index, "--json")
    assert result.exit_code == 4
    facts = json.loads(result.stdout)
    assert facts["clean"] is False
    assert any("vector of item 3" in problem for problem in facts["problems"])


def test_a_damaged_cache_harms_no_answer(run, indexed, copy_of_index, caplog):
    asked = ("query", "--person", "Actor_01", "--json")
    expected = json.loads(run(*asked, "--index", indexed).stdout)["hits"]
    (segment,) = copy_of_index.glob("cache/segment-*")
    segment.write_bytes(b"no vectors")
    assert run("verify", "--index", copy_of_index).exit_code == 4
    assert json.loads(run(*asked, "--index", copy_of_index).stdout)["hits"] == expected
    assert run("verify", "--index", copy_of_index).exit_code == 0


def test_an_approximate_index_is_made_asked_and_measured(run, gallery, copy_of_index, monkeypatch):
    monkeypatch.setattr(approximate, "DEEPEST", 100)  # or so few items are searched exactly
    at = ("--index", copy_of_index)
    for verb in (("info", "--recall"), ("query", "--person", "Actor_01", "--approximate")):
        refused = run(*verb, *at)
        assert refused.exit_code == 2
        assert "no approximate one; make it with" in refused.stderr
    assert run("index", gallery, *at, "--approximate", "hnsw").exit_code == 0
    facts = json.loads(run("info", *at, "--recall", "--json").stdout)
    assert facts["approximate"] == "hnsw"
    assert facts["recall"].keys() == {
        *("kind", "asked", "k", "recall", "exact_ms", "approximate_ms"),
    }
    assert (facts["recall"]["kind"], facts["recall"]["recall"]) == ("hnsw", 1)
    assert "recall    1.000 of the 7 nearest by hnsw" in run("info", *at, "--recall").stdout
    query = ("query", "--person", "Actor_01", "--top", "2", *at, "--json")
    exact, near = (json.loads(run(*query, *how).stdout) for how in ((), ("--approximate",)))
    assert (exact.pop("plan")["kind"], near.pop("plan")["kind"]) == ("selector", "hnsw")
    assert exact == near
    assert run("index", gallery, *at, "--approximate", "none").exit_code == 0
    assert json.loads(run("info", *at, "--json").stdout)["approximate"] == "none"
