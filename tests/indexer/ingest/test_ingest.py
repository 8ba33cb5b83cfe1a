from __future__ import annotations

import os
import threading

import pytest

from indexer.errors import BadRequest, ForeignSpace
from indexer.index import Index
from indexer.ingest import ingest as module
from indexer.ingest.scan import BROKEN_LINK, EMPTY, LOOSE, NOT_THERE, UNREADABLE, scan
from indexer.records import FileRecord, NewItem, Stat
from indexer.runtime import prefetch
from indexer.types import Space
from tests.helpers.fakes import FakeEmbedder, FakeExtractor, fake_vector
from tests.helpers.places import PEOPLE, fill


def touch(path, ns=7):
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + ns))


def items(folder):
    """Return every item as (id, path, person)."""
    with Index.open(folder) as index:
        hits = index.search(fake_vector("any")[None], 1000).hits[0]
    return {(item.id, item.path.name, item.person.key) for item, _ in hits}


def paths(refused):
    return {path.name: reason for path, reason in refused}


def test_a_first_run_takes_everything(run, folder):
    report = run()
    assert (report.people, report.faces, report.voices) == (3, 3, 4)
    assert (report.added, report.updated, report.unchanged, report.removed) == (5, 0, 0, 0)
    assert (report.refused, report.missing, report.ignored) == ([], [], {})
    assert report.seconds >= 0
    assert len(items(folder)) == 7
    with Index.open(folder) as index:
        counts = index.counts()
        assert (counts.people, counts.files, counts.refused) == (3, 5, 0)
        assert index.verify() == []
        assert [who.key for who in index.people()] == ["ann", "bob", "cid"]  # eve has no media


def test_a_second_run_looks_into_nothing(run, folder):
    run()
    with Index.open(folder) as index:
        before = index.revision
    extractor, embedder = FakeExtractor(), FakeEmbedder()
    report = run(extractor=extractor, embedder=embedder)
    assert (report.added, report.unchanged) == (0, 5)
    assert extractor.asked == embedder.batches == []
    with Index.open(folder) as index:
        assert index.revision == before


def test_same_bytes_with_another_time_are_only_hashed_once(run, gallery, monkeypatch):
    run()
    touch(gallery / "bob/talk.wav")
    extractor = FakeExtractor()
    assert run(extractor=extractor).unchanged == 5
    assert extractor.asked == []
    monkeypatch.setattr(
        "indexer.ingest.read_file.file_sha256", lambda path: pytest.fail("it was read")
    )
    assert run().unchanged == 5


def test_a_changed_file_is_read_again_and_gets_new_ids(run, folder, gallery):
    run()
    before = items(folder)
    fill(gallery, {"ann/one.wav": "voice: ann has changed\n"})
    extractor = FakeExtractor()
    report = run(extractor=extractor)
    assert (report.updated, report.unchanged, report.added) == (1, 4, 0)
    assert extractor.asked == [gallery / "ann/one.wav"]
    new = items(folder) - before
    assert [entry[1:] for entry in new] == [("one.wav", "ann")]
    assert min(new)[0] > max(before)[0]


def test_numbers_are_never_used_again(run, folder, gallery):
    run()
    highest = max(items(folder))[0]
    with Index.open(folder) as index:
        for who in ("ann", "bob", "cid"):
            index.forget(who)
    assert items(folder) == set()
    run()
    assert min(items(folder))[0] > highest


def test_other_settings_make_every_file_new(run):
    run()
    report = run(extractor=FakeExtractor("faces=detect"))
    assert (report.updated, report.unchanged) == (5, 0)


def test_missing_files_are_listed_and_pruned_on_request(run, folder, gallery):
    run()
    (gallery / "cid/face.jpg").unlink()
    (gallery / "bob/talk.wav").unlink()
    report = run()
    assert [path.name for path in report.missing] == ["talk.wav", "face.jpg"]
    assert (report.removed, report.people) == (0, 3)
    report = run(prune=True)
    assert (report.removed, report.missing, report.people, report.voices) == (2, [], 2, 3)
    with Index.open(folder) as index:
        assert [who.key for who in index.people()] == ["ann", "bob"]


def test_a_file_that_is_hidden_now_is_not_missing(run, gallery, tmp_path):
    run()
    (tmp_path / "list.csv").write_text("path,person\nbob/talk.wav,bob\n")
    part = scan(gallery, FakeExtractor().kind, manifest=tmp_path / "list.csv")
    report = run(part, prune=True)
    assert (report.unchanged, report.removed, report.people) == (1, 0, 3)


def test_deleted_pictures_that_an_earlier_version_took_are_dropped(run, folder, gallery):
    fill(gallery, {"#recycle/ann/x.wav": "voice: x\n", "#recycle/y.wav": "voice: y\n"})
    (gallery / "list.csv").write_text("path,person\n#recycle/y.wav,ann\n")
    run()
    run(scan(gallery, FakeExtractor().kind, manifest=gallery / "list.csv"))
    path, asked = gallery / "#recycle/ann/x.wav", frozenset({("#recycle", None, 0.0, None)})
    record = FileRecord(path, gallery, Stat(1, 1), "ab", "faces=whole", asked)
    new = NewItem("#recycle", "voice", 0.0, 1.0, None, fake_vector("x"))
    with Index.open(folder) as index, index.writing() as catalog, catalog.write("index") as write:
        write.put_files([(record, [new])], {})
    report = run()
    assert (report.removed, report.missing, report.passed_over) == (1, [], {"#recycle": 1})
    with Index.open(folder) as index:
        assert [who.key for who in index.people()] == ["ann", "bob", "cid"]
        paths = [item.path for item in index.items_of("ann")[0]]
    assert gallery / "#recycle/y.wav" in paths  # by the manifest


def test_another_gallery_leaves_the_first_alone(run, tmp_path):
    run()
    other = fill(tmp_path / "other", {"dan/x.wav": "voice: dan"})
    report = run(other, prune=True)
    assert (report.added, report.removed, report.people) == (1, 0, 4)
    assert run([other]).unchanged == 1


def test_refused_files_stop_nothing_and_are_listed_again(run, folder, gallery):
    fill(
        gallery,
        {
            "ann/bad.wav": "refuse: it is no sound; convert it.",
            "ann/later.wav": "later: the disk slept; try again.",
            "bob/empty.wav": "",
            "bob/nobody.jpg": "sky",
            "cid/mute.wav": "voice: mute\n",
            "cid/nan.wav": "voice: nan\n",
            "cid/part.wav": "voice: mute\nvoice: loud\n",
        },
    )
    expected = {
        "bad.wav": "it is no sound; convert it.",
        "later.wav": "the disk slept; try again.",
        "empty.wav": EMPTY,
        "nobody.jpg": "nobody is in it.",
        "mute.wav": "it is mute.",
        "nan.wav": module.NOT_FINITE,
    }
    report = run()
    assert report.added == 6
    assert paths(report.refused) == expected
    with Index.open(folder) as index:
        assert paths(index.refused()) == expected
        assert index.counts().refused == 6
        before = index.revision
    extractor = FakeExtractor()
    again = run(extractor=extractor)
    assert paths(again.refused) == expected
    assert (again.added, again.updated, again.unchanged) == (0, 0, 6)
    assert [path.name for path in extractor.asked] == ["later.wav"]
    with Index.open(folder) as index:
        assert index.revision == before
        assert index.verify() == []


def test_a_refused_file_that_is_mended_is_taken(run, gallery):
    fill(gallery, {"ann/x.wav": "", "ann/y.wav": "refuse: no"})
    assert len(run().refused) == 2
    fill(gallery, {"ann/x.wav": "voice: x", "ann/y.wav": "voice: y"})
    report = run()
    assert (report.added, report.refused) == (2, [])


def test_a_file_refused_now_loses_its_items(run, folder, gallery):
    run()
    fill(gallery, {"bob/talk.wav": "refuse: broken", "cid/face.jpg": ""})
    report = run()
    assert paths(report.refused) == {"talk.wav": "broken", "face.jpg": EMPTY}
    assert {name for _, name, _ in items(folder)} == {"one.wav", "face.jpg", "film.mp4"}
    assert (report.faces, report.voices, report.people) == (2, 3, 2)


def test_a_file_that_cannot_be_read_for_now_keeps_its_items(run, folder, gallery, monkeypatch):
    run()
    before = items(folder)
    kept = (gallery / "cid/face.jpg").read_text()
    fill(gallery, {"bob/talk.wav": "later: the disk slept"})  # other bytes, which cannot be read
    (gallery / "cid/face.jpg").unlink()
    (gallery / "cid/face.jpg").symlink_to("/not/mounted/face.jpg")
    hidden = gallery / "ann/one.wav"
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, *a, **k: path != hidden and may(path, *a, **k))
    report = run(prune=True)
    assert paths(report.refused) == {
        "talk.wav": "the disk slept",
        "face.jpg": BROKEN_LINK,
        "one.wav": UNREADABLE,
    }
    assert items(folder) == before
    monkeypatch.undo()
    (gallery / "cid/face.jpg").unlink()
    fill(gallery, {"bob/talk.wav": "voice: bob\n", "cid/face.jpg": kept})
    report = run()
    assert (report.refused, report.added, report.updated) == ([], 0, 0)
    assert items(folder) == before


def test_a_missing_file_of_a_manifest_stays_until_it_is_pruned(run, folder, gallery, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("path,person\nann/one.wav,ann\nbob/talk.wav,bob\n")
    kind = FakeExtractor().kind
    run(scan(gallery, kind, manifest=table))
    before = items(folder)
    gone = gallery / "bob/talk.wav"
    gone.unlink()
    report = run(scan(gallery, kind, manifest=table))
    assert (report.refused, report.missing) == ([(gone, NOT_THERE)], [gone])
    assert items(folder) == before
    assert run(scan(gallery, kind, manifest=table), prune=True).removed == 1
    assert {name for _, name, _ in items(folder)} == {"one.wav"}


def test_a_folder_of_the_gallery_named_in_its_place_takes_nothing_away(run, folder, gallery):
    run()
    before = items(folder)
    report = run(gallery / "bob")
    assert paths(report.refused) == {"film.mp4": LOOSE, "talk.wav": LOOSE}
    assert items(folder) == before


def test_a_refusal_of_what_is_no_longer_there_is_forgotten(run, folder, gallery):
    path = fill(gallery, {"ann/x.wav": ""}) / "ann/x.wav"
    run()
    path.unlink()
    assert run().refused == []
    with Index.open(folder) as index:
        assert index.refused() == []


def test_metadata_of_people_csv_are_updated_without_embedding(run, folder, gallery):
    run()
    (gallery / "people.csv").write_text(PEOPLE.replace("Bob Baker,M,France", "Robert,m,Spain"))
    embedder = FakeEmbedder()
    assert run(embedder=embedder).unchanged == 5
    assert embedder.batches == []
    with Index.open(folder) as index:
        assert (index.person("bob").name, index.person("bob").nationality) == ("Robert", "Spain")
        assert len(index.search(fake_vector("x")[None], 9, where={"nationality": "spain"}).hits[0])


def test_rows_of_a_manifest_are_items_of_their_people(run, folder, gallery, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(
        "path,person,modality,start_s,end_s\n"
        "bob/film.mp4,bob,voice,1,2\nbob/film.mp4,dan,voice,4,5.5\nbob/film.mp4,dan,,7,9\n"
    )
    kind = FakeExtractor().kind
    report = run(scan(gallery, kind, manifest=table))
    assert (report.added, report.people, report.faces, report.voices) == (1, 2, 1, 3)
    with Index.open(folder) as index:
        hits = index.search(fake_vector("x")[None], 9, where={"person": "dan"}).hits[0]
        spans = {(item.modality, item.start_s, item.end_s) for item, _ in hits}
        assert spans == {("voice", 4.0, 5.5), ("voice", 7.0, 9.0), ("face", 7.0, None)}
    assert run(scan(gallery, kind, manifest=table)).unchanged == 1
    table.write_text(table.read_text().replace("4,5.5", "4,5"))
    assert run(scan(gallery, kind, manifest=table)).updated == 1
    with Index.open(folder) as index:
        assert index.forget("dan").items == 3
        assert index.counts().voices == 1


def test_batches_go_across_files_and_are_full(run, tmp_path, folder):
    lines = {
        f"p{n % 3}/{n}.wav": "".join(f"voice: {n} {i}\n" for i in range(n)) for n in range(1, 20)
    }
    embedder = FakeEmbedder()
    report = run(fill(tmp_path / "g", lines), embedder=embedder, batch_size=16, workers=3)
    assert report.voices == sum(range(20))
    assert max(embedder.batches) == 16
    assert len(embedder.batches) == -(-report.voices // 16)
    with Index.open(folder) as index:
        assert len(index.vectors_of("p1")[0]) == sum(range(1, 20, 3))


def test_progress_counts_to_the_end(run):
    seen = []
    run(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 5) for n in range(6)]
    seen.clear()
    run(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 5)]


class Breaking(FakeExtractor):
    """Raises at one file."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def extract(self, path, modality=None, **_):
        if path.name == "talk.wav":
            raise self.error
        yield from super().extract(path, modality)


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), KeyboardInterrupt()])
def test_what_was_finished_before_an_interruption_stays(run, folder, error):
    threads = threading.active_count()
    with pytest.raises(type(error)):
        run(extractor=Breaking(error), batch_size=1, workers=1)
    assert threading.active_count() <= threads
    done = items(folder)
    assert {name for _, name, _ in done} == {"one.wav", "face.jpg", "film.mp4"}
    report = run()
    assert (report.unchanged, report.added) == (3, 2)
    assert done < items(folder)
    with Index.open(folder) as index:
        assert index.verify() == []


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), KeyboardInterrupt()])
def test_an_interrupted_embedder_leaves_no_half_file_and_no_thread(run, folder, tmp_path, error):
    class Stopping(FakeEmbedder):
        def embed(self, media):
            if len(self.batches) == 3:
                raise error
            return super().embed(media)

    long = "".join(f"voice: {n}\n" for n in range(500))
    gallery = fill(tmp_path / "g", {"a/1.wav": "voice: short", "a/2.wav": long, "b/3.wav": long})
    threads = threading.active_count()
    with pytest.raises(type(error)):
        run(gallery, embedder=Stopping(), batch_size=4, workers=2)
    assert threading.active_count() <= threads
    assert {name for _, name, _ in items(folder)} <= {"1.wav"}
    assert run(gallery).voices == 1001


def test_prefetching_is_bounded():
    made = []

    def read(job):
        for n in range(1000):
            made.append(n)
            yield n

    with prefetch.Prefetcher([1], read, workers=1, depth=5) as events:
        next(iter(events))
    assert len(made) <= 8


def test_files_are_committed_while_others_are_read(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMMIT_FILES", 2)
    gallery = fill(tmp_path / "g", {f"a/{n}.wav": f"voice: {n}" for n in range(9)})
    with Index.open_or_create(folder, FakeEmbedder().space) as index:
        before = index.revision
        module.ingest(index, gallery, FakeExtractor(), FakeEmbedder(), batch_size=1, workers=1)
        assert index.revision == before + 5


def test_due_files_are_written_before_a_batch_is_full(run, folder, monkeypatch):
    monkeypatch.setattr(module, "COMMIT_S", 0.0)
    embedder = FakeEmbedder()
    run(embedder=embedder)
    assert embedder.batches == [1] * 7


def test_an_embedder_of_another_space_is_refused(folder, gallery):
    other = FakeEmbedder(Space("other", "ff", 8, "l2"))
    with (
        Index.open_or_create(folder, FakeEmbedder().space) as index,
        pytest.raises(ForeignSpace),
    ):
        module.ingest(index, gallery, FakeExtractor(), other)


def test_a_wrong_gallery_changes_nothing(run, folder, gallery):
    run()
    before = items(folder)
    (gallery / "people.csv").write_text("person,name\nann,A\nann,B\n")
    with pytest.raises(BadRequest, match="line 3"):
        run()
    assert items(folder) == before


def test_people_of_the_table_who_have_no_folder_are_named(run):
    assert run().unmatched == ["eve"]


def test_what_is_found_in_a_file_may_be_joined_before_it_is_written(run, folder):
    told = {}

    def first_only(path, items):
        told[path.name] = [item.modality for item in items]
        return items[:1]

    report = run(merge_items=first_only)
    assert told["one.wav"] == ["voice", "voice"]
    assert told["film.mp4"] == ["face", "voice"]
    assert (report.added, len(told)) == (5, 4)  # two are called face.jpg
    assert report.faces + report.voices == len(items(folder)) == 5


def test_ranges_of_a_manifest_are_not_joined(run, gallery, tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "path,person,modality,start_s,end_s\nann/one.wav,ann,voice,0,1\nann/one.wav,ann,voice,1,2\n"
    )
    part = scan(gallery, FakeExtractor().kind, manifest=manifest)
    report = run(part, merge_items=lambda path, items: [])
    assert (report.voices, report.refused) == (2, [])


def test_notes_on_taken_files_are_stored_and_reported_again(run, folder, gallery):
    fill(gallery, {"ann/one.wav": "note: the second track was taken\nvoice: ann\nnote: and more\n"})
    said = [
        (gallery / "ann/one.wav", "and more"),
        (gallery / "ann/one.wav", "the second track was taken"),
    ]
    assert run().notes == said
    assert run().notes == said  # no file was read
    with Index.open(folder) as index:
        assert sorted(index.file_notes()) == said
    (gallery / "ann/one.wav").rename(gallery / "bob/one.wav")
    assert run().notes == [(gallery / "bob/one.wav", note) for _, note in said]
    fill(gallery, {"bob/one.wav": "voice: ann\n"})
    assert run().notes == []


def test_notes_on_a_refused_file_are_not_reported(run, gallery):
    fill(gallery, {"ann/one.wav": "note: the second track was taken\nrefuse: nothing in it\n"})
    report = run()
    assert report.notes == []
    assert paths(report.refused) == {"one.wav": "nothing in it"}
