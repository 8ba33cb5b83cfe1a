from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import json
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from indexer.catalog import writer
from indexer.errors import BadRequest, ForeignSpace, IndexDamaged
from indexer.exchange.exchange import export_index, import_file, vector_size
from indexer.index import Index
from indexer.ingest.scan import scan
from indexer.records import FileRecord, NewItem, Person, Stat
from indexer.tables import parquet
from indexer.types import Box
from indexer.unicode_names import cleaned
from tests.helpers.fakes import DIM, SPACE, FakeExtractor, fake_vector
from tests.helpers.places import fill

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def _few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP_ROWS", (3, 3))
    monkeypatch.setattr(writer, "ROWS", 2)


QUESTIONS = {
    "notes": "SELECT key, value FROM meta ORDER BY key",
    "people": "SELECT key, name, gender, nationality, attributes FROM person ORDER BY key",
    "files": "SELECT path, gallery, size, mtime_ns, sha256, settings, status, reason, lasting, "
    "notes FROM file ORDER BY path",
    "sources": "SELECT path, key, modality, start_s, end_s FROM source JOIN file "
    "ON file.id = file_id LEFT JOIN person ON person.id = person_id",
    "items": "SELECT path, key, modality, start_s, end_s, box, vector FROM item JOIN file "
    "ON file.id = file_id JOIN person ON person.id = person_id ORDER BY item.id",
}


def content(folder: Path) -> dict[str, object]:
    """Return the content of a catalog without row numbers; items in their order."""
    with contextlib.closing(sqlite3.connect(folder / "catalog.sqlite")) as connection:
        held = {name: connection.execute(asked).fetchall() for name, asked in QUESTIONS.items()}
    held["sources"] = Counter(held["sources"])
    held["people"] = [(*row[:4], json.loads(row[4])) for row in held["people"]]
    return held


def write(path: Path, /, **named) -> Path:
    pq.write_table(pa.table(named), path)
    return path


def rows_of(people: list[str], modality: str = "face") -> dict[str, list]:
    vectors = [fake_vector(f"{who} {at}").tolist() for at, who in enumerate(people)]
    return {"person": people, "modality": [modality] * len(people), "vector": vectors}


# A whole index out and in


def exported(folder: Path, path: Path) -> Path:
    with Index.open(folder) as index:
        export_index(index, path)
    return path


def test_an_import_into_an_empty_place_gives_an_equal_index(run, gallery, folder, tmp_path):
    fill(gallery, {"cid/bad.jpg": "refuse: it is bad.", "bob/later.wav": "later: it is locked."})
    fill(gallery, {"cid/noted.wav": "voice: cid\nnote: one thing\nnote: another\n"})
    (gallery / "people.csv").write_text("person,name,path,attributes.x\nann,Ann,a,\nbob,,b,c\n")
    (gallery / "list.csv").write_text(
        "path,person,modality,start_s,end_s,mood\n"
        "ann/one.wav,ann,voice,0,1.5,\nann/one.wav,dee,,1.5,,sad\n"
    )
    run()
    listed = scan(gallery, FakeExtractor().kind, manifest=gallery / "list.csv")
    run(listed)
    with Index.open(folder) as index:
        index.note({"model": "/a.safetensors", "faces": "whole"})
        done = export_index(index, tmp_path / "out.parquet")
        counts = index.counts()
    assert (done.people, done.faces, done.voices) == (counts.people, counts.faces, counts.voices)
    assert done.files == counts.files + counts.refused
    taken = import_file(tmp_path / "out.parquet", tmp_path / "copy")
    assert (taken.faces, taken.voices, taken.files) == (done.faces, done.voices, done.files)
    assert taken.replaced == 0
    held = content(folder)
    assert content(tmp_path / "copy") == held
    assert len(held["items"]) == done.faces + done.voices > 5
    assert {row[6] for row in held["files"]} == {"ok", "refused"}
    assert {row[-1] for row in held["files"]} == {None, "one thing\nanother"}


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
TIMES = st.floats(0, 1e6)
KEYS = st.sampled_from(["ann", "bob", "Zoë 3"])
BOXES = st.none() | st.builds(Box, *[st.floats(-1e9, 1e9)] * 4)


@st.composite
def items(draw):
    start = draw(TIMES)
    end = draw(st.none() | st.floats(start, 2e6))
    vector = np.array(draw(st.lists(st.floats(-1e30, 1e30), min_size=DIM, max_size=DIM)), "f4")
    return NewItem(
        draw(KEYS), draw(st.sampled_from(["face", "voice"])), start, end, draw(BOXES), vector
    )


@st.composite
def files(draw, name: str):
    taken = draw(st.lists(items(), max_size=4))
    spans = st.tuples(
        KEYS, st.sampled_from([None, "face", "voice"]), TIMES, st.none() | st.just(2e6)
    )
    asked = draw(st.frozensets(spans, max_size=3)) | {
        (new.person, None, 0.0, None) for new in taken
    }
    record = FileRecord(
        path=Path("/g") / f"{name}{draw(TEXT)}".replace("/", "-").replace(".", "-"),
        gallery=Path("/g"),
        stat=Stat(draw(st.integers(0, 2**62)), draw(st.integers(-(2**62), 2**62))),
        sha256=draw(st.sampled_from(["", "ab"])),
        settings=draw(TEXT),
        source_keys=asked,
        reason=None if taken else draw(TEXT),
        permanent=draw(st.booleans()),
        notes=draw(st.sampled_from([(), ("one",), ("one", "two")])) if taken else (),
    )
    return record, taken


CELL = TEXT.map(cleaned).filter(bool)  # as every cell is that comes in
PEOPLE = st.dictionaries(st.sampled_from(["name", "gender", "path", "club", "attributes."]), CELL)


@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
@given(st.tuples(*(files(name) for name in "abcde")), st.fixed_dictionaries({"ann": PEOPLE}))
@example((), {"ann": {"gender": "x\ry"}})
def test_any_catalog_comes_back_as_it_was(tmp_path_factory, written, said):
    place = tmp_path_factory.mktemp("any")
    people = {key: Person.from_cells({**cells, "person": key}) for key, cells in said.items()}
    with Index.create(place / "index", SPACE) as index:
        with index.writing() as catalog, catalog.write("index") as writing:
            writing.put_files(written, people)
        export_index(index, place / "out.parquet")
    import_file(place / "out.parquet", place / "copy")
    assert content(place / "copy") == content(place / "index")


def test_answers_are_the_same_after_the_round_trip(index, folder, tmp_path):
    import_file(exported(folder, tmp_path / "out.parquet"), tmp_path / "copy")
    query = fake_vector("a question")[None]
    with Index.open(tmp_path / "copy") as copy:
        expected = index.search(query, 20, where={"gender": "f"}).hits[0]
        found = copy.search(query, 20, where={"gender": "f"}).hits[0]
        assert copy.verify() == []
    plain = [(item.person, item.path, item.start_s, score) for item, score in expected]
    assert [(item.person, item.path, item.start_s, score) for item, score in found] == plain
    assert len(plain) == 3


def test_a_rerun_over_an_imported_index_finds_nothing_to_do(run, gallery, folder, tmp_path):
    first = run()
    exported(folder, tmp_path / "out.parquet")
    for path in (folder / "catalog.sqlite", folder / "cache"):
        path.rename(tmp_path / f"old-{path.name}")
    import_file(tmp_path / "out.parquet", folder)
    again = run()
    assert (again.added, again.updated, again.unchanged) == (0, 0, first.added)


def test_an_empty_index_goes_out_and_in(folder, tmp_path):
    Index.create(folder, SPACE).close()
    path = exported(folder, tmp_path / "out.parquet")
    assert import_file(path, tmp_path / "copy").files == 0
    assert content(tmp_path / "copy") == content(folder)


def test_pandas_and_others_see_plain_columns(index, folder, tmp_path):
    table = pq.read_table(exported(folder, tmp_path / "out.parquet"))
    assert table.column_names == [*parquet.COLUMNS, "club"]
    rows = [row for row in table.to_pylist() if row["vector"] is not None]
    with index.catalog.read() as read:
        ids = read.owners()[0]
        held = read.vectors(ids)
        owners = [item.person for item in read.items(ids).values()]
    assert np.array_equal(np.array([row["vector"] for row in rows], np.float32), held)
    assert [row["person"] for row in rows] == [who.key for who in owners]
    assert [row["club"] for row in rows] == [who.attributes.get("club") for who in owners]
    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.num_row_groups > 3


# Writing


def test_an_export_replaces_an_earlier_one_and_nothing_else(index, folder, tmp_path):
    path = tmp_path / "out.parquet"
    first = exported(folder, path).read_bytes()
    assert exported(folder, path).read_bytes() == first
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(BadRequest, match=r"letter\.txt is there and no Parquet file; choose"):
        exported(folder, tmp_path / "letter.txt")
    with pytest.raises(BadRequest, match="is there and no Parquet file"):
        exported(folder, tmp_path)
    with pytest.raises(BadRequest, match=r"There is no folder .*nowhere; make it first"):
        exported(folder, tmp_path / "nowhere" / "out.parquet")
    assert (tmp_path / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize("name", ["out.csv", "out.json", "out.npz", "out.parquet.gz"])
def test_an_export_under_the_name_of_another_format_is_refused(index, tmp_path, name):
    words = rf"{name} ends in .*, and an index is written as Parquet; name it .*\.parquet\."
    with pytest.raises(BadRequest, match=words):
        export_index(index, tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["out.PARQUET", "out.pq", "out"])
def test_an_export_is_named_as_parquet_is(index, folder, tmp_path, name):
    assert exported(folder, tmp_path / name).read_bytes().startswith(b"PAR1")


def test_an_export_leaves_other_files_and_links_as_they_are(index, folder, tmp_path):
    path = tmp_path / "out.parquet"
    mine = tmp_path / "out.parquet.partial"
    mine.write_text("mine")
    (tmp_path / "link.parquet").symlink_to(path)
    first = exported(folder, path).read_bytes()
    path.write_bytes(b"")
    exported(folder, tmp_path / "link.parquet")
    assert (tmp_path / "link.parquet").is_symlink()
    assert (path.read_bytes(), mine.read_text()) == (first, "mine")


def test_a_name_that_pyarrow_cannot_open_is_rejected(index, folder, tmp_path):
    path = tmp_path / "e\udcff.parquet"
    with pytest.raises(BadRequest, match="not UTF-8; rename it"):
        exported(folder, path)
    with pytest.raises(BadRequest, match="not UTF-8; rename it"):
        import_file(path, folder)


def test_an_export_that_fails_leaves_what_was_there(index, folder, tmp_path):
    path = exported(folder, tmp_path / "out.parquet")
    before = path.read_bytes()
    with index.catalog.write("harm") as writing:
        writing._connection.exec_driver_sql("UPDATE item SET vector = x'00' WHERE id = 5")
    with pytest.raises(IndexDamaged, match="the vector of item 5 has 1 bytes"):
        exported(folder, path)
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == ["out.parquet"]


# Vectors of other tools


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.list_(pa.float64(), DIM), pa.large_list(pa.float16())],
    ids=str,
)
def test_three_columns_of_another_tool_are_enough(tmp_path, kind):
    rows = rows_of(["ann", "bob", "ann", "cid"])
    halves = [[float(np.float16(x)) for x in vector] for vector in rows["vector"]]
    rows["vector"] = pa.array(np.array(halves, np.float16).tolist(), pa.list_(pa.float64()))
    rows["vector"] = rows["vector"].cast(kind)
    rows["person"] = pa.array(rows["person"]).dictionary_encode()
    path = write(tmp_path / "v.parquet", **rows)
    assert vector_size(path) == DIM
    done = import_file(path, tmp_path / "i", space=SPACE, notes={"model": "m"})
    assert (done.people, done.faces, done.voices, done.files) == (3, 4, 0, 1)
    with Index.open(tmp_path / "i") as index:
        assert index.notes() == {"model": "m"}
        assert index.verify() == []
        ids, vectors = index.vectors_of("ann")
        assert np.array_equal(vectors, np.array(halves, np.float32)[[0, 2]])
        found = index.search(vectors[:1], 1).hits[0][0][0]
    assert (found.id, found.path) == (ids[0], path)


def test_paths_times_boxes_and_people_of_another_tool(tmp_path):
    rows = rows_of(["ann", "ann", "bob"], "voice")
    rows |= {
        "path": ["b/../a.wav", "/far/b.wav", "a.wav"],
        "start_s": [1, None, 0],
        "end_s": [2, None, 3],
        "box": [[0, 1, 2.5, 3], None, None],
        "gender": ["Female", "", None],
        "age": [30, None, None],
    }
    done = import_file(write(tmp_path / "v.parquet", **rows), tmp_path / "i", space=SPACE)
    assert done.files == 2
    held = content(tmp_path / "i")
    a, b = str(tmp_path / "a.wav"), "/far/b.wav"
    assert [row[:6] for row in held["items"]] == [
        (a, "ann", "voice", 1.0, 2.0, "[0.0, 1.0, 2.5, 3.0]"),
        (b, "ann", "voice", 0.0, None, None),
        (a, "bob", "voice", 0.0, 3.0, None),
    ]
    assert held["people"] == [
        ("ann", None, "f", None, {"age": "30"}),
        ("bob", None, None, None, {}),
    ]
    assert held["sources"] == Counter(
        [(a, "ann", None, 0.0, None), (a, "bob", None, 0.0, None), (b, "ann", None, 0.0, None)]
    )
    assert held["files"][0] == (b, "", 0, 0, "", "", "ok", None, 1, None)


def of_pandas(columns: dict[str, object], *index: str | dict[str, object]) -> object:
    """A table with pandas' metadata of its index."""
    table = pa.table(columns)
    said = {"index_columns": list(index), "columns": [], "pandas_version": "3.0.0"}
    return table.replace_schema_metadata({b"pandas": json.dumps(said).encode()})


@pytest.mark.parametrize(
    "index",
    [
        ("__index_level_0__",),
        ("frame",),
        ("frame", "__index_level_1__"),
        ({"kind": "range", "name": None, "start": 0, "stop": 3, "step": 1},),
        ("person", "frame"),
    ],
    ids=str,
)
def test_the_index_of_a_pandas_frame_says_nothing_of_anybody(tmp_path, index):
    rows = {**rows_of(["ann", "bob", "ann"]), "club": ["x", "y", "x"]}
    rows |= {name: [0, 2, 3] for name in index if isinstance(name, str) and name != "person"}
    pq.write_table(of_pandas(rows, *index), tmp_path / "v.parquet")
    done = import_file(tmp_path / "v.parquet", tmp_path / "i", space=SPACE)
    assert (done.people, done.faces, done.notes) == (2, 3, ())
    held = content(tmp_path / "i")["people"]
    assert [row[4] for row in held] == [{"club": "x"}, {"club": "y"}]


def test_an_index_column_without_a_note_of_pandas_is_none_either(tmp_path):
    rows = {**rows_of(["ann", "ann"]), "__index_level_0__": [3, 7]}
    import_file(write(tmp_path / "v.parquet", **rows), tmp_path / "i", space=SPACE)
    assert content(tmp_path / "i")["people"][0][4] == {}


def text_types() -> list[object]:
    names = ["string", "large_string", "string_view", "binary", "large_binary"]
    plain = [getattr(pa, name)() for name in names if hasattr(pa, name)]
    return [
        *plain,
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
    ]


@pytest.mark.parametrize("kind", text_types(), ids=str)
def test_text_of_any_type_is_text(tmp_path, kind):
    rows = rows_of(["ann ", " Zoe\u0308", "ann"])
    rows |= {"gender": ["f", " M", "Female"], "name": [" Ann\u00a0A ", None, "Ann A"]}
    rows |= {"modality": ["Face", "FACE ", "face"], "path": [" a.jpg", "b.jpg", "c.jpg"]}
    columns = {
        name: pa.array(rows[name]).cast(kind) if name != "vector" else rows[name] for name in rows
    }
    done = import_file(write(tmp_path / "v.parquet", **columns), tmp_path / "i", space=SPACE)
    assert (done.people, done.faces) == (2, 3)
    held = content(tmp_path / "i")
    assert held["people"] == [("Zoë", None, "m", None, {}), ("ann", "Ann A", "f", None, {})]
    assert {Path(row[0]).name for row in held["items"]} == {" a.jpg", "b.jpg", "c.jpg"}


def number_types() -> list[object]:
    floats = [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.int64(), pa.decimal128(9, 2)]
    lists = [kind(of) for of in floats for kind in (pa.list_, pa.large_list)]
    lists += [pa.list_(of, 2) for of in floats]
    lists += [pa.list_view(pa.float32())] if hasattr(pa, "list_view") else []
    return [*lists, pa.fixed_shape_tensor(pa.float32(), [2])]


@pytest.mark.parametrize("kind", number_types(), ids=str)
def test_vectors_of_any_type_are_vectors(tmp_path, kind):
    space = dataclasses.replace(SPACE, dim=2)
    vectors = [[1, 2], [3, 4], [5, 6]]
    if isinstance(kind, pa.ExtensionType):
        storage = pa.array(np.array(vectors, "f4").tolist(), kind.storage_type)
        array = pa.ExtensionArray.from_storage(kind, storage)
    else:
        of = pa.types.is_decimal(kind.value_type)
        numbers = [[decimal.Decimal(x) for x in each] for each in vectors] if of else vectors
        halves = pa.types.is_float16(kind.value_type)
        numbers = [[np.float16(x) for x in each] for each in vectors] if halves else numbers
        array = pa.array(numbers, kind)
    rows = {**rows_of(["ann"] * 3), "vector": array}
    import_file(write(tmp_path / "v.parquet", **rows), tmp_path / "i", space=space)
    with Index.open(tmp_path / "i") as index:
        assert index.vectors_of("ann")[1].tolist() == vectors


def test_further_columns_are_attributes_as_a_table_has_them(tmp_path):
    day = datetime.datetime(1985, 3, 1)
    rows = {**rows_of(["ann", "bob"]), "Club ": ["North", None]}
    rows |= {
        "year": pa.array([1985.0, np.nan]),
        "born": pa.array([day, None], pa.timestamp("ns")),
        "seen": pa.array([day.replace(hour=12), None], pa.timestamp("us", "UTC")),
        "day": pa.array([day.date(), None]),
        "ok": pa.array([True, False]),
        "kind": pa.array([2.0, 2.0]).dictionary_encode(),
        "size": pa.array([np.nan, 7.0]),
        "money": pa.array([decimal.Decimal("1.50"), None]),
        "height": pa.array([1.7, None], pa.float32()),
        "half": pa.array([np.float16(1.5), None], pa.float16()),
        "none": pa.nulls(2),
    }
    done = import_file(write(tmp_path / "v.parquet", **rows), tmp_path / "i", space=SPACE)
    assert done.notes == ()
    ann, bob = (row[4] for row in content(tmp_path / "i")["people"])
    dates = {"born": "1985-03-01", "day": "1985-03-01", "seen": "1985-03-01 12:00:00+00:00"}
    numbers = {"year": "1985", "kind": "2", "money": "1.5", "height": "1.7", "half": "1.5"}
    assert ann == {"Club": "North", "ok": "true", **dates, **numbers}
    assert bob == {"ok": "false", "kind": "2"}


def test_columns_that_say_nothing_of_people_are_left_out_with_a_note(tmp_path):
    rows = {**rows_of(["ann", "ann", "bob"]), "score": [0.5, 0.75, 0.5], "club": ["x", "x", "y"]}
    rows |= {"area": [{"x": 1}] * 3, "more": [[1.0]] * 3, "thumb": [b"\xff"] * 3}
    path = write(tmp_path / "v.parquet", **rows)
    done = import_file(path, tmp_path / "i", space=SPACE)
    assert [note.split("'")[1] for note in done.notes] == ["area", "more", "thumb", "score"]
    assert "says different things of one person" in done.notes[-1]
    assert [row[4] for row in content(tmp_path / "i")["people"]] == [{"club": "x"}, {"club": "y"}]


def test_names_of_columns_in_capitals_are_ours(tmp_path):
    rows = {name.upper(): values for name, values in rows_of(["ann"]).items()}
    rows |= {"Gender": ["F"], "START_S": [1.5]}
    import_file(write(tmp_path / "v.parquet", **rows), tmp_path / "i", space=SPACE)
    held = content(tmp_path / "i")
    assert held["people"] == [("ann", None, "f", None, {})]
    assert held["items"][0][3] == 1.5
    with pytest.raises(BadRequest, match="two columns 'gender', 'GENDER' and 'Gender'; drop one"):
        import_file(
            write(tmp_path / "w.parquet", GENDER=["m"], **rows), tmp_path / "i", space=SPACE
        )


def test_an_export_through_pandas_has_its_whole_numbers_back(run, folder, tmp_path):
    run()
    table = pq.read_table(exported(folder, tmp_path / "out.parquet"))
    for name in ("size", "mtime_ns"):
        array = table.column(name).cast(pa.float64(), safe=False).fill_null(np.nan)
        table = table.set_column(table.column_names.index(name), name, array)
    pq.write_table(table, tmp_path / "again.parquet")
    import_file(tmp_path / "again.parquet", tmp_path / "copy")
    before, now = content(folder)["files"], content(tmp_path / "copy")["files"]
    assert [row[:3] for row in now] == [row[:3] for row in before]


def test_an_existing_file_is_replaced_and_metadata_of_people_updated(
    run, gallery, folder, tmp_path
):
    run()
    before = content(folder)
    ann, cid = str(gallery / "ann/one.wav"), str(gallery / "cid/face.jpg")
    rows = rows_of(["ann", "ann", "fay", "cid"])
    rows |= {"path": [ann, ann, cid, "/new.jpg"], "name": [None, None, "Fay", None]}
    rows |= {"club": [None, None, None, "East"]}
    done = import_file(write(tmp_path / "v.parquet", **rows), folder, space=SPACE)
    assert (done.files, done.replaced) == (3, 2)
    held = content(folder)
    kept = [row for row in before["items"] if row[0] not in (ann, cid)]
    assert held["items"][: len(kept)] == kept
    assert [row[:3] for row in held["items"][len(kept) :]] == [
        (ann, "ann", "face"),
        (ann, "ann", "face"),
        (cid, "fay", "face"),
        ("/new.jpg", "cid", "face"),
    ]
    people = {row[0]: row for row in before["people"]}
    assert held["people"] == [
        people["ann"],
        people["bob"],
        (*people["cid"][:4], {"club": "East"}),
        ("fay", "Fay", None, None, {}),
    ]


def test_people_without_files_are_dropped(run, gallery, folder, tmp_path):
    run()
    rows = {**rows_of(["zoe"]), "path": [str(gallery / "cid/face.jpg")]}
    import_file(write(tmp_path / "v.parquet", **rows), folder, space=SPACE)
    assert [row[0] for row in content(folder)["people"]] == ["ann", "bob", "zoe"]


# What is wrong is said, and changes nothing


def changed(at: int, column: str, value: object) -> dict[str, list]:
    rows = rows_of(["ann", "bob", "ann", "bob", "ann"])
    rows.setdefault(column, [None] * 5)[at] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (changed(4, "person", None), "row 5: the person is missing"),
        (changed(3, "person", ""), "row 4: the person is missing"),
        (changed(4, "modality", None), "row 5: the modality is missing"),
        (changed(3, "modality", "ear"), "row 4: the modality is 'ear'; write face or voice"),
        (changed(4, "vector", None), "row 5: the vector is missing; take the row out"),
        (changed(4, "vector", [1.0]), f"row 5: the vector has 1 numbers where {DIM} belong"),
        (changed(3, "vector", [np.nan] * DIM), "row 4: the vector has a number that is missing"),
        (changed(4, "vector", [None] * DIM), "row 5: the vector has a number that is missing"),
        (changed(4, "vector", [1e300] * DIM), "row 5: the vector has a number .* not finite"),
        (changed(4, "start_s", -1.0), "row 5: start_s must be 0 seconds or more"),
        (changed(4, "start_s", np.inf), "row 5: start_s must be"),
        (changed(4, "end_s", -1.0), "row 5: end_s must be a time after start_s"),
        (changed(4, "end_s", np.inf), "row 5: end_s must be"),
        (changed(4, "box", [1.0, 2.0]), "row 5: the box has 2 numbers where 4 belong"),
        (changed(4, "box", [1.0, 2.0, 3.0, np.inf]), "row 5: the box has a number"),
        (changed(4, "refused", "bad"), "row 5: a file that was refused has no vectors"),
        (
            {**rows_of(["a", "a"]), "name": ["A", "B"]},
            "the name of 'a' is 'A' in one row and 'B' in another",
        ),
        (
            {**rows_of(["a"]), "start_s": ["x"]},
            "column 'start_s' is of type string; it must hold n",
        ),
        ({**rows_of(["a"]), "size": [1.5]}, "column 'size' is of type double; it must hold whole"),
        ({**rows_of(["a"]), "box": [1]}, "column 'box' is of type int64; it must hold lists of f"),
        ({**rows_of(["a"]), "vector": ["x"]}, "column 'vector' is of type string; it must hold l"),
        ({"person": ["a"], "modality": ["face"]}, "no column 'vector'; it needs person, modality"),
        ({**rows_of(["a"]), "club": ["x"], "attributes.club": ["y"]}, "two columns 'club'"),
        (rows_of([]), "'vector' is of type null"),
    ],
)
def test_a_wrong_row_is_reported_and_changes_nothing(run, folder, tmp_path, rows, words):
    run()
    before = content(folder)
    with pytest.raises(BadRequest, match=words):
        import_file(write(tmp_path / "v.parquet", **rows), folder, space=SPACE)
    assert content(folder) == before
    with Index.open(folder) as index:
        assert index.verify() == []


def test_a_file_that_is_not_parquet_or_cut_short_is_reported_and_changes_nothing(
    run, folder, tmp_path
):
    run()
    before = content(folder)
    whole = exported(folder, tmp_path / "out.parquet").read_bytes()
    path = tmp_path / "bad.parquet"
    for harmed in (b"", b"person,name\n", *(whole[: len(whole) * at // 10] for at in range(1, 10))):
        path.write_bytes(harmed)
        with pytest.raises(BadRequest, match=r"bad\.parquet cannot be read as Parquet: .*again\.$"):
            import_file(path, folder)
    with pytest.raises(BadRequest, match=r"There is no file .*nothing\.parquet"):
        import_file(tmp_path / "nothing.parquet", folder)
    with pytest.raises(BadRequest, match="cannot be read as Parquet"):
        import_file(tmp_path, folder)
    assert content(folder) == before


def test_a_damaged_page_is_reported_or_read_as_it_was(run, folder, tmp_path):
    run()
    whole = exported(folder, tmp_path / "out.parquet").read_bytes()
    held = content(folder)
    for at in np.random.default_rng(0).integers(4, len(whole), 60).tolist():
        harmed = bytearray(whole)
        harmed[at] ^= 0xFF
        (tmp_path / "bad.parquet").write_bytes(harmed)
        with contextlib.suppress(BadRequest, ForeignSpace):
            import_file(tmp_path / "bad.parquet", folder)
        with Index.open(folder) as index:
            assert index.verify() == []
    assert len(content(folder)["items"]) >= len(held["items"])


def test_vectors_of_another_space_are_refused(run, folder, tmp_path):
    run()
    before = content(folder)
    other = dataclasses.replace(SPACE, model="other")
    path = write(tmp_path / "v.parquet", **rows_of(["ann"]))
    with pytest.raises(BadRequest, match="does not say which model made its vectors; name it"):
        import_file(path, folder)
    with pytest.raises(ForeignSpace, match=r"of other \(.*the index in .* has those of fake"):
        import_file(path, folder, space=other)
    with pytest.raises(BadRequest, match=f"vectors of {DIM} numbers, and fake .* makes 8"):
        import_file(path, folder, space=dataclasses.replace(SPACE, dim=8))
    with pytest.raises(ForeignSpace, match=r"holds vectors of fake .*, not of other"):
        import_file(exported(folder, tmp_path / "out.parquet"), folder, space=other)
    assert content(folder) == before


def test_a_file_of_a_later_version_is_rejected(index, folder, tmp_path):
    path = exported(folder, tmp_path / "out.parquet")
    table = pq.read_table(path)
    for said, words in (
        ({"format": 99}, "exported by another version of avsearch"),
        ({"format": 1}, "does not say its space"),
        ([], "does not say its space"),
    ):
        pq.write_table(table.replace_schema_metadata({b"avsearch": json.dumps(said)}), path)
        with pytest.raises(BadRequest, match=words):
            import_file(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_without_pyarrow_the_message_says_how_to_install_it(index, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for call in (
        lambda: export_index(index, tmp_path / "out.parquet"),
        lambda: import_file(tmp_path / "out.parquet", tmp_path / "new"),
    ):
        with pytest.raises(BadRequest, match=r"needs pyarrow.*pip install 'avsearch\[parquet\]'"):
            call()


def test_progress_is_reported_to_the_end(index, tmp_path):
    told: list[tuple[int, int]] = []
    export_index(index, tmp_path / "out.parquet", lambda *at: told.append(at))
    assert told[-1] == (7, 7)
    told.clear()
    import_file(tmp_path / "out.parquet", tmp_path / "new", progress=lambda *at: told.append(at))
    assert told[-1][0] == told[-1][1] == told[0][1] > 7
    assert [done for done, _ in told] == sorted({done for done, _ in told})
