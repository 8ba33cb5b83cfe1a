"""avsearch index: what it takes, what it refuses, and what a second run does."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys

import pytest

KEYS = {
    "index": str,
    "people": int,
    "faces": int,
    "voices": int,
    "added": int,
    "updated": int,
    "unchanged": int,
    "removed": int,
    "moved": int,
    "refused": list,
    "duplicates": list,
    "notes": list,
    "ignored": dict,
    "passed_over": dict,
    "seconds": float,
}


@pytest.fixture
def take(run, model, tmp_path):
    """Index into a folder of this test; what --json prints."""

    def go(*arguments, code=0, index=tmp_path / "index"):
        result = run("index", *arguments, "--index", index, "--model", model, "--json")
        assert result.exit_code == code, result.stderr
        return json.loads(result.stdout_bytes.decode("utf-8"))

    return go


@pytest.fixture
def small(gallery, tmp_path):
    """A gallery of one person with one voice, that may be changed."""
    folder = tmp_path / "small"
    (folder / "ann").mkdir(parents=True)
    voices = sorted((gallery / "Actor_01").glob("*.ogg"))
    shutil.copy(voices[0], folder / "ann" / "one.ogg")
    return folder


def counted(report):
    return tuple(report[key] for key in ("added", "updated", "unchanged", "removed"))


def totals(report):
    return tuple(report[key] for key in ("people", "faces", "voices"))


def test_json_is_the_contract(take, gallery, tmp_path):
    report = take(gallery)
    assert {key: type(value) for key, value in report.items()} == KEYS
    assert report["index"] == str(tmp_path / "index")
    assert report["refused"] == []
    assert totals(report) == (3, 3, 5)
    assert counted(report) == (7, 0, 0, 0)
    assert counted(take(gallery)) == (0, 0, 7, 0)


def test_words_go_to_the_two_outputs(run, gallery, model, tmp_path):
    small = shutil.copytree(gallery / "Actor_02", tmp_path / "g" / "Actor_02").parent
    (small / "Actor_02" / "bad\n\x1b[31m.jpg").write_text("no")
    result = run("index", small, "--model", model)
    assert result.exit_code == 0
    assert "holds 1 people, 1 faces and 2 voices" in result.stdout
    assert "1 refused" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("avsearch: refused ")
    assert "bad\\n\\x1b[31m.jpg: it is not an image" in line
    assert (tmp_path / ".avsearch" / "catalog.sqlite").is_file()


def test_broken_files_stop_nothing(take, run, gallery, bad_files, tmp_path):
    folder = tmp_path / "gallery"
    shutil.copytree(gallery, folder)
    expected = {f"{folder}/bad/{name}": words for name, words in bad_files(folder / "bad").items()}
    (folder / "x.wav").mkdir()
    (folder / "loose.wav").write_bytes(b"RIFF")
    os.mkfifo(folder / "pipe.mp4")
    expected |= {
        f"{folder}/x.wav": "is a folder with the name of a media file; rename it",
        f"{folder}/loose.wav": "lies in no person's folder; move it",
        f"{folder}/pipe.mp4": "is a pipe",
    }
    report = take(folder)
    refused = {one["path"]: one["reason"] for one in report["refused"]}
    assert totals(report) == (3, 3, 5)
    assert counted(report) == (7, 0, 0, 0)
    assert refused.keys() == expected.keys()
    for path, words in expected.items():
        assert words in refused[path]
    for reason in refused.values():  # all in one manner
        assert reason[0].islower() or reason[0].isdigit()
        assert reason.endswith(".")
        assert not reason.endswith("..")
        assert ";" in reason or "rename" in reason or "damaged" in reason
        assert str(tmp_path) not in reason
    assert [one["path"] for one in report["refused"]] == sorted(refused)
    again = take(folder, "--strict", code=3)
    assert counted(again) == (0, 0, 7, 0)
    assert again["refused"] == report["refused"]
    facts = json.loads(run("info", "--index", tmp_path / "index", "--json").stdout)
    assert facts["refused"] == report["refused"]


def test_a_file_without_permission_is_refused_until_it_may_be_read(take, small, monkeypatch):
    closed = small / "ann" / "one.ogg"
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: path != closed and real(path, mode, **more)
    )
    report = take(small)
    assert [one["reason"] for one in report["refused"]] == [
        "may not be read; check its permissions."
    ]
    monkeypatch.undo()
    assert counted(take(small)) == (1, 0, 0, 0)


def test_what_was_moved_and_what_is_there_twice_is_said(take, run, small, model, tmp_path):
    take(small)
    (small / "ann" / "one.ogg").rename(small / "ann" / "first.ogg")
    (small / "eve").mkdir()
    shutil.copy(small / "ann" / "first.ogg", small / "eve" / "copy.ogg")
    report = take(small)
    assert (report["moved"], report["added"], report["voices"]) == (1, 1, 2)
    paths = [str(small / "ann" / "first.ogg"), str(small / "eve" / "copy.ogg")]
    assert report["duplicates"] == [{"paths": paths, "people": ["ann", "eve"]}]
    result = run("index", small, "--model", model, "--index", tmp_path / "index")
    assert f"the same file is there for ann and eve: {', '.join(paths)}." in result.stderr
    assert "0 moved, 2 unchanged" in result.stdout


def test_strict_without_refusals_is_0(take, small):
    assert take(small, "--strict")["refused"] == []


def test_a_rerun_takes_what_is_new_or_changed(take, run, small, gallery, model, tmp_path):
    take(small)
    voices = sorted((gallery / "Actor_01").glob("*.ogg"))
    shutil.copy(voices[1], small / "ann" / "two.ogg")
    assert counted(take(small)) == (1, 0, 1, 0)
    shutil.copy(gallery / "Actor_02" / "face.png", small / "ann" / "face.png")
    (small / "ann" / "one.ogg").write_bytes(voices[1].read_bytes())
    report = take(small)
    assert counted(report) == (1, 1, 1, 0)
    assert totals(report) == (1, 1, 2)
    (small / "ann" / "two.ogg").unlink()
    result = run("index", small, "--index", tmp_path / "index")
    assert "1 files are gone from the gallery; --prune removes them" in result.stderr
    assert totals(take(small)) == (1, 1, 2)
    report = take(small, "--prune")
    assert counted(report) == (0, 0, 2, 1)
    assert totals(report) == (1, 1, 1)


def test_a_gallery_that_is_not_there_is_not_pruned(take, run, small, model, tmp_path):
    take(small)
    index = ("--index", tmp_path / "index", "--model", model)
    small.rename(tmp_path / "away")
    small.mkdir()
    words = f"Nothing is left of {small}: the one file that the index has of it is not there."
    for yes in ([], ["--yes"]):
        result = run("index", small, *index, "--prune", *yes)
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr
    result = run("index", small, *index)
    assert result.exit_code == 0
    assert words in result.stderr
    assert "--prune" not in result.stderr
    small.rmdir()
    (tmp_path / "away").rename(small)
    assert counted(take(small, "--prune")) == (0, 0, 1, 0)


@pytest.fixture
def mostly_gone(take, small, gallery):
    """Two of three files of the index, gone."""
    for voice, name in zip(
        sorted((gallery / "Actor_01").glob("*.ogg")), ("two", "three"), strict=True
    ):
        shutil.copy(voice, small / "ann" / f"{name}.ogg")
    take(small)
    for name in ("one", "two"):
        (small / "ann" / f"{name}.ogg").unlink()


def test_a_script_prunes_more_than_half_only_with_yes(take, run, small, mostly_gone, tmp_path):
    result = run("index", small, "--index", tmp_path / "index", "--prune")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"2 of the 3 files that the index has of {small} are gone" in result.stderr
    assert counted(take(small, "--prune", "--yes")) == (0, 0, 1, 2)


@pytest.mark.parametrize(("answer", "removed"), [("n", 0), ("y", 2)])
def test_somebody_at_a_terminal_is_asked(small, mostly_gone, tmp_path, answer, removed):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "avsearch", "index", small, "--index", tmp_path / "index"]
    with subprocess.Popen(
        [*command, "--prune", "--json"], stdin=theirs, stderr=theirs, stdout=subprocess.PIPE
    ) as process:
        os.close(theirs)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(ours, 1024)
        os.write(ours, f"{answer}\n".encode())
        report = json.loads(process.stdout.read())
    os.close(ours)
    assert process.returncode == 0
    assert b"2 of the 3 files" in said
    assert counted(report) == (0, 0, 1, removed)


def test_another_way_to_find_faces_makes_pictures_new(take, ask, run, small, gallery, tmp_path):
    (small / "ann" / "one.ogg").unlink()
    shutil.copy(gallery / "Actor_02" / "face.png", small / "ann")
    take(small)
    report = take(small, "--faces", "whole")
    assert counted(report) == (0, 1, 0, 0)
    asked = ("query", "--person", "ann", "--index", tmp_path / "index", "--want", "any", "--json")
    (hit,) = json.loads(run(*asked).stdout)["hits"]
    assert hit["box"] is None
    assert counted(take(small, "--faces", "whole")) == (0, 0, 1, 0)


def test_a_picture_without_a_face_is_taken_whole_and_asked_with_whole(take, run, small, tmp_path):
    from PIL import Image

    Image.new("RGB", (200, 200), (90, 120, 200)).save(small / "ann" / "sky.png")
    assert len(take(small)["refused"]) == 1
    assert totals(take(small, "--faces", "whole")) == (1, 1, 1)
    asked = ("query", small / "ann" / "sky.png", "--want", "face", "--json")
    (hit,) = json.loads(run(*asked, "--index", tmp_path / "index").stdout)["hits"]
    assert hit["score"] == pytest.approx(1, abs=1e-5)


def test_people_csv_is_read_again(take, run, small, tmp_path):
    take(small)
    (small / "people.csv").write_text("person,name,gender,club\nann,Zoë,Female,North\n")
    assert counted(take(small)) == (0, 0, 1, 0)
    asked = ("query", "--person", "ann", "--index", tmp_path / "index", "--want", "any", "--json")
    (hit,) = json.loads(run(*asked).stdout_bytes.decode("utf-8"))["hits"]
    assert hit["name"] == "Zoë"
    assert hit["attributes"] == {"gender": "f", "nationality": None, "club": "North"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"", "no column 'person'"),
        (b"name,gender\nann,f\n", "no column 'person'"),
        (b"who;name\nann;Ann\n", "separated by commas, semicolons or tabs"),
        (b"person,name\nann,A\nann,B\n", "line 3: the name of 'ann' is 'B', and line 2 says 'A'"),
        (b"person,name\nann,A,B\n", "line 2: there are 3 cells where the header has 2"),
        ("person,name\nann,A\n".encode("utf-16")[:-1], "cannot be read as UTF-16"),
        (b'person,name\nann,"A\n', "unexpected end"),
        (b"person,name\n,A\n", "line 2: the person is missing"),
        (b"person,name,name\nann,A,B\n", "names 'name' twice"),
        (b"person,name\nann," + b"x" * 200_000, "field larger than"),
    ],
)
def test_a_wrong_people_csv_is_said_and_nothing_is_made(run, small, tmp_path, table, words):
    (small / "people.csv").write_bytes(table)
    result = run("index", small, "--index", tmp_path / "index")
    assert result.exit_code == 2
    assert words in result.stderr
    assert str(small / "people.csv") in result.stderr
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        ("Person;Name;;\r\nann;Zoë;;\r\n".encode("utf-8-sig"), []),
        ("person\tname\r\nann\tZoë\r\n".encode("utf-16"), []),
        ("sep=;\r\nperson;name\r\nann;Zoë\r\n".encode("cp1252"), ["Windows-1252"]),
    ],
)
def test_a_table_of_a_spreadsheet_is_taken_and_what_was_guessed_is_noted(
    run, take, small, voice, tmp_path, content, notes
):
    (small / "people.csv").write_bytes(content)
    report = take(small)
    assert [words in told["note"] for told, words in zip(report["notes"], notes, strict=True)] == [
        True
    ] * len(notes)
    index = ("--index", tmp_path / "index")
    done = run("query", voice, *index, "--want", "voice", "--where", "name=zoe\u0308")
    assert "Zoë" in done.stdout
    said = run("index", small, *index).stderr
    assert ("note on" in said) == bool(notes)


def test_a_person_is_asked_with_and_forgotten_in_any_form_of_their_name(run, small, tmp_path):
    (small / "ann").rename(small / "Zoe\u0308")
    (small / "people.csv").write_text("person,gender\nZoë,f\n")
    index = ("--index", tmp_path / "index")
    assert run("index", small, *index).exit_code == 0
    asked = run("query", small / "Zoë" / "one.ogg", "--want", "voice", *index)
    assert asked.exit_code == 0, asked.stderr
    for form in ("Zoë", "Zoe\u0308"):
        done = run("query", "--person", form, "--want", "voice", "--gender", "F", *index)
        assert done.exit_code == 0, done.stderr
        assert "Zoë" in done.stdout.splitlines()[1]
    assert "Nothing of them is left." in run("forget", "Zoe\u0308", *index).stdout


def test_what_a_storage_box_leaves_is_counted_and_is_no_refusal(run, take, small, face):
    for place in ("@eaDir/one.ogg", "#recycle", "ann/$RECYCLE.BIN"):
        (small / place).mkdir(parents=True)
        shutil.copy(face, small / place / "x.png")
    report = take(small, "--strict")
    assert (report["people"], report["refused"]) == (1, [])
    assert report["passed_over"] == {"#recycle": 1, "$RECYCLE.BIN": 1, "@eaDir": 1}
    said = run("index", small).stderr
    assert "passed over what systems and programs leave: 1 #recycle, 1 $RECYCLE.BIN" in said


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("nowhere")])
def test_a_people_csv_that_is_no_file_is_not_passed_over(run, small, make):
    make(small / "people.csv")
    result = run("index", small)
    assert result.exit_code == 2
    assert "people.csv is no plain file; put the table there or remove it" in result.stderr


def test_a_manifest_names_parts_of_files_anywhere(take, run, gallery, tmp_path):
    manifest = tmp_path / "list.csv"
    film = gallery / "bbaf2n" / "bbaf2n.mpg"
    manifest.write_text(
        "path,person,modality,start_s,end_s,club\n"
        f"{film},ann,voice,0.5,1.5,North\n"
        f"{film},ann,face,0.5,,\n"
        "Actor_02/face.png,bea,,,,South\n"
        "Actor_02/nothing.png,bea,,,,\n"
    )
    report = take(gallery, "--manifest", manifest)
    assert totals(report) == (2, 2, 1)
    assert [one["reason"] for one in report["refused"]] == [
        "is named by the manifest but is not there; correct its path."
    ]
    index = tmp_path / "index"
    asked = ("query", "--person", "ann", "--want", "any", "--by", "item", "--where", "club=NORTH")
    hits = json.loads(run(*asked, "--index", index, "--json").stdout)["hits"]
    assert {(hit["modality"], hit["start_s"], hit["end_s"]) for hit in hits} == {
        ("voice", 0.5, 1.5),
        ("face", 0.5, None),
    }
    assert [hit["box"] is None for hit in hits] == [hit["modality"] == "voice" for hit in hits]


@pytest.mark.parametrize("row", ["voice,1,99", "face,50,", "voice,50,"])
def test_a_part_that_a_file_does_not_have_is_refused_and_stops_nothing(
    take, gallery, tmp_path, row
):
    film = gallery / "bbaf2n" / "bbaf2n.mpg"
    manifest = tmp_path / "list.csv"
    manifest.write_text(
        f"path,person,modality,start_s,end_s\n{film},ann,{row}\nActor_02/face.png,bea,,,\n"
    )
    report = take(gallery, "--manifest", manifest)
    assert totals(report) == (1, 1, 0)
    ((path, reason),) = ((one["path"], one["reason"]) for one in report["refused"])
    assert path == str(film)
    assert "name a" in reason
    assert str(film) not in reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("person,modality\n", "no column 'path'"),
        ("path,person\n,ann\n", "line 2: the path is missing"),
        ("path,person,modality\na.wav,ann,me\n", "write face, voice, or nothing"),
        ("path,person,start_s\na.wav,ann,soon\n", "'soon', which is no number of seconds"),
        ("path,person,start_s,end_s\na.wav,ann,2,1\n", "not after start_s"),
        ("path,person,start_s\na.wav,,x\nb.wav,ann,y\n", "Line 2: the person is missing"),
        ("path,person,start_s\na.wav,,x\nb.wav,ann,y\n", "Line 3: start_s is 'y'"),
    ],
)
def test_a_wrong_manifest_is_said(run, small, tmp_path, content, words):
    manifest = tmp_path / "list.csv"
    if content is not None:
        manifest.write_text(content)
    result = run("index", small, "--manifest", manifest)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_manifest_goes_with_one_gallery(run, small, gallery, tmp_path):
    (tmp_path / "list.csv").write_text("path,person\n")
    result = run("index", small, gallery, "--manifest", tmp_path / "list.csv")
    assert result.exit_code == 2
    assert "one gallery" in result.stderr


def test_several_galleries_are_one_index(take, small, gallery):
    report = take(small, gallery)
    assert totals(report) == (4, 3, 6)
    assert counted(take(gallery)) == (0, 0, 7, 0)


def test_a_gallery_named_twice_is_taken_once(take, small, tmp_path):
    (tmp_path / "link").symlink_to(small)
    report = take(small, "small", small / "ann" / "..", tmp_path / "link")
    assert totals(report) == (1, 0, 1)
    assert counted(report) == (1, 0, 0, 0)


def test_odd_names_and_linked_people_are_taken(take, run, gallery, voice, tmp_path):
    folder = tmp_path / "a gallery, 'odd' & ünïcödé 🎤"
    person = "ß " + "long" * 50
    (folder / person).mkdir(parents=True)
    shutil.copy(voice, folder / person / ("n" * 240 + ".OGG"))
    (folder / "linked").symlink_to(gallery / "Actor_02")
    report = take(folder)
    assert totals(report) == (2, 1, 3)
    asked = ("query", "--person", person, "--want", "voice", "--index", tmp_path / "index")
    result = run(*asked, "--json")
    assert {hit["person"] for hit in json.loads(result.stdout)["hits"]} == {person, "linked"}


def test_a_read_only_gallery_stays_as_it_is(take, small):
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    for path in [*small.rglob("*"), small]:
        path.chmod(0o555)
    assert totals(take(small)) == (1, 0, 1)
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before
    for path in [*small.rglob("*"), small]:
        path.chmod(0o755)


@pytest.mark.parametrize("name", [".avsearch", "index"])
def test_the_index_may_lie_in_the_gallery(take, small, name):
    assert totals(take(small, index=small / name)) == (1, 0, 1)
    report = take(small, index=small / name)
    assert counted(report) == (0, 0, 1, 0)
    assert totals(report) == (1, 0, 1)


def test_an_empty_gallery_gives_an_empty_index(take, run, tmp_path):
    (tmp_path / "nothing").mkdir()
    report = take(tmp_path / "nothing")
    assert totals(report) == (0, 0, 0)
    assert run("verify", "--index", tmp_path / "index").exit_code == 0


@pytest.mark.parametrize("kind", ["file", "missing", "loop"])
def test_a_gallery_that_is_no_folder_is_said(run, voice, tmp_path, kind):
    (tmp_path / "loop").symlink_to("loop")
    gallery = {"file": voice, "missing": tmp_path / "missing", "loop": tmp_path / "loop"}[kind]
    result = run("index", gallery)
    assert result.exit_code == 2
    assert "is not a folder; name the folder of your media" in result.stderr
    assert not (tmp_path / ".avsearch").exists()


def test_the_model_is_kept_and_another_is_refused(run, small, models, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "m.safetensors").write_bytes(models[0].read_bytes())
    index = ("--index", tmp_path / "index")
    assert run("index", small, *index, "--model", "there/m.safetensors").exit_code == 0
    os.chdir(tmp_path / "there")  # a relative name is good from anywhere
    assert run("index", small, *index).exit_code == 0
    assert run("query", small / "ann" / "one.ogg", *index).exit_code == 0
    result = run("index", small, *index, "--model", models[1])
    assert result.exit_code == 4
    assert "use the index's own model" in result.stderr
    (tmp_path / "there" / "m.safetensors").write_bytes(models[1].read_bytes())
    assert run("query", small / "ann" / "one.ogg", *index).exit_code == 4
    (tmp_path / "there" / "m.safetensors").unlink()
    result = run("query", small / "ann" / "one.ogg", *index)
    assert result.exit_code == 2
    assert "there is no such file any more; name it with --model" in result.stderr


@pytest.mark.parametrize("name", ["nothing", "nothing.safetensors", "text.safetensors", "."])
def test_a_model_that_is_none_is_said_and_nothing_is_made(run, small, tmp_path, name):
    (tmp_path / "text.safetensors").write_text("no model")
    result = run("index", small, "--model", name)
    assert result.exit_code == 2
    assert not (tmp_path / ".avsearch").exists()


def test_a_folder_in_use_keeps_what_it_has(take, run, small, tmp_path):
    project = tmp_path / "project"
    (project / "cache").mkdir(parents=True)
    (project / "cache" / "mine.txt").write_text("mine")
    report = take(small, index=project)
    assert report["index"] == str(project / ".avsearch")
    assert (project / "cache" / "mine.txt").read_text() == "mine"
    assert sorted(path.name for path in project.iterdir()) == [".avsearch", "cache"]
    assert counted(take(small, index=project)) == (0, 0, 1, 0)
    assert run("info", "--index", project).exit_code == 0


def test_an_index_whose_making_was_cut_off_is_made(run, small, model, tmp_path):
    for folder in (tmp_path / "index", tmp_path / ".avsearch"):
        folder.mkdir()
        (folder / "lock").write_text("")
        (folder / "catalog.new").write_text("half")
    assert run("index", small, "--index", tmp_path / "index", "--model", model).exit_code == 0
    assert (tmp_path / "index" / "catalog.sqlite").exists()
    assert run("index", small, "--model", model).exit_code == 0
    assert (tmp_path / ".avsearch" / "catalog.sqlite").exists()


def test_where_no_index_can_be_made_is_said(run, small, model, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", "/proc/here"):
        result = run("index", small, "--index", place, "--model", model)
        assert result.exit_code == 2
        assert "choose another folder" in result.stderr
