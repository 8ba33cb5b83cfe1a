"""People.csv and manifests as spreadsheets and scripts write them."""

from __future__ import annotations

import contextlib
import datetime
import decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import BadRequest
from indexer.ingest.scan import scan
from indexer.tables.people import read_manifest, read_people
from tests.helpers.fakes import FakeExtractor
from tests.helpers.places import fill

ROWS = (("person", "name", "gender"), ("ada", "Ada Müller", "f"), ("bob", "Bob, the elder", "m"))


def table(mark: str = ",", tail: str = "", end: str = "\r\n", rows=ROWS) -> str:
    quoted = [[f'"{cell}"' if mark in cell else cell for cell in row] for row in rows]
    return "".join(mark.join(row) + tail + end for row in quoted)


@pytest.fixture
def read(tmp_path):
    """Read bytes as people.csv; return the people and the notes."""

    def read(content: bytes | str):
        path = tmp_path / "people.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        notes: list[str] = []
        return read_people(path, notes.append), notes

    return read


def said(people):
    return {key: (who.name, who.gender) for key, who in people.items()}


EXPECTED = {"ada": ("Ada Müller", "f"), "bob": ("Bob, the elder", "m")}


@pytest.mark.parametrize("mark", list(",;\t|"))
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_delimiters_encodings_and_line_ends(read, mark, codec, end):
    people, notes = read(table(mark, end=end).encode(codec))
    assert said(people) == EXPECTED
    assert notes == []
    assert all(not who.attributes for who in people.values())


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\r\n" + table(";"),
        "SEP=|\n" + table("|"),
        "\ufeffsep=\t\r\n" + table("\t"),
        table(tail=",,"),
        table(";", tail=";;;"),
        table(rows=[("Person", " NAME ", "Gender"), *ROWS[1:]]),
        table(rows=[*ROWS, ("", "", ""), ROWS[1]]),
        table(rows=[("", "", ""), *ROWS]),
        table(rows=[*ROWS, ("ada", "", "Female"), ("bob",)]),
        table(rows=[*ROWS, *ROWS]),
        table(rows=[("", *ROWS[0]), *((str(at), *row) for at, row in enumerate(ROWS[1:]))]),
        table(
            rows=[("Unnamed: 0", *ROWS[0]), *((str(at), *r) for at, r in enumerate(ROWS[1:], 1))]
        ),
        table(rows=[ROWS[0], ("\u200bada", "Ada\u00a0Müller\u00a0", " f "), ROWS[2]]),
        table(rows=[ROWS[0], ('="ada"', "Ada Müller", "f"), ROWS[2]]),
        'person, name, gender\nada, "Ada Müller", f\nbob, "Bob, the elder", m\n\n\x1a',
        '"person","name","gender"\n"ada","Ada Müller","f"\n"bob","Bob, the elder","m"',
    ],
)
def test_harmless_oddities_are_taken_without_a_word(read, content):
    people, notes = read(content)
    assert said(people) == EXPECTED
    assert notes == []
    assert all(not who.attributes for who in people.values())


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (table(";").encode("cp1252"), "is not UTF-8 and was read as Windows-1252"),
        (table(",", end="\r").encode("mac_roman"), "was read as Macintosh Roman"),
        (table(";").encode("cp850"), "was read as MS-DOS"),
        (table("\t").encode().replace(b"\xc3\xbc", b"\xfc"), "Windows-1252"),
        ("My people\r\n\r\n" + table(), "the header is in line 3"),
        (table(rows=[*ROWS, ("ada", "#N/A", "f")]), "errors of a spreadsheet, such as #N/A"),
        (table(rows=[(*ROWS[0], ""), *((*row, "x") for row in ROWS[1:])]), "column 4 has no name"),
    ],
)
def test_what_was_guessed_or_left_out_is_noted(read, content, note):
    people, notes = read(content)
    assert said(people) == EXPECTED
    assert len(notes) == 1
    assert note in notes[0]


def test_lines_of_two_encodings_are_each_read_in_its_own(read):
    people, notes = read("person,name\nada,Zoë\n".encode() + "bob,Zoë\n".encode("cp1252"))
    assert [who.name for who in people.values()] == ["Zoë", "Zoë"]
    assert len(notes) == 1


def test_a_line_break_in_a_cell_and_further_columns_stay(read):
    people, _ = read('person;Club;note\r\nada;North;"one\r\ntwo"\r\n')
    assert people["ada"].attributes == {"Club": "North", "note": "one\r\ntwo"}


def test_a_table_with_tabs_that_never_quotes(read):
    people, _ = read('person\tname\nada\t"Ada" Müller\nbob\t5" Bob\n')
    assert [who.name for who in people.values()] == ['"Ada" Müller', '5" Bob']


def test_all_faults_are_reported_together(read):
    rows = [ROWS[0], ("", "A", "f"), ROWS[1], ("ada", "Eve", "m"), ("x", "y", "f", "z")]
    with pytest.raises(BadRequest) as caught:
        read(table(rows=rows))
    words = str(caught.value)
    for line in (
        *("people.csv, line 2: the person is missing", "Line 4: the name of 'ada' is 'Eve'"),
        *("Line 4: the gender of 'ada' is 'm', and line 3 says 'f'", "Line 5: there are 4 cells"),
    ):
        assert line in words
    assert "\n" not in words


def test_some_of_many_faults_are_reported_and_the_others_counted(read):
    with pytest.raises(BadRequest, match=r"Line 21: .*\. And 5 more\.$"):
        read("person,name\n" + ",x\n" * 25)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04rest", "is a workbook of a spreadsheet; save it as CSV"),
        (b"\xd0\xcf\x11\xe0rest", "is a workbook"),
        ("\ufeffperson".encode("utf-16-le")[:-1], r"cannot be read as UTF-16-?\w* \(byte"),
        (b"name;gender\nada;f\n", "no column 'person'"),
    ],
)
def test_a_file_that_is_no_table_is_rejected(read, content, words):
    with pytest.raises(BadRequest, match=words):
        read(content)


@given(st.binary(max_size=80) | st.text(max_size=60).map(lambda text: f"person,{text}".encode()))
def test_any_bytes_are_a_table_or_refused_in_words(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "people.csv"
    path.write_bytes(content)
    for reads in (read_people, lambda path: read_manifest(path, path.parent)):
        with contextlib.suppress(BadRequest):
            reads(path)


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)


@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5, unique_by=lambda row: row[0]),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_a_table_says_the_same_however_it_is_written(tmp_path_factory, rows, mark, codec):
    path = tmp_path_factory.mktemp("any") / "people.csv"
    texts = []
    for separator, encoding in ((",", "utf-8"), (mark, codec)):
        quoted = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row] for row in rows]
        lines = ["person,club".replace(",", separator), *(separator.join(row) for row in quoted)]
        path.write_bytes("\r\n".join(lines).encode(encoding))
        try:
            texts.append(read_people(path))
        except BadRequest as error:  # two spellings of one person
            texts.append(str(error))
    assert texts[0] == texts[1]


# Manifests


def test_a_manifest_as_a_spreadsheet_saves_it(tmp_path):
    fill(tmp_path / "g", {"ann/one.wav": "voice: ann", "ann/two.wav": "voice: ann"})
    rows = "Path;Person;Modality;Start_S;END_S;Club\r\n"
    rows += "ann\\one.wav;ann;VOICE;0,5;1,25;North\r\nann\\one.wav;ann;VOICE;0,5;1,25;North\r\n"
    rows += "ann/two.wav;ann\r\n"
    (tmp_path / "list.csv").write_bytes(rows.encode("utf-8-sig"))
    found = scan(tmp_path / "g", FakeExtractor().kind, manifest=tmp_path / "list.csv")
    assert [(s.path.name, s.modality, s.start_s, s.end_s) for s in found.sources] == [
        ("one.wav", "voice", 0.5, 1.25),
        ("two.wav", None, 0.0, None),
    ]
    assert found.people["ann"].attributes == {"Club": "North"}
    assert (found.refused, found.notes) == ([], [])


def test_a_comma_that_may_stand_for_thousands_is_refused(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('path,person,start_s\na.wav,ann,"1,500"\n')
    with pytest.raises(BadRequest, match="line 2: start_s is '1,500', which is no number"):
        read_manifest(path, tmp_path)


def test_a_table_in_another_case_is_found_and_its_notes_reported(tmp_path):
    fill(tmp_path, {"ada/x.wav": "voice: x"})
    (tmp_path / "People.CSV").write_bytes(table(";").encode("cp1252"))
    found = scan(tmp_path, FakeExtractor().kind)
    assert said(found.people) == EXPECTED
    assert found.ignored == {}
    ((path, note),) = found.notes
    assert (path.name, "Windows-1252" in note) == ("People.CSV", True)


# Parquet


def test_people_in_parquet_as_other_programs_write_them(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {
        "Person": pa.array(["ada ", "bob"]).dictionary_encode(),
        "gender": pa.array(["Female", None], pa.large_string()),
        "year": pa.array([1985.0, float("nan")]),
        "weight": pa.array([decimal.Decimal("61.50"), None]),
        "born": pa.array([datetime.datetime(1985, 3, 1), None], pa.timestamp("ns")),
        "left": pa.array([True, False]),
        "height": pa.array([1.7, 1.8], pa.float32()),
        "face": pa.array([[1.0], None]),
        "__index_level_0__": pa.array([3, 7]),
    }
    path = tmp_path / "people.parquet"
    pq.write_table(pa.table(columns), path)
    notes: list[str] = []
    people = read_people(path, notes.append)
    assert people["ada"].gender == "f"
    assert people["ada"].attributes == {
        "year": "1985",
        "weight": "61.5",
        "born": "1985-03-01",
        "left": "true",
        "height": "1.7",
    }
    assert people["bob"].attributes == {"left": "false", "height": "1.8"}
    assert notes == ["the column 'face' is of type list<element: double> and was left out."]


def test_a_parquet_table_that_names_a_column_twice_is_refused(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, ["person", "name", "name"])
    pq.write_table(table, tmp_path / "people.parquet")
    with pytest.raises(BadRequest, match="line 1: the header names 'name' twice"):
        read_people(tmp_path / "people.parquet")
