"""Pruning: which files a run removes, and which it keeps, as a disk may not be mounted."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from indexer.errors import BadRequest
from indexer.index import Index
from indexer.ingest.scan import BROKEN_LINK, NO_FILE, scan
from tests.helpers.contents import contents
from tests.helpers.fakes import FakeExtractor
from tests.helpers.places import fill


def emptied(gallery):
    """Empty a folder, as that of a disk that is not mounted."""
    shutil.rmtree(gallery)
    gallery.mkdir()


def refused(question):
    raise AssertionError(question)


@pytest.mark.parametrize(
    "left", [{}, {".hidden": ""}, {"notes.txt": "?"}, {"dan/new.wav": "voice: d"}]
)
@pytest.mark.parametrize("confirm", [None, lambda _: True])
def test_of_a_gallery_of_which_nothing_is_there_nothing_is_removed(
    run, folder, gallery, left, confirm
):
    run()
    before = contents(folder)
    emptied(gallery)
    fill(gallery, left)
    with pytest.raises(BadRequest, match=rf"{gallery}: none of the 5 files .* --prune removes n"):
        run(prune=True, confirm=confirm)
    assert contents(folder) == before


def test_nothing_is_removed_of_the_others_either(run, folder, gallery, tmp_path):
    other = fill(tmp_path / "other", {"dan/x.wav": "voice: dan", "dan/y.wav": "voice: dan 2"})
    run([gallery, other])
    before = contents(folder)
    emptied(other)
    (gallery / "cid/face.jpg").unlink()
    with pytest.raises(BadRequest, match=rf"{other}: none of the 2 files"):
        run([gallery, other], prune=True)
    assert contents(folder) == before
    assert run(gallery, prune=True).removed == 1


def test_a_run_without_prune_says_that_nothing_is_there(run, folder, gallery):
    fill(gallery, {"ann/empty.wav": ""})
    run()
    before = contents(folder)
    emptied(gallery)
    report = run()
    assert report.vanished == {gallery: 5}
    assert (len(report.missing), report.people, report.removed) == (5, 3, 0)
    assert contents(folder) == before
    fill(gallery, {"dan/new.wav": "voice: dan"})
    assert run().vanished == {gallery: 5}
    assert run().vanished == {}


def test_more_than_half_of_a_gallery_is_removed_only_when_that_is_confirmed(run, folder, gallery):
    run()
    before = contents(folder)
    shutil.rmtree(gallery / "ann")
    (gallery / "cid/face.jpg").unlink()
    with pytest.raises(BadRequest, match=rf"3 of the 5 files .* {gallery} are gone.* with --yes"):
        run(prune=True)
    questions = []
    report = run(prune=True, confirm=questions.append)
    assert (report.removed, len(report.missing)) == (0, 3)
    assert contents(folder) == before
    report = run(prune=True, confirm=lambda question: questions.append(question) or True)
    assert (report.removed, report.missing, report.people) == (3, [], 1)
    assert all("3 of the 5 files" in question for question in questions)
    assert len(questions) == 2


def test_half_of_a_gallery_is_removed_without_a_question(run, gallery):
    fill(gallery, {"dan/x.wav": "voice: dan"})
    run()
    shutil.rmtree(gallery / "ann")
    (gallery / "cid/face.jpg").unlink()
    assert run(prune=True, confirm=refused).removed == 3


def test_galleries_are_counted_each_by_itself(run, gallery, tmp_path):
    files = {f"dan/{n}.wav": f"voice: {n}" for n in range(3)}
    other = fill(tmp_path / "other", files)
    run([gallery, other])
    for n in range(2):
        (other / f"dan/{n}.wav").unlink()
    with pytest.raises(BadRequest, match=rf"2 of the 3 files .* {other} are gone"):
        run([gallery, other], prune=True)


def test_moved_files_are_not_missing(run, folder, gallery, tmp_path):
    run()
    for who in ("ann", "bob", "cid"):
        (gallery / who).rename(gallery / f"{who} moved")
    report = run(prune=True, confirm=refused)
    assert (report.moved, report.removed) == (5, 0)
    moved = gallery.rename(tmp_path / "elsewhere")
    gallery.mkdir()
    assert run([gallery, moved], prune=True, confirm=refused).moved == 5


def test_new_files_of_the_size_of_missing_ones_do_not_remove_them(run, folder, gallery):
    run()
    for n, path in enumerate(
        [gallery / "ann/one.wav", gallery / "bob/talk.wav", gallery / "cid/face.jpg"]
    ):
        other = path.read_text().swapcase()
        path.unlink()
        fill(
            gallery,
            {f"dan/{n}{path.suffix}": other.replace("VOICE", "voice").replace("FACE", "face")},
        )
    with pytest.raises(BadRequest, match="3 of the 5 files"):
        run(prune=True)
    assert run().unchanged == 5
    assert run(prune=True).removed == 3  # of 8 that are known by now


def test_files_behind_a_broken_link_are_not_missing(run, folder, gallery, tmp_path):
    disk = tmp_path / "disk"
    (gallery / "ann").rename(disk)
    (gallery / "ann").symlink_to(disk)
    run()
    before = contents(folder)
    disk.rename(tmp_path / "unplugged")
    report = run(prune=True, confirm=refused)
    assert report.refused == [(gallery / "ann", BROKEN_LINK)]
    assert (report.removed, report.missing) == (0, [])
    assert contents(folder)["items"] == before["items"]
    (tmp_path / "unplugged").rename(disk)
    assert run().unchanged == 5
    assert contents(folder) == before
    (disk / "one.wav").unlink()
    assert run(prune=True).removed == 1


def test_a_gallery_of_links_that_lead_nowhere_loses_nothing(run, folder, gallery, tmp_path):
    for who in ("ann", "bob", "cid"):
        (gallery / who).rename(tmp_path / f"disk of {who}")
        (gallery / who).symlink_to(tmp_path / f"disk of {who}")
    run()
    before = contents(folder)["items"]
    for who in ("ann", "bob", "cid"):
        shutil.rmtree(tmp_path / f"disk of {who}")
    assert run(prune=True, confirm=refused).removed == 0
    assert contents(folder)["items"] == before


def test_a_disk_that_fails_for_now_is_no_reason_to_remove_what_is_on_it(
    run, folder, gallery, monkeypatch
):
    run()
    before = contents(folder)["items"]
    plain, failing = (os.stat, os.lstat), gallery / "bob"

    def fail(look):
        def go(path, *arguments, **options):
            if isinstance(path, str | Path) and Path(path).is_relative_to(failing / "talk.wav"):
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return look(path, *arguments, **options)

        return go

    monkeypatch.setattr(os, "stat", fail(plain[0]))
    monkeypatch.setattr(os, "lstat", fail(plain[1]))
    report = run(prune=True)
    assert report.refused == [(failing / "talk.wav", NO_FILE)]
    assert report.removed == 0
    monkeypatch.undo()
    assert contents(folder)["items"] == before
    assert run().unchanged == 5


def test_a_manifest_of_which_nothing_is_there_removes_nothing(run, folder, gallery, tmp_path):
    disk = fill(tmp_path / "disk", {"a.wav": "voice: a", "b.wav": "voice: b"})
    table = tmp_path / "list.csv"
    table.write_text(f"path,person\n{disk}/a.wav,ann\n{disk}/b.wav,bob\n")
    kind = FakeExtractor().kind
    empty = fill(tmp_path / "empty", {"x/y.txt": ""})
    run(scan(empty, kind, manifest=table))
    before = contents(folder)["items"]
    disk.rename(tmp_path / "unplugged")
    with pytest.raises(BadRequest, match="none of the 2 files"):
        run(scan(empty, kind, manifest=table), prune=True)
    assert contents(folder)["items"] == before


def test_what_comes_back_during_a_run_is_not_removed(run, folder, gallery):
    """Mounts the disk again while other files are read."""
    run()
    path = gallery / "cid/face.jpg"
    content = path.read_text()
    path.unlink()
    fill(gallery, {"ann/new.wav": "voice: new"})
    report = run(prune=True, progress=lambda done, total: path.write_text(content))
    assert (report.removed, report.people) == (0, 3)
    with Index.open(folder) as index:
        assert index.counts().faces == 3
