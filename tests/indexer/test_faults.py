"""Disks that are full, folders that may only be read, files cut short or changed."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from indexer.errors import BadRequest, IndexBusy, IndexDamaged
from indexer.index import Index
from indexer.ingest.ingest import ingest
from tests.helpers.contents import contents
from tests.helpers.fakes import SPACE, FakeEmbedder, FakeExtractor, fake_vector
from tests.helpers.places import change, everything, fill

DISK = 1 << 21  # bytes
QUERY = fake_vector("a question")[None]


# Folders that may only be read


def test_an_index_that_may_only_be_read_answers_and_stays_as_it_is(run, folder, unprivileged):
    run()
    with Index.open(folder) as index:
        expected = index.search(QUERY, 20).hits
    before = everything(folder)
    with unprivileged(folder):
        with Index.open(folder) as index:
            assert index.search(QUERY, 20).hits == expected
            assert index.verify() == []
            assert index.counts().files == 5
            with pytest.raises(BadRequest, match="cannot be written to"):
                index.forget("ann")
        assert everything(folder) == before


def test_a_user_without_write_permission_reads_while_another_has_it_open(run, folder, unprivileged):
    run()
    with Index.open(folder) as writer:
        expected = writer.search(QUERY, 20).hits
        with unprivileged(folder), Index.open(folder) as index:
            assert index.search(QUERY, 20).hits == expected


def test_a_reader_without_locks_sees_each_newer_revision(run, folder, unprivileged):
    run()
    with unprivileged(folder):
        index = Index.open(folder)
        first = index.revision
    change(folder, "INSERT INTO revision (at, what) VALUES ('now', 'index')")
    with unprivileged(folder):
        assert index.revision == first + 1
        index.close()


def test_a_reader_without_locks_reports_a_write_meanwhile(run, folder, unprivileged):
    run()
    with unprivileged(folder):
        index = Index.open(folder)

        def read_while_it_is_written():
            with index.catalog.read() as read:
                read.counts()
                _touch_as_its_owner(folder / "catalog.sqlite")

        with pytest.raises(IndexBusy, match="written to while it was read; ask again"):
            read_while_it_is_written()
        assert index.counts().files == 5
        index.close()


def _touch_as_its_owner(path):
    stranger = os.geteuid()
    os.seteuid(os.getuid())
    try:
        os.utime(path, ns=(1, 1))
    finally:
        os.seteuid(stranger)


def test_a_log_that_the_user_may_not_apply_says_who_can(run, folder, tmp_path, unprivileged):
    run()
    stopped = tmp_path / "stopped"
    with Index.open(folder) as index, index.catalog.write("index"):
        shutil.copytree(folder, stopped)
    (stopped / "catalog.sqlite-shm").unlink()
    with unprivileged(stopped), pytest.raises(BadRequest, match="run avsearch info on it once"):
        Index.open(stopped)
    with Index.open(stopped) as index:
        assert index.verify() == []
    assert contents(stopped) == contents(folder)


# Full disks


@pytest.fixture(params=["a disk of its own", "a limit of file sizes"])
def disk(request, tmp_path):
    """A folder, and a context in which only so many bytes are left for it."""
    if request.param == "a limit of file sizes":
        yield tmp_path, _no_file_longer
        return
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a disk")
    try:
        yield place, functools.partial(_filled, place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def _no_file_longer(room):
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, was[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)


@contextlib.contextmanager
def _filled(place, room):
    filler = place / "filler"
    filler.write_bytes(bytes(max(shutil.disk_usage(place).free - room, 0)))
    try:
        yield
    finally:
        filler.unlink()


ROOMS = [0, 4096, 16_384, 40_000, 80_000, 150_000, 1 << 18]


@pytest.mark.parametrize("room", ROOMS)
def test_a_full_disk_is_reported_and_loses_nothing(disk, gallery, tmp_path, room):
    place, only = disk
    folder, whole = place / "index", tmp_path / "whole"
    small = fill(tmp_path / "small", {"ann/first.wav": "voice: the first\n"})
    for index in (folder, whole):
        _index(index, small)
    lines = "".join(f"voice: {number}\n" for number in range(300))
    fill(gallery, {"ann/long.wav": lines})
    _index(whole, gallery)
    with only(room):
        done = _done_or_said(lambda: _index(folder, gallery))
        assert done or room < ROOMS[-1]
        assert room or not done
    with Index.open(folder) as index:
        assert index.verify() == []
    _index(folder, gallery)
    assert contents(folder) == contents(whole)
    with Index.open(folder) as index:
        assert index.verify() == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_deletion_on_a_full_disk_deletes_all_or_says_so(disk, gallery, room):
    place, only = disk
    folder = place / "index"
    _index(folder, gallery)
    with only(room):
        _done_or_said(lambda: _forget(folder))
    with Index.open(folder) as index:
        assert index.verify() == []
        left = {who.key for who in index.people()}
        assert left in ({"ann", "bob", "cid"}, {"ann", "cid"})
        if "bob" in left:
            assert index.forget("bob").clean
        else:  # whatever the disk had no room for is made up for
            with index.writing():
                pass
        assert len(index.deletions()) == 1
    assert not any(b"Bob Baker" in content for content in everything(folder).values())


def _index(folder, gallery):
    with Index.open_or_create(folder, SPACE) as index:
        ingest(index, gallery, FakeExtractor(), FakeEmbedder())


def _forget(folder):
    with Index.open(folder) as index:
        index.forget("bob")


def _done_or_said(work):
    """Return True if it was done; otherwise check that the error is a sentence."""
    try:
        work()
    except BadRequest as error:
        said = str(error)
    else:
        return True
    assert re.search(r"the disk is full|could not be read or written \(disk I/O error", said)
    assert said.endswith("run again.")
    return False


# Files cut short and changed


def _cache_files(folder):
    return sorted(path for path in (folder / "cache").rglob("*") if path.is_file())


def _lengths(path):
    size = path.stat().st_size
    return sorted({0, 1, size // 3, size // 2, size - 1} - {size})


def test_a_cache_file_cut_short_is_rebuilt_and_changes_no_answer(run, folder, tmp_path):
    run()
    with Index.open(folder) as index:
        expected = index.search(QUERY, 20).hits
    damaged = [(path, length) for path in _cache_files(folder) for length in _lengths(path)]
    assert damaged
    for number, (path, length) in enumerate(damaged):
        copy = Path(shutil.copytree(folder, tmp_path / str(number)))
        with (copy / path.relative_to(folder)).open("r+b") as file:
            file.truncate(length)
        with Index.open(copy) as index:
            assert index.verify() != []
            assert index.search(QUERY, 20).hits == expected
            assert index.verify() == []


def test_a_byte_that_flipped_in_the_cache_changes_no_answer(run, folder, tmp_path):
    run()
    with Index.open(folder) as index:
        expected = index.search(QUERY, 20).hits
    draw = random.Random(0)
    for path in _cache_files(folder):
        copy = Path(shutil.copytree(folder, tmp_path / path.name))
        place = copy / path.relative_to(folder)
        for at in {0, path.stat().st_size - 1, *draw.choices(range(path.stat().st_size), k=20)}:
            content = bytearray(path.read_bytes())
            content[at] ^= 1 << draw.randrange(8)
            place.write_bytes(content)
            with Index.open(copy) as index:
                assert index.search(QUERY, 20).hits == expected
                assert index.verify() == []


def test_a_catalog_cut_short_is_reported_and_left_unchanged(run, folder):
    run()
    path = folder / "catalog.sqlite"
    content = path.read_bytes()
    for length in [
        0,
        1,
        99,
        100,
        511,
        4095,
        *range(4096, len(content), 4096 + 333),
        len(content) - 1,
    ]:
        path.write_bytes(content[:length])
        with pytest.raises(IndexDamaged, match=r"catalog\.sqlite .*; restore it from") as error:
            Index.open(folder)
        assert error.value.exit_code == 4
        assert path.read_bytes() == content[:length]
