"""SQLite's locks in a process that opens an index twice, while another process writes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import indexer
from indexer.approximate import NOTE as NOTE_OF_APPROXIMATE
from indexer.errors import BadRequest, IndexBusy, NoIndex
from indexer.exchange.exchange import export_index, import_file
from indexer.index import Index
from indexer.ingest.ingest import ingest
from tests.helpers import plain_opens, version1
from tests.helpers.fakes import SPACE, FakeEmbedder, FakeExtractor, fake_vector
from tests.helpers.places import fill

ROUNDS = 200
PEOPLE = 40
QUERY = fake_vector("a question")[None]
NOTE = "." * 3000  # enough that every note is a page of its own

OTHER = """
import sys, time
from pathlib import Path
from indexer.errors import IndexBusy
from indexer.index import Index

for number in range(int(sys.argv[2])):
    while True:
        try:
            with Index.open(Path(sys.argv[1])) as index:
                index.note({f"other {number}": "." * 3000})
            break
        except IndexBusy:
            time.sleep(0.001)
    print(f"other {number}", flush=True)
"""


@contextlib.contextmanager
def another_writer(folder: Path, rounds: int):
    """A process that opens, writes a note and closes repeatedly, with its commits so far."""
    told: list[str] = []
    command = [sys.executable, "-c", OTHER, str(folder), str(rounds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

        def listen() -> None:
            for line in process.stdout:
                told.append(line.strip())  # noqa: PERF401 - it is read while it grows

        ear = threading.Thread(target=listen)
        ear.start()
        try:
            yield told, process
            ear.join()
            assert process.wait() == 0
        finally:
            process.kill()
            ear.join()


def until_done(work):
    """Run something that the other process may block."""
    while True:
        try:
            return work()
        except IndexBusy:
            continue


def test_two_openings_in_a_process_lose_nothing_that_another_commits(run, folder, tmp_path):
    crowd = {f"person {n:02}/x.wav": f"voice: {n}\n" for n in range(PEOPLE)}
    run(fill(tmp_path / "crowd", crowd))
    mine, forgotten, number = [], [], 0
    with another_writer(folder, ROUNDS) as (committed, other), Index.open(folder) as one:
        two = Index.open(folder)
        while other.poll() is None or len(forgotten) < PEOPLE // 4:
            before = [*committed, *mine]
            for index in (one, two):
                assert set(before) <= index.notes().keys()
                assert len(index.search(QUERY, PEOPLE).hits[0]) == PEOPLE - len(forgotten)
            note = f"mine {number}"
            until_done(lambda note=note: one.note({note: NOTE}))
            mine.append(note)
            two.close()
            two = Index.open(folder)
            if number % 10 == 0 and len(forgotten) < PEOPLE // 2:
                person = f"person {len(forgotten):02}"
                assert until_done(lambda two=two, person=person: two.forget(person)).clean
                forgotten.append(person)
                assert one.verify() == []
                export_index(one, tmp_path / "out.parquet")
            number += 1
        two.close()
    with Index.open(folder) as index:
        assert {*mine, *(f"other {n}" for n in range(ROUNDS))} <= index.notes().keys()
        assert len(index.deletions()) == len(forgotten)
        assert index.verify() == []


def test_no_catalog_is_opened_but_by_sqlite(index, folder, tmp_path, gallery):
    """A fixture asserts it after every test; this test uses all methods of an index."""
    fill(gallery, {"ann/new.wav": "voice: new\n"})
    with Index.open_or_create(folder, SPACE, notes={NOTE_OF_APPROXIMATE: "hnsw"}) as other:
        ingest(other, gallery, FakeExtractor(), FakeEmbedder(), prune=True)
        export_index(other, tmp_path / "all.parquet")
        import_file(tmp_path / "all.parquet", folder)
        import_file(tmp_path / "all.parquet", tmp_path / "new")
        other.search(QUERY, 3, approximate=True)
        other.forget("ann")
        other.rebuild()
        assert other.verify() == index.verify() == []
    version1.make(tmp_path / "old")
    Index.open(tmp_path / "old").close()
    assert plain_opens.taken() == []


def test_a_plain_opening_of_a_catalog_by_a_package_is_seen(folder, run):
    run()
    code = "open(path, 'rb').close()"
    exec(compile(code, indexer.__file__, "exec"), {"path": folder / "catalog.sqlite"})
    (seen,) = plain_opens.taken()
    assert "opens catalog.sqlite" in seen


@pytest.mark.parametrize("name", ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"])
@pytest.mark.parametrize("linked", [False, True])
def test_the_files_of_an_open_index_are_neither_imported_nor_written_over(
    index, folder, tmp_path, name, linked
):
    index.counts()
    file = folder / name
    assert file.exists()
    if linked:
        file = tmp_path / "hard link.parquet"
        file.hardlink_to(folder / name)
    with pytest.raises(BadRequest, match="choose another name"):
        export_index(index, file)
    with pytest.raises(BadRequest, match="belongs to an open index"):
        import_file(file, tmp_path / "new")
    assert index.verify() == []


def test_an_index_that_was_taken_away_is_not_written_to(run, folder, gallery):
    run()
    with Index.open(folder) as index:
        index.counts()
        folder.rename(folder.with_name("moved"))
        with pytest.raises(NoIndex, match="was deleted, moved or replaced since it was opened"):
            index.counts()
        run()
        for work in (lambda: index.note({"a": "b"}), lambda: index.search(QUERY, 1), index.refused):
            with pytest.raises(NoIndex, match="open the index again"):
                work()
    with Index.open(folder) as index:
        assert index.notes() == {}


FORK = """
import os, sys
from pathlib import Path
from indexer.index import Index

index = Index.open(Path(sys.argv[1]))
index.refused(), index.notes()
children = []
for number in range(4):
    child = os.fork()
    if not child:
        for round in range(10):
            while True:
                try:
                    index.note({f"child {number} round {round}": "." * 3000})
                    break
                except Exception as error:
                    if type(error).__name__ != "IndexBusy":
                        print(error)
                        os._exit(1)
        index.close()
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
index.note({"parent": "too"})
assert len(index.notes()) == 41, sorted(index.notes())
assert index.verify() == []
"""


def test_an_index_that_was_opened_before_a_fork_serves_parent_and_children(run, folder):
    run()
    subprocess.run([sys.executable, "-c", FORK, str(folder)], check=True)


def test_a_file_that_cannot_be_searched_is_no_proof(index, folder):
    (folder / "odd").symlink_to("/proc/self/mem")
    receipt = index.forget("ann")
    assert not receipt.clean
    assert any("odd could not be searched" in said for said in receipt.leftovers)
