from __future__ import annotations

import importlib.util
import os
import socket
import sys
from pathlib import Path

import pytest

from indexer.errors import BadRequest
from indexer.ingest import scan as module
from indexer.ingest.scan import scan
from tests.helpers.fakes import FakeExtractor
from tests.helpers.places import fill

KIND = FakeExtractor().kind


def names(found, gallery):
    return [(str(source.path.relative_to(gallery)), source.person) for source in found.sources]


def reasons(found, gallery):
    return {str(r.path.relative_to(gallery)): (r.reason, r.person) for r in found.refused}


def test_a_folder_a_person_any_depth_below_in_order(gallery):
    found = scan(gallery, KIND)
    assert names(found, gallery) == [
        ("ann/deep/er/face.jpg", "ann"),
        ("ann/one.wav", "ann"),
        ("bob/film.mp4", "bob"),
        ("bob/talk.wav", "bob"),
        ("cid/face.jpg", "cid"),
    ]
    assert found.refused == []
    assert found == scan(gallery, KIND)
    assert {(s.modality, s.start_s, s.end_s, s.gallery) for s in found.sources} == {
        (None, 0.0, None, gallery)
    }


def test_people_and_their_attributes(gallery):
    people = scan(gallery, KIND).people
    assert (people["ann"].gender, people["bob"].gender, people["cid"].gender) == ("f", "m", "m")
    assert people["bob"].attributes == {"club": "north"}
    assert people["cid"].attributes == {}


@pytest.mark.parametrize(
    "name",
    [
        *("#recycle", "@eaDir", "@EADIR", "@Recycle", "$RECYCLE.BIN", "$Recycle.Bin", "#snapshot"),
        *("System Volume Information", "lost+found", "__MACOSX", ".Trashes", "@tmp", ".@__thumb"),
        *(".stversions", "FOUND.000", "Network Trash Folder", ".Trash-1000", "a.jpg.download"),
    ],
)
def test_folders_of_systems_are_skipped_at_any_depth(gallery, name):
    before = names(scan(gallery, KIND), gallery)
    fill(gallery, {f"{name}/ann/x.wav": "voice: x", f"ann/deep/{name}/x.jpg/y.jpg": "face: x"})
    found = scan(gallery, KIND)
    assert (names(found, gallery), found.refused, found.ignored) == (before, [], {})
    assert list(found.passed_over.values()) == [2]


def test_files_of_systems_are_passed_over_and_counted(gallery):
    left = ("Thumbs.db", "desktop.ini", "DESKTOP.INI", ".DS_Store", "._one.wav", "~$notes.doc")
    more = (".picasa.ini", "x.wav.part", "y.wav.crdownload", "AlbumArt_{1}_Large.jpg", "Icon\r")
    fill(gallery, {f"{place}{name}": "x" for name in (*left, *more) for place in ("", "ann/")})
    found = scan(gallery, KIND)
    assert len(found.sources) == 5
    assert (found.refused, found.ignored) == ([], {})
    assert found.passed_over["desktop.ini"] == 4
    assert sum(found.passed_over.values()) == 22


def test_names_that_only_begin_like_those_of_systems_are_people(gallery):
    people = ("@ada", "#ben", "recycle", "$cleo", "J.Segment", "found", "lost", "System")
    fill(gallery, {f"{name}/x.wav": "voice: x" for name in people})
    found = scan(gallery, KIND)
    assert {source.person for source in found.sources} == {*people, "ann", "bob", "cid"}
    assert found.passed_over == {}


def test_a_manifest_may_name_a_file_in_a_folder_of_a_system(gallery):
    fill(gallery, {"#recycle/x.wav": "voice: x"})
    (source,) = manifest(gallery, "path,person\n#recycle/x.wav,ann\n").sources
    assert source.path == gallery / "#recycle/x.wav"


def test_hidden_is_passed_over_and_other_files_are_counted(gallery):
    fill(
        gallery,
        {
            ".avsearch/ann/x.wav": "voice: x",
            "ann/.hidden.wav": "voice: x",
            ".dot.wav": "x",
            "ann/notes.TXT": "x",
            "bob/more.txt": "x",
            "README": "x",
        },
    )
    found = scan(gallery, KIND)
    assert len(found.sources) == 5
    assert found.refused == []
    assert found.ignored == {"": 1, ".txt": 2}


def test_links_are_followed_and_loops_are_not(gallery, tmp_path):
    fill(tmp_path / "elsewhere", {"far.wav": "voice: far"})
    (gallery / "dan").symlink_to(tmp_path / "elsewhere")
    (gallery / "ann/up").symlink_to(gallery)
    (gallery / "ann/deep/self").symlink_to(gallery / "ann/deep")
    (gallery / "bob/linked.wav").symlink_to(gallery / "bob/talk.wav")
    found = names(scan(gallery, KIND), gallery)
    assert ("dan/far.wav", "dan") in found
    assert ("bob/linked.wav", "bob") in found
    assert len(found) == 7


def test_what_cannot_be_taken_is_refused_by_name(gallery, monkeypatch):
    fill(gallery, {"ann/empty.wav": "", "loose.wav": "x", "bob/folder.wav/in.jpg": "face: x"})
    os.mkfifo(gallery / "ann/pipe.wav")
    (gallery / "ann/broken.wav").symlink_to("nowhere")
    (gallery / "ann/circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(gallery / "bob")  # a socket's path may not be long
        server.bind("socket.jpg")
    found = scan(gallery, KIND)
    assert reasons(found, gallery) == {
        "ann/empty.wav": (module.EMPTY, "ann"),
        "ann/pipe.wav": (module.SPECIAL, "ann"),
        "ann/broken.wav": (module.BROKEN_LINK, "ann"),
        "ann/circle": (module.BROKEN_LINK, "ann"),
        "bob/folder.wav": (module.NAMED_AS_MEDIA, "bob"),
        "bob/socket.jpg": (module.SPECIAL, "bob"),
        "loose.wav": (module.LOOSE, None),
    }
    assert len(found.sources) == 5


def test_names_that_are_not_utf8_are_refused_in_letters_anybody_reads(gallery):
    for name in (b"ann/caf\xe9.wav", b"caf\xe9/x.wav"):
        path = Path(os.fsdecode(os.fsencode(gallery) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.write_text("voice: x")
    assert reasons(scan(gallery, KIND), gallery) == {
        "ann/caf\\xe9.wav": (module.NOT_UTF8, "ann"),
        "caf\\xe9": (module.NOT_UTF8, None),
    }


def test_what_may_not_be_read_is_refused(gallery, monkeypatch):
    closed = {gallery / "ann/one.wav", gallery / "bob"}
    allowed = os.access  # whoever runs the tests may be allowed everything
    monkeypatch.setattr(os, "access", lambda p, mode: p not in closed and allowed(p, mode))
    found = scan(gallery, KIND)
    assert reasons(found, gallery) == {
        "ann/one.wav": (module.UNREADABLE, "ann"),
        "bob": (module.UNREADABLE, "bob"),
    }
    closed.add(gallery)
    with pytest.raises(BadRequest, match="permissions"):
        scan(gallery, KIND)


def test_a_gallery_that_is_no_folder(tmp_path):
    fill(tmp_path, {"file": "x"})
    for name in ("file", "nothing"):
        with pytest.raises(BadRequest, match=f"{name} is not a folder"):
            scan(tmp_path / name, KIND)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name\nann\n", "no column 'person'"),
        ("", "no column 'person'"),
        ("person,name\nann,A\n\nann,B\n", "line 4: the name of 'ann' is 'B', and line 2 says 'A'"),
        ("person,name\nann,A,x\n", "line 2: there are 3 cells where the header has 2"),
        ("person,name\n,A\n", "line 2: the person is missing"),
        ("person,club,club\nann,A,B\n", "line 1: the header names 'club' twice"),
        ('person,name\nann,"A\n', "line 2: unexpected end of data"),
        ('person,name\nann,"A\nB"\nbob,B,x\n', "line 4: there are 3 cells"),
        ('"person,name\nann,A\n', "line 2: unexpected end of data"),
    ],
)
def test_people_csv_is_checked_cell_by_cell(gallery, table, message):
    (gallery / "people.csv").write_text(table)
    with pytest.raises(BadRequest, match=rf"people\.csv.*{message}"):
        scan(gallery, KIND)


def test_people_csv_in_utf8_with_or_without_its_mark(gallery):
    for codec in ("utf-8", "utf-8-sig"):
        (gallery / "people.csv").write_bytes("person,name\nann, Zoë \n".encode(codec))
        assert scan(gallery, KIND).people["ann"].name == "Zoë"


# Manifests


def manifest(gallery, text):
    path = gallery / "list.csv"
    path.write_text(text)
    return scan(gallery, KIND, manifest=path)


def test_a_manifest_names_ranges_and_people(gallery):
    found = manifest(
        gallery,
        "path,person,modality,start_s,end_s,club,gender\n"
        "bob/film.mp4,bob,Voice,1.5,3,South,\n"
        "bob/film.mp4,dan,face,2,,,male\n"
        f"{gallery}/ann/../ann/one.wav,ann,,,,,\n",
    )
    wanted = [(s.path, s.person, s.modality, s.start_s, s.end_s, s.ranged) for s in found.sources]
    assert wanted == [
        (gallery / "bob/film.mp4", "bob", "voice", 1.5, 3.0, True),
        (gallery / "bob/film.mp4", "dan", "face", 2.0, None, True),
        (gallery / "ann/one.wav", "ann", None, 0.0, None, False),
    ]
    assert found.people["bob"].attributes == {"club": "South"}
    assert found.people["bob"].name == "Bob Baker"
    assert found.people["dan"].gender == "m"


def test_a_manifest_naming_what_cannot_be_taken(gallery):
    fill(gallery, {"ann/a.txt": "x", "ann/empty.wav": ""})
    rows = ("nothing.wav", "ann", "ann/a.txt", "ann/empty.wav")
    found = manifest(gallery, "path,person\n" + "".join(f"{row},ann\n" for row in rows))
    assert found.sources == []
    assert [refusal.reason for refusal in found.refused] == [
        module.NOT_THERE,
        module.NOT_A_FILE,
        module.NOT_MEDIA,
        module.EMPTY,
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",ann,,,,", "the path is missing"),
        ("a.wav,,,,,", "the person is missing"),
        ("a.wav,ann,smell,,,", "modality is 'smell'"),
        ("a.wav,ann,,soon,,", "start_s is 'soon', which is no number"),
        ("a.wav,ann,,-1,,", "start_s is '-1'; it must be 0"),
        ("a.wav,ann,,,nan,", "end_s is 'nan'"),
        ("a.wav,ann,,5,5,", "end_s is 5, which is not after start_s, 5"),
        ("a.wav,ann,,5,4,", "not after"),
        ("a.wav,ann,,,,,x", "7 cells where the header has 6"),
        ("c.wav,ann,,,,blue", "the team of 'ann' is 'blue', and line 2 says 'red'"),
    ],
)
def test_a_manifest_is_checked_cell_by_cell(gallery, row, message):
    table = f"path,person,modality,start_s,end_s,team\nb.wav,ann,,,,red\n{row}\n"
    with pytest.raises(BadRequest, match=rf"list\.csv, line 3: .*{message}"):
        manifest(gallery, table)


def test_a_manifest_that_is_not_there(gallery):
    with pytest.raises(BadRequest, match=r"none\.csv cannot be read"):
        scan(gallery, KIND, manifest=gallery / "none.csv")


def test_parquet_without_pyarrow_says_what_to_install(gallery, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    fill(gallery, {"list.parquet": "PAR1"})
    with pytest.raises(BadRequest, match=r"pip install 'avsearch\[parquet\]'"):
        scan(gallery, KIND, manifest=gallery / "list.parquet")


@pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="pyarrow is optional")
def test_a_manifest_in_parquet(gallery):
    import pyarrow
    import pyarrow.parquet

    path = gallery / "list.parquet"
    columns = {"path": ["bob/film.mp4"], "person": ["bob"], "start_s": [1.5], "end_s": [None]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    (source,) = scan(gallery, KIND, manifest=path).sources
    assert (source.person, source.start_s, source.end_s) == ("bob", 1.5, None)
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(BadRequest, match="cannot be read as Parquet"):
        scan(gallery, KIND, manifest=path)
