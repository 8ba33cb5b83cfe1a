"""Moved files, duplicates, and sources of files that give no item."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.index import Index
from indexer.ingest.file_in_progress import NOTHING
from indexer.ingest.ingest import ingest
from indexer.ingest.scan import scan
from indexer.records import map_people
from tests.helpers.contents import contents
from tests.helpers.fakes import SPACE, FakeEmbedder, FakeExtractor, fake_vector
from tests.helpers.places import fill


def items(folder):
    """Return path and person of every item, by id."""
    with Index.open(folder) as index:
        hits = index.search(fake_vector("any")[None], 1000).hits[0]
        assert index.verify() == []
    return {item.id: (str(item.path), item.person.key) for item, _ in hits}


# Files that were moved


def test_a_renamed_file_keeps_its_items_and_is_not_looked_into(run, folder, gallery):
    run()
    before = items(folder)
    (gallery / "ann/one.wav").rename(gallery / "ann/first.wav")
    extractor, embedder = FakeExtractor(), FakeEmbedder()
    report = run(extractor=extractor, embedder=embedder)
    assert (report.moved, report.added, report.unchanged, report.missing) == (1, 0, 4, [])
    assert extractor.asked == embedder.batches == []
    place = {str(gallery / "ann/one.wav"): str(gallery / "ann/first.wav")}
    assert items(folder) == {
        number: (place.get(path, path), who) for number, (path, who) in before.items()
    }
    assert run().unchanged == 5


def test_a_file_moved_to_another_person_is_theirs(run, folder, gallery):
    run()
    before = items(folder)
    (gallery / "bob/film.mp4").rename(gallery / "cid/film.mp4")
    report = run()
    assert (report.moved, report.people) == (1, 3)
    moved = {n: at for n, at in items(folder).items() if before[n] != at}
    assert set(moved.values()) == {(str(gallery / "cid/film.mp4"), "cid")}
    assert len(moved) == 2
    with Index.open(folder) as index:
        assert len(index.vectors_of("bob")[0]) == 1


def test_a_folder_that_was_renamed_is_a_person_who_was(run, folder, gallery):
    run()
    (gallery / "bob").rename(gallery / "bill")
    embedder = FakeEmbedder()
    assert (run(embedder=embedder).moved, embedder.batches) == (2, [])
    with Index.open(folder) as index:
        assert [who.key for who in index.people()] == ["ann", "bill", "cid"]


def test_a_gallery_that_was_moved_is_found_at_its_new_place(run, folder, gallery, tmp_path):
    run()
    before = set(items(folder))
    report = run(gallery.rename(tmp_path / "elsewhere"))
    assert (report.moved, report.added, report.missing) == (5, 0, [])
    assert set(items(folder)) == before


def test_a_file_moved_in_place_of_another_is_that_one_no_more(run, folder, gallery):
    run()
    before = items(folder)
    (gallery / "cid/face.jpg").replace(gallery / "ann/deep/er/face.jpg")
    fill(gallery, {"cid/other.jpg": "face: another of cid\n"})
    report = run()
    assert (report.moved, report.added) == (1, 1)
    after = items(folder)
    assert {n for n, at in after.items() if at[0].endswith("er/face.jpg")} == {
        n for n, at in before.items() if at[0].endswith("cid/face.jpg")
    }


def test_a_copy_is_no_move_and_only_one_of_two_files_is_what_a_third_was(run, folder, gallery):
    run()
    fill(gallery, {"ann/copy.wav": "voice: bob\n"})
    report = run()
    assert (report.moved, report.added) == (0, 1)
    content = (gallery / "ann/one.wav").read_text()
    (gallery / "ann/one.wav").unlink()
    fill(gallery, {"ann/two.wav": content, "ann/three.wav": content})
    report = run()
    assert (report.moved, report.added, report.missing) == (1, 1, [])
    assert len(items(folder)) == 10


def test_files_with_other_settings_or_suffixes_are_read_again(run, gallery):
    run()
    (gallery / "ann/one.wav").rename(gallery / "ann/one.mp4")
    assert (run().moved, run().added) == (0, 0)
    (gallery / "bob/talk.wav").rename(gallery / "bob/talked.wav")
    report = run(extractor=FakeExtractor("faces=detect"))
    assert (report.moved, report.added) == (0, 1)


def test_a_file_of_ranges_is_moved_with_its_people(run, folder, gallery, tmp_path):
    table = tmp_path / "list.csv"
    rows = "path,person,modality,start_s,end_s\n{0},bob,voice,1,2\n{0},dan,voice,4,5.5\n"
    table.write_text(rows.format("bob/film.mp4"))
    run(scan(gallery, FakeExtractor().kind, manifest=table))
    before = {number: who for number, (_, who) in items(folder).items()}
    (gallery / "bob/film.mp4").rename(gallery / "moved.mp4")
    table.write_text(rows.format("moved.mp4").replace("dan", "eve"))
    report = run(scan(gallery, FakeExtractor().kind, manifest=table))
    assert (report.moved, report.people) == (1, 2)
    after = {number: who for number, (_, who) in items(folder).items()}
    assert after == {n: {"dan": "eve"}.get(who, who) for n, who in before.items()}


ASKED = st.frozensets(
    st.tuples(st.sampled_from("abc"), st.none(), st.sampled_from([0.0, 1.0, 2.0]), st.none())
)


@given(before=ASKED, now=ASKED)
def test_people_are_mapped_only_if_the_sources_are_otherwise_the_same(before, now):
    new_keys = map_people(before, now)
    if new_keys is not None:
        assert new_keys.keys() == {who for who, *_ in before}
        assert {(new_keys[who], *rest) for who, *rest in before} == now


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 2)),
        max_size=6,
    )
)
def test_however_files_are_changed_and_moved_an_update_equals_a_new_index(tmp_path_factory, acts):
    place = tmp_path_factory.mktemp("update")
    gallery = fill(place / "gallery", {f"{who}/{n}.wav": f"voice: {n}\n" for who in "abc"
                                       for n in range(2)})  # fmt: skip
    _index(place / "updated", gallery)
    for act, who, one, other in acts:
        _act(gallery, act, who, one, other)
    _index(place / "updated", gallery)
    _index(place / "new", gallery)
    assert contents(place / "updated") == contents(place / "new")


def _act(gallery, act, who, one, other):
    path, target = gallery / who / f"{one}.wav", gallery / "abc"[other] / f"{one + 1}.wav"
    if act == 0:
        fill(gallery, {f"{who}/{one}.wav": f"voice: changed {other}\n"})
    elif act == 1 and path.exists():
        path.rename(target)
    elif act == 2 and path.exists():
        fill(gallery, {os.fspath(target.relative_to(gallery)): path.read_text()})
    elif act == 3:
        path.unlink(missing_ok=True)


def _index(folder, gallery):
    with Index.open_or_create(folder, SPACE) as index:
        ingest(index, gallery, FakeExtractor(), FakeEmbedder(), prune=True)
        assert index.verify() == []


# Files that are there twice


def test_the_same_bytes_under_two_people_are_reported_each_time(run, gallery):
    assert run().duplicates == []
    fill(gallery, {"ann/same.jpg": "face: cid\n", "ann/again.jpg": "face: ann\n"})
    for _ in range(2):
        (same,) = run().duplicates
        assert same.paths == (gallery / "ann/same.jpg", gallery / "cid/face.jpg")
        assert same.people == ("ann", "cid")
    (gallery / "ann/same.jpg").unlink()
    assert run(prune=True).duplicates == []


# Sources without items


def test_rows_of_a_manifest_that_come_to_nothing_are_reported_each_time(
    run, folder, gallery, tmp_path
):
    fill(gallery, {"bob/two.mp4": "face: one\nvoice: mute\n"})
    table = tmp_path / "list.csv"
    table.write_text(
        "path,person,modality,start_s,end_s\nbob/two.mp4,bob,face,,\nbob/two.mp4,dan,voice,,\n"
    )
    kind = FakeExtractor().kind
    expected = [(gallery / "bob/two.mp4", "voice of dan from 0 s: it is mute.")]
    report = run(scan(gallery, kind, manifest=table))
    assert (report.refused, report.added) == (expected, 1)
    embedder = FakeEmbedder()
    report = run(scan(gallery, kind, manifest=table), embedder=embedder)
    assert (report.refused, report.unchanged, embedder.batches) == (expected, 1, [])
    with Index.open(folder) as index:
        assert index.refused() == expected
        assert index.counts().refused == 0
    (gallery / "bob/two.mp4").rename(gallery / "bob/three.mp4")
    table.write_text(table.read_text().replace("two", "three").replace("dan", "eve"))
    report = run(scan(gallery, kind, manifest=table))
    assert report.moved == 1
    assert report.refused == [(gallery / "bob/three.mp4", "voice of eve from 0 s: it is mute.")]


class Interrupted(FakeExtractor):
    """Refuses a file in its middle."""

    def extract(self, path, modality=None, **_):
        from indexer.errors import RefusedFile

        yield from super().extract(path, modality)
        if path.name == "one.wav":
            raise RefusedFile(path, "the disk slept; try again.", permanent=False)


def test_a_file_not_read_to_its_end_is_reported_and_tried_again(run, gallery):
    report = run(extractor=Interrupted())
    path = gallery / "ann/one.wav"
    assert report.refused == [(path, "face and voice of ann from 0 s: the disk slept; try again.")]
    assert report.voices == 4
    extractor = FakeExtractor()
    assert run(extractor=extractor).refused == []
    assert extractor.asked == [path]


@pytest.mark.parametrize("what", [NOTHING])
def test_a_source_without_items_is_reported(run, gallery, tmp_path, what):
    class Silent(FakeExtractor):
        def extract(self, path, modality=None, **_):
            if modality != "voice":
                yield from super().extract(path, modality)

    table = tmp_path / "list.csv"
    table.write_text("path,person,modality\nbob/film.mp4,bob,face\nbob/film.mp4,dan,voice\n")
    report = run(scan(gallery, FakeExtractor().kind, manifest=table), extractor=Silent())
    assert report.refused == [(gallery / "bob/film.mp4", f"voice of dan from 0 s: {what}")]
