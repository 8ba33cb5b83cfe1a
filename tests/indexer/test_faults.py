"""Disks that are full, folders that may only be read, files cut short or changed."""

from __future__ import annotations

import os
import shutil

import pytest
from contents import contents
from fakes import fake_vector
from places import change, everything

from indexer.errors import BadRequest, IndexBusy
from indexer.index import Index

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


def test_somebody_without_the_right_to_write_reads_while_another_has_it_open(
    run, folder, unprivileged
):
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


def test_a_reader_without_locks_says_that_somebody_wrote_meanwhile(run, folder, unprivileged):
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


def test_a_log_that_nobody_here_may_take_in_says_who_can(run, folder, tmp_path, unprivileged):
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
