"""The choice of the person of the folder in a file that shows several people."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from indexer.index import Index
from indexer.ingest import ingest as module
from indexer.ingest.ingest import IngestReport, ingest
from indexer.ingest.scan import scan
from tests.helpers.contents import contents
from tests.helpers.fakes import SPACE, FakeEmbedder, FakeExtractor, FakeMatcher, fake_vector
from tests.helpers.places import fill
from tests.indexer.ingest.test_ingest import paths, touch


def shows(*people: str) -> str:
    return "".join(f"face: {who}\n" for who in people)


def says(*people: str) -> str:
    return "".join(f"voice: {who}\n" for who in people)


@pytest.fixture
def index_it(folder: Path):
    """Index a gallery with a matcher; return the report and the names of the files read."""

    def go(gallery, into: Path = folder, **options) -> tuple[IngestReport, list[str]]:
        extractor = FakeExtractor()
        options = {"matcher": FakeMatcher(), **options}
        with Index.open_or_create(into, SPACE) as index:
            report = ingest(index, gallery, extractor, FakeEmbedder(), **options)
            assert index.verify() == []
        return report, sorted(path.name for path in extractor.asked)

    return go


def taken(folder: Path, person: str) -> set[tuple[str, str]]:
    """Return the lines of a person's items, by file."""
    with Index.open(folder) as index:
        items, vectors = index.items_of(person)
    names = ["ann", "bob", "cid", "dan", "eve"]
    lines = [f"{kind}: {who}" for kind in ("face", "voice") for who in names]
    known = {fake_vector(line).tobytes(): line for line in lines}
    return {
        (item.path.name, known[vector.tobytes()])
        for item, vector in zip(items, vectors, strict=True)
    }


def test_the_one_who_agrees_with_the_other_files_is_taken(index_it, tmp_path, folder):
    gallery = fill(
        tmp_path / "g",
        {
            "ann/wedding.jpg": shows("bob", "ann", "cid"),
            "ann/portrait.jpg": shows("ann"),
            "ann/talk.wav": says("dan", "ann"),
            "ann/alone.wav": says("ann"),
            "bob/portrait.jpg": shows("bob"),
        },
    )
    report, _ = index_it(gallery)
    assert (report.added, report.refused) == (5, [])
    assert taken(folder, "ann") == {
        ("wedding.jpg", "face: ann"),
        ("portrait.jpg", "face: ann"),
        ("talk.wav", "voice: ann"),
        ("alone.wav", "voice: ann"),
    }
    agreeing = "the one that agrees with the person's other"
    assert paths(report.notes) == {
        "wedding.jpg": f"3 faces; {agreeing} images was taken, 2 were left out.",
        "talk.wav": f"2 voices; {agreeing} recordings was taken, 1 was left out.",
    }
    with Index.open(folder) as index:
        assert sorted(index.file_notes()) == report.notes


def test_without_a_matcher_all_people_are_taken(index_it, tmp_path, folder):
    gallery = fill(tmp_path / "g", {"ann/a.jpg": shows("bob", "ann"), "ann/b.jpg": shows("ann")})
    report, _ = index_it(gallery, matcher=None)
    assert (report.faces, report.notes) == (3, [])


def test_files_that_show_one_person_are_never_questioned(index_it, tmp_path, folder):
    gallery = fill(tmp_path / "g", {f"ann/{who}.jpg": shows(who) for who in ("ann", "bob", "cid")})
    report, _ = index_it(gallery)
    assert (report.faces, report.refused, report.notes) == (3, [], [])


def test_the_person_in_most_files_is_taken_if_all_are_contested(index_it, tmp_path, folder):
    gallery = fill(
        tmp_path / "g",
        {
            "ann/1.jpg": shows("bob", "ann"),
            "ann/2.jpg": shows("cid", "ann"),
            "ann/3.jpg": shows("dan", "ann"),
            "ann/4.jpg": shows("eve", "bob"),
        },
    )
    report, _ = index_it(gallery)
    assert taken(folder, "ann") == {(f"{n}.jpg", "face: ann") for n in (1, 2, 3)}
    assert [path.name for path, _ in report.refused] == ["4.jpg"]


def test_the_larger_of_two_equally_frequent_people_is_taken(index_it, tmp_path, folder):
    files = {f"ann/{n}.jpg": shows("ann", "bob") for n in range(3)}
    index_it(fill(tmp_path / "g", files))
    assert {line for _, line in taken(folder, "ann")} == {"face: ann"}


@pytest.mark.parametrize("several", [False, True])
def test_the_largest_is_taken_if_nothing_distinguishes_them(
    index_it, tmp_path, folder, several
) -> None:
    files = {"ann/1.jpg": shows("ann", "bob")} | (
        {"ann/2.jpg": shows("cid", "dan")} if several else {}
    )
    report, _ = index_it(fill(tmp_path / "g", files))
    expected = {("1.jpg", "face: ann")} | ({("2.jpg", "face: cid")} if several else set())
    assert taken(folder, "ann") == expected
    assert all("the largest was taken, 1 was left out" in note for _, note in report.notes)
    assert len(report.notes) == len(files)


def test_a_file_without_an_agreeing_person_is_refused_until_others_change(
    index_it, tmp_path, folder
):
    gallery = fill(tmp_path / "g", {"ann/1.jpg": shows("ann"), "ann/2.jpg": shows("bob", "cid")})
    reason = (
        "2 faces, and none of them agrees with the person's other images; check whose folder it"
        " is in."
    )
    report, _ = index_it(gallery)
    assert paths(report.refused) == {"2.jpg": reason}
    report, asked = index_it(gallery)
    assert (paths(report.refused), asked) == ({"2.jpg": reason}, [])
    fill(gallery, {"ann/1.jpg": shows("bob")})
    report, asked = index_it(gallery)
    assert (report.refused, asked) == ([], ["1.jpg", "2.jpg"])
    assert taken(folder, "ann") == {("1.jpg", "face: bob"), ("2.jpg", "face: bob")}


def test_face_and_voice_of_a_video_are_decided_each_for_itself(index_it, tmp_path, folder):
    gallery = fill(
        tmp_path / "g",
        {
            "ann/a.jpg": shows("ann"),
            "ann/a.wav": says("ann"),
            "ann/film.mp4": shows("bob", "ann") + says("dan", "ann"),
            "ann/half.mp4": shows("bob", "cid") + says("ann", "dan"),
            "ann/none.mp4": shows("bob", "cid") + says("dan", "eve"),
            "ann/seen.mp4": shows("ann") + says("dan", "ann"),
        },
    )
    report, _ = index_it(gallery)
    found = taken(folder, "ann")
    assert {line for name, line in found if name == "film.mp4"} == {"face: ann", "voice: ann"}
    assert {line for name, line in found if name == "half.mp4"} == {"voice: ann"}
    assert {line for name, line in found if name == "seen.mp4"} == {"face: ann", "voice: ann"}
    assert list(paths(report.refused)) == ["none.mp4"]
    assert "2 faces, and none" in paths(report.refused)["none.mp4"]
    assert "2 voices, and none" in paths(report.refused)["none.mp4"]
    assert [note[:12] for path, note in report.notes if path.name == "half.mp4"] == [
        "2 faces, and",
        "2 voices; th",
    ]


def test_a_video_of_one_voice_speaks_for_the_person_whatever_faces_it_shows(
    index_it, tmp_path, folder
):
    gallery = fill(
        tmp_path / "g",
        {"ann/1.mp4": shows("bob", "cid") + says("ann"), "ann/2.wav": says("dan", "ann")},
    )
    index_it(gallery)
    assert ("2.wav", "voice: ann") in taken(folder, "ann")


def test_ranges_of_a_manifest_are_taken_as_they_say(index_it, tmp_path, folder):
    gallery = fill(tmp_path / "g", {"ann/1.mp4": shows("ann", "bob") + says("ann", "bob")})
    table = tmp_path / "m.csv"
    table.write_text("path,person,modality,start_s,end_s\nann/1.mp4,ann,voice,0,1\n")
    report, _ = index_it(scan(gallery, FakeExtractor().kind, manifest=table))
    assert (report.voices, report.notes) == (1, [])


def test_a_file_that_a_manifest_gives_to_two_people_is_divided(index_it, tmp_path, folder):
    gallery = fill(
        tmp_path / "g",
        {"x/1.jpg": shows("ann", "bob"), "x/a.jpg": shows("ann"), "x/b.jpg": shows("bob")},
    )
    table = tmp_path / "m.csv"
    rows = ["x/1.jpg,ann", "x/1.jpg,bob", "x/a.jpg,ann", "x/b.jpg,bob"]
    table.write_text("path,person\n" + "\n".join(rows))
    part = scan(gallery, FakeExtractor().kind, manifest=table)
    index_it(part)
    assert taken(folder, "ann") == {("1.jpg", "face: ann"), ("a.jpg", "face: ann")}
    assert taken(folder, "bob") == {("1.jpg", "face: bob"), ("b.jpg", "face: bob")}
    assert index_it(part)[1] == []


GALLERY = {
    "ann/1.jpg": shows("ann"),
    "ann/2.jpg": shows("bob", "ann"),
    "ann/3.jpg": shows("cid", "ann"),
    "ann/4.wav": says("bob", "ann"),
    "bob/1.jpg": shows("bob"),
    "bob/2.jpg": shows("bob", "cid"),
    "cid/1.wav": says("cid"),
}


def test_a_rerun_finds_nothing_to_do(index_it, tmp_path, folder):
    gallery = fill(tmp_path / "g", GALLERY)
    first, _ = index_it(gallery)
    with Index.open(folder) as index:
        before = index.revision
    seen: list[tuple[int, int]] = []
    report, asked = index_it(gallery, progress=lambda *done: seen.append(done))
    assert asked == []
    assert (report.added, report.updated, report.unchanged) == (0, 0, len(GALLERY))
    assert report.notes == first.notes != []
    assert seen[-1] == (len(GALLERY), len(GALLERY))
    touch(gallery / "ann/2.jpg")
    report, asked = index_it(gallery)
    assert (asked, report.unchanged) == ([], len(GALLERY))
    with Index.open(folder) as index:
        assert index.revision == before + 1  # the new time of a file


def test_only_contested_files_of_changed_people_are_read_again(index_it, tmp_path, folder):
    gallery = fill(tmp_path / "g", GALLERY)
    index_it(gallery)
    fill(gallery, {"ann/5.jpg": shows("ann")})
    report, asked = index_it(gallery)
    assert asked == ["2.jpg", "3.jpg", "4.wav", "5.jpg"]
    assert (report.added, report.updated, report.unchanged) == (1, 3, 4)
    (gallery / "ann/5.jpg").unlink()
    assert index_it(gallery)[1] == []  # it is missed, and not removed
    assert index_it(gallery, prune=True)[1] == ["2.jpg", "3.jpg", "4.wav"]
    fill(gallery, {"dan/1.jpg": shows("dan")})
    assert index_it(gallery)[1] == ["1.jpg"]


def test_a_person_who_is_called_otherwise_keeps_what_was_chosen(index_it, tmp_path, folder):
    gallery = fill(tmp_path / "g", GALLERY)
    index_it(gallery)
    (gallery / "ann").rename(gallery / "anna")
    report, asked = index_it(gallery)
    assert (report.moved, report.unchanged, asked) == (4, 3, [])
    assert {line for _, line in taken(folder, "anna")} == {"face: ann", "voice: bob"}
    assert len(report.notes) == 4


def test_a_file_that_moves_to_another_person_is_decided_there(index_it, tmp_path, folder):
    gallery = fill(tmp_path / "g", GALLERY)
    index_it(gallery)
    (gallery / "ann/2.jpg").rename(gallery / "bob/moved.jpg")
    report, asked = index_it(gallery)
    assert ("moved.jpg", "face: bob") in taken(folder, "bob")
    assert asked == ["2.jpg", "3.jpg", "4.wav", "moved.jpg"]
    assert (report.moved, report.added) == (1, 0)
    assert index_it(gallery)[1] == []


def test_who_is_forgotten_is_not_in_the_notes_and_settings_of_others(index_it, tmp_path, folder):
    gallery = fill(tmp_path / "g", GALLERY)
    index_it(gallery)
    with Index.open(folder) as index:
        assert index.forget("bob").clean
        assert index.verify() == []
    shutil.rmtree(gallery / "bob")
    assert index_it(gallery)[1] == []


def test_another_way_of_telling_people_apart_decides_all_again(index_it, tmp_path, folder):
    gallery = fill(tmp_path / "g", GALLERY)
    index_it(gallery)
    other = FakeMatcher()
    other.settings = "another way"
    assert index_it(gallery, matcher=other)[1] == ["2.jpg", "2.jpg", "3.jpg", "4.wav"]
    assert index_it(gallery, matcher=other)[1] == []


def test_what_an_interrupted_run_held_is_decided_by_the_next(index_it, tmp_path, folder):
    class Stopping(FakeExtractor):
        def extract(self, path, modality=None, **options):
            if path.name == "1.wav":
                raise KeyboardInterrupt
            yield from super().extract(path, modality, **options)

    gallery = fill(tmp_path / "g", GALLERY)
    with Index.open_or_create(folder, SPACE) as index, pytest.raises(KeyboardInterrupt):
        ingest(
            index,
            gallery,
            Stopping(),
            FakeEmbedder(),
            matcher=FakeMatcher(),
            batch_size=1,
            workers=1,
        )
    assert taken(folder, "ann") == {("1.jpg", "face: ann")}
    index_it(gallery)
    index_it(gallery, into=tmp_path / "new")
    assert contents(folder) == contents(tmp_path / "new")


@pytest.mark.parametrize("options", [{"batch_size": 1, "workers": 1}, {"batch_size": 3}])
def test_batches_and_workers_do_not_matter(index_it, tmp_path, folder, options, monkeypatch):
    gallery = fill(tmp_path / "g", GALLERY)
    index_it(gallery)
    monkeypatch.setattr(module, "COMMIT_FILES", 1)
    index_it(gallery, into=tmp_path / "new", **options)
    assert contents(folder) == contents(tmp_path / "new")


@pytest.mark.parametrize("seed", range(12))
def test_an_update_equals_a_new_index(index_it, tmp_path, seed):
    """Files are added, changed, removed and moved at random, in several runs."""
    draw = random.Random(seed)
    gallery = fill(tmp_path / "g", {"ann/0.jpg": shows("ann")})
    for number in range(6):
        for _ in range(draw.randrange(1, 5)):
            _change(draw, gallery)
        index_it(gallery, into=tmp_path / "old", prune=True)
        index_it(gallery, into=tmp_path / f"new{number}")
        assert contents(tmp_path / "old") == contents(tmp_path / f"new{number}")
        assert index_it(gallery, into=tmp_path / "old")[1] == []


def _change(draw: random.Random, gallery: Path) -> None:
    files = sorted(path for path in gallery.rglob("*") if path.is_file())
    what = draw.choice(["write", "write", "write", "remove", "move"])
    place = gallery / draw.choice(["ann", "bob"]) / f"{draw.randrange(6)}"
    if what == "write" or len(files) < 3:
        kind, line = draw.choice([(".jpg", shows), (".wav", says), (".mp4", shows)])
        people = draw.sample(["ann", "bob", "cid", "dan"], draw.choice([1, 1, 2, 3]))
        text = line(*people) + (says(*people[::-1]) if kind == ".mp4" else "")
        fill(gallery, {str(place.with_suffix(kind).relative_to(gallery)): text})
    elif what == "remove":
        draw.choice(files).unlink()
    else:
        source = draw.choice(files)
        place.parent.mkdir(exist_ok=True)
        source.rename(place.with_suffix(source.suffix))
