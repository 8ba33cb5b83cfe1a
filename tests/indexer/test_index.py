from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from indexer.errors import BadRequest, ForeignSpace, IndexBusy, IndexDamaged, NoIndex
from indexer.index import Index
from indexer.ingest.ingest import ingest
from indexer.runtime.lock import only_writer
from indexer.search.vector_index import exact_scores, prepared
from tests.helpers.fakes import SPACE, FakeEmbedder, FakeExtractor, fake_vector
from tests.helpers.places import change, everything, fill

QUERY = fake_vector("a question")[None]


def answers(folder):
    with Index.open(folder) as index:
        return index.search(QUERY, 20).hits


# Opening


def test_no_index_says_what_to_do(tmp_path):
    with pytest.raises(NoIndex, match=r"no index in .*nowhere; make one with avsearch index"):
        Index.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_an_index_is_made_once(folder):
    Index.create(folder, SPACE).close()
    with pytest.raises(BadRequest, match="already"):
        Index.create(folder, SPACE)


def test_a_foreign_space_is_refused_with_both_names(folder):
    Index.create(folder, SPACE).close()
    other = dataclasses.replace(SPACE, model="other", weights_sha256="fedcba9876543210")
    with pytest.raises(ForeignSpace, match=r"made by fake \(0123.*other \(fedcba.*--model"):
        Index.open_or_create(folder, other)
    with Index.open_or_create(folder, SPACE) as index:
        assert index.space == SPACE


def test_notes_are_there_with_the_index_and_newer_ones_replace_them(folder):
    Index.create(folder, SPACE, notes={"model": "/a.safetensors"}).close()
    with Index.open(folder) as index:
        assert (index.revision, index.notes()) == (1, {"model": "/a.safetensors"})
    with Index.open_or_create(folder, SPACE, notes={"model": "/b", "faces": "whole"}) as index:
        assert index.notes() == {"model": "/b", "faces": "whole"}


def test_what_a_killed_creation_left_is_not_played_into_a_new_index(run, folder):
    run()
    with Index.open(folder) as index, index.catalog.write("index"):
        content = {p.name: p.read_bytes() for p in folder.glob("catalog.sqlite*")}
    (folder / "catalog.sqlite").unlink()
    for name, was in content.items():
        (folder / name.replace(".sqlite", ".new")).write_bytes(was)
        if name != "catalog.sqlite":
            (folder / name).write_bytes(was)
    with Index.create(folder, SPACE) as index:
        assert index.counts().files == 0
        assert index.verify() == []


def test_an_unwritable_place_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="choose another folder"):
        Index.create(tmp_path / "file" / "index", SPACE)


@pytest.mark.parametrize("damage", ["text", "empty", "short", "foreign", "version", "space"])
def test_a_damaged_catalog_is_named_and_left_unchanged(run, folder, damage):
    run()
    path = folder / "catalog.sqlite"
    if damage == "text":
        path.write_text("no database at all, but long enough to look at " * 100)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "short":
        path.write_bytes(path.read_bytes()[:6000])
    elif damage == "foreign":
        path.unlink()
        change(folder, "CREATE TABLE meta (a)")
    elif damage == "version":
        change(folder, "UPDATE alembic_version SET version_num = 'two'")
    else:
        change(folder, "UPDATE meta SET value = '[1]' WHERE key = 'space'")
    before = path.read_bytes()
    with pytest.raises(IndexDamaged, match=r"catalog\.sqlite"):
        Index.open(folder)
    assert path.read_bytes() == before


def test_importing_the_package_loads_no_faiss():
    code = (
        "import sys, indexer.ingest.ingest; "
        "sys.exit('faiss' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.getcwd())  # noqa: PTH109


# Searching


def test_search_answers_as_a_plain_loop_does(index):
    with index.catalog.read() as read:
        ids = read.owners()[0]
        vectors = read.vectors(ids)
    query = prepared(QUERY, "cosine")[0]
    scores = exact_scores(query, prepared(vectors, "cosine"), "cosine")
    expected = sorted(zip(-scores, ids, strict=True))[:4]
    hits = index.search(QUERY, 4).hits[0]
    assert [(item.id, score) for item, score in hits] == [(i, -s) for s, i in expected]


def test_an_item_says_all_that_is_known(index, gallery):
    hits = index.search(fake_vector("voice: ann two")[None], 1).hits[0]
    item, score = hits[0]
    assert score == pytest.approx(1)
    assert (item.path, item.modality) == (gallery / "ann/one.wav", "voice")
    assert (item.start_s, item.end_s, item.box) == (1.0, 2.0, None)
    assert (item.person.key, item.person.name) == ("ann", "Ann Archer")
    assert (item.person.gender, item.person.nationality) == ("f", "Ireland")
    assert item.person.attributes == {"club": "North"}


@pytest.mark.parametrize(
    ("where", "people"),
    [
        ({"gender": "MALE"}, {"bob", "cid"}),
        ({"gender": "f"}, {"ann"}),
        ({"nationality": "FRANCE", "gender": "m"}, {"bob", "cid"}),
        ({"club": "NORTH"}, {"ann", "bob"}),
        ({"person": "cid"}, {"cid"}),
        ({"nationality": "Fran"}, set()),
    ],
)
def test_where(index, where, people):
    hits = index.search(QUERY, 50, where=where).hits[0]
    assert {item.person.key for item, _ in hits} == people


def test_modality(index):
    voices = index.search(QUERY, 50, modality="voice").hits[0]
    assert [item.modality for item, _ in voices] == ["voice"] * 4
    assert len(index.search(QUERY, 50, modality="face").hits[0]) == 3


def test_an_unknown_column_lists_the_known_ones(index):
    with pytest.raises(BadRequest, match=r"'team'.*person, name, gender, nationality, club"):
        index.search(QUERY, 5, where={"team": "x"})


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        (QUERY, 0, "1 or more"),
        (QUERY[:, 1:], 5, "shape"),
        (QUERY[0], 5, "shape"),
        (QUERY * np.nan, 5, "not finite"),
    ],
)
def test_a_wrong_question(index, query, k, message):
    with pytest.raises(BadRequest, match=message):
        index.search(query, k)


@pytest.fixture
def years(folder, tmp_path):
    """An index of people with numbers and flags in their columns."""
    rows = ["ann,1985,2,True,1.5", "bob,1990,2.0,false,1.75", "cid,,x,,"]
    table = "person,year,size,here,height\n" + "".join(f"{row}\n" for row in rows)
    gallery = fill(
        tmp_path / "g", {f"{who}/x.wav": f"voice: {who}" for who in ("ann", "bob", "cid")}
    )
    fill(gallery, {"people.csv": table})
    with Index.create(folder, SPACE) as index:
        ingest(index, gallery, FakeExtractor(), FakeEmbedder())
        yield index


@pytest.mark.parametrize(
    ("where", "people"),
    [
        ({"year": 1985}, {"ann"}),
        ({"year": 1985.0}, {"ann"}),
        ({"year": np.int16(1990)}, {"bob"}),
        ({"year": "1985"}, {"ann"}),
        ({"Year": " 1985.0 "}, {"ann"}),
        ({"size": 2}, {"ann", "bob"}),
        ({"size": 2.0}, {"ann", "bob"}),
        ({"size": "2"}, {"ann", "bob"}),
        ({"here": True}, {"ann"}),
        ({"here": np.False_}, {"bob"}),
        ({"here": "TRUE"}, {"ann"}),
        ({"height": 1.5}, {"ann"}),
        ({"height": np.float32(1.75)}, {"bob"}),
        ({"height": np.float64(1.75)}, {"bob"}),
        ({"person": np.str_("ann"), "year": 1985}, {"ann"}),
        ({"year": 7}, set()),
        ({}, {"ann", "bob", "cid"}),
        (None, {"ann", "bob", "cid"}),
    ],
)
def test_values_of_a_filter_are_compared_as_text(years, where, people):
    found = years.search(QUERY, 9, where=where).hits[0]
    assert {item.person.key for item, _ in found} == people
    assert years.count_people(where=where) == len(people)


@pytest.mark.parametrize(
    "value",
    [
        *(None, [], ["1985", "1990"], {"1985"}, (1985,), b"1985", float("nan"), float("inf")),
        *(object(), 1j, np.array([1985]), np.datetime64("1985-01-01"), np.float32("nan")),
    ],
    ids=repr,
)
def test_a_value_that_no_column_can_have_is_refused_by_column(years, value):
    for ask in (
        lambda where: years.search(QUERY, 5, where=where),
        lambda w: years.count_people(where=w),
    ):
        with pytest.raises(
            BadRequest, match=r"'year' to be .* one text, one number, True or False"
        ):
            ask({"year": value})


@pytest.mark.parametrize("where", [["year"], "year=1985", [("year", 1985)], {1985: "year"}, 7])
def test_a_filter_that_is_no_mapping_is_refused(years, where):
    with pytest.raises(BadRequest, match="a mapping of columns to values"):
        years.search(QUERY, 5, where=where)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"modality": "faces"}, "modality is 'faces'; it must be face or voice"),
        ({"modality": "Face"}, "modality is 'Face'"),
        ({"modality": "any"}, "modality is 'any'"),
        ({"modality": ["face"]}, "modality is"),
        ({"by": "people"}, "by is 'people'; it must be item or person"),
        ({"by": None}, "by is None"),
        ({"k": "3"}, "number of answers is '3'; ask for 1 or more, in a whole number"),
        ({"k": 2.5}, "is 2.5; ask for 1"),
        ({"k": 3.0}, "is 3.0; ask for 1"),
        ({"k": True}, "is True; ask for 1"),
        ({"k": None}, "is None; ask for 1"),
        ({"k": np.array([3, 4])}, "ask for 1"),
        ({"vectors": "a"}, "no array of numbers"),
        ({"vectors": [["a"] * 16]}, "no array of numbers"),
    ],
)
def test_a_wrong_argument_says_what_is_allowed(index, options, words):
    with pytest.raises(BadRequest, match=words):
        index.search(**{"vectors": QUERY, "k": 5, **options})


def test_numbers_of_numpy_are_numbers(index):
    assert len(index.search(QUERY.tolist(), np.int32(3)).hits[0]) == 3


def test_unknown_names_of_groupings_and_metrics_are_rejected(index, tmp_path):
    for ask in (index.vectors_of, index.items_of):
        with pytest.raises(BadRequest, match="modality is 'faces'"):
            ask("ann", "faces")
    with pytest.raises(BadRequest, match="metric is 'cosin'; it must be cosine or l2"):
        Index.create(tmp_path / "new", dataclasses.replace(SPACE, metric="cosin"))


def test_an_empty_index_has_no_answers(folder):
    with Index.create(folder, SPACE) as index:
        for by in ("item", "person"):
            assert index.search(QUERY, 5, by=by).hits == [[]]
            assert index.search(QUERY[:0], 5, by=by).hits == []
            assert index.search(QUERY, 5, by=by, modality="face").hits == [[]]
        assert index.verify() == []


def test_by_person_finds_k_people_however_many_items_one_has(tmp_path, folder):
    rng = np.random.default_rng(0)
    counts = [300, 1, 40, 2, 2, 1, 90, 5]
    files = {
        f"p{p}/x.wav": "".join(
            f"voice: {rng.integers(50)} {p if p else 'near'}\n" for _ in range(n)
        )
        for p, n in enumerate(counts)
    }
    gallery = fill(tmp_path / "many", files)
    with Index.create(folder, SPACE) as index:
        ingest(index, gallery, FakeExtractor(), FakeEmbedder())
        queries = np.stack([fake_vector(f"voice: {n} near") for n in range(6)])
        for k in (1, 3, 8, 20):
            every = index.search(queries, sum(counts)).hits
            for ranked, best in zip(every, index.search(queries, k, by="person").hits, strict=True):
                seen = {}
                for item, score in ranked:
                    seen.setdefault(item.person.key, (item, score))
                assert best == list(seen.values())[:k]


# People


def test_an_unknown_person_is_answered_with_the_nearest(index):
    assert index.person("bob").name == "Bob Baker"
    with pytest.raises(BadRequest, match="did you mean bob"):
        index.person("bobb")
    with pytest.raises(BadRequest, match="'zzz'"):
        index.vectors_of("zzz", "face")
    assert [who.key for who in index.people()] == ["ann", "bob", "cid"]


def test_vectors_of_a_person_are_those_the_model_made(index):
    ids, vectors = index.vectors_of("ann", "voice")
    expected = [fake_vector("voice: ann one"), fake_vector("voice: ann two")]
    np.testing.assert_array_equal(vectors, expected)
    assert len(ids) == 2
    assert len(index.vectors_of("ann")[0]) == 3


# The cache


@pytest.mark.parametrize(
    "damage", ["cut", "flip", "gone", "no manifest", "manifest", "digit", "list", "behind"]
)
def test_an_unfit_cache_is_rebuilt(run, folder, gallery, damage):
    run()
    manifest = folder / "cache/stamp.json"
    if damage == "behind":
        old = everything(folder / "cache")
        (gallery / "bob/talk.wav").unlink()
        fill(gallery, {"cid/new.wav": "voice: cid new"})
        run(prune=True)
    expected = answers(folder)
    vectors = next(folder.glob("cache/segment-*"))
    content = bytearray(vectors.read_bytes())
    if damage == "cut":
        vectors.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[len(content) // 2] ^= 4
        vectors.write_bytes(content)
    elif damage == "gone":
        vectors.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "manifest":
        manifest.write_text(manifest.read_text()[:40])
    elif damage == "digit":
        manifest.write_text(re.sub(r'"error": 0\.', '"error": 0.0', manifest.read_text()))
    elif damage == "list":
        manifest.write_text("[]")
    else:
        for path, was in old.items():
            path.write_bytes(was)
    assert answers(folder) == expected
    fields = json.loads(manifest.read_text())
    with Index.open(folder) as index:
        assert fields["revision"]["number"] == index.revision
        assert fields["count"] == 7
        assert index.verify() == []


def test_a_cache_of_another_history_is_not_believed(run, folder, gallery):
    run()
    backup = (folder / "catalog.sqlite").read_bytes()
    fill(gallery, {"ann/one.wav": "voice: first history"})
    run()
    cache = everything(folder / "cache")
    (folder / "catalog.sqlite").write_bytes(backup)
    fill(gallery, {"ann/one.wav": "voice: the second history"})
    run()
    expected = answers(folder)
    for path, was in cache.items():
        path.write_bytes(was)
    with Index.open(folder) as index:
        assert "another catalog" in " ".join(index.verify())
    assert answers(folder) == expected


def test_an_open_index_sees_what_was_written_since(run, folder, gallery):
    run()
    with Index.open(folder) as index:
        index.search(QUERY, 1)
        fill(gallery, {"cid/new.wav": "voice: brand new"})
        run()
        item, _ = index.search(fake_vector("voice: brand new")[None], 1).hits[0][0]
        assert item.path.name == "new.wav"


def test_a_reader_sees_one_revision_while_another_is_written(index, gallery):
    with index.catalog.read() as read:
        before = read.revision()
        with index.catalog.write("index") as write:
            write.remove_files([gallery / "bob/talk.wav"])
        assert read.revision() == before
        assert read.counts().voices == 4
    assert index.counts().voices == 3


def test_a_write_that_fails_leaves_nothing(index, gallery):
    before = index.revision

    def fail():
        with index.catalog.write("index") as write:
            write.remove_files([gallery / "bob/talk.wav"])
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fail()
    assert index.revision == before
    assert index.counts().voices == 4


# The lock


def test_a_second_writer_hears_who_the_first_is(index, folder, gallery):
    with only_writer(folder):
        for write in (
            lambda: index.forget("ann"),
            lambda: ingest(index, gallery, FakeExtractor(), FakeEmbedder()),
        ):
            with pytest.raises(IndexBusy, match=rf"process {os.getpid()} on \S+ since \d{{4}}-"):
                write()
        assert index.search(QUERY, 1).hits[0]
    assert index.forget("ann").clean


def test_totals_and_refusals_are_found_without_reading_rows_of_items(folder):
    statements = []
    with Index.create(folder, SPACE) as index, index.catalog.read() as read:
        read._driver.set_trace_callback(statements.append)
        read.counts()
        read.refused()
        read._driver.set_trace_callback(None)
    with contextlib.closing(sqlite3.connect(folder / "catalog.sqlite")) as connection:
        steps = [
            step[3]
            for statement in map(str.strip, statements)
            if statement.startswith("SELECT")
            for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
    scans = sorted(step for step in steps if step.startswith("SCAN"))
    assert {step.split(" ", 3)[3].removeprefix("COVERING ") for step in scans} == {
        "INDEX ix_file_gallery", "INDEX ix_file_refused",
        "INDEX ix_item_owner", "INDEX ix_source_refused",
    }  # fmt: skip
    assert "SCAN item USING COVERING INDEX ix_item_owner" in scans
