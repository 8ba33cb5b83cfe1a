from __future__ import annotations

import dataclasses
import re
import shutil
import sqlite3

import numpy as np
import pytest

from indexer.cache.manifest import Manifest
from indexer.catalog import migrations
from indexer.errors import BadRequest, IndexDamaged
from indexer.index import Index
from indexer.records import Revision
from indexer.search.vector_index import prepared
from tests.helpers.fakes import DIM, fake_vector
from tests.helpers.places import change, everything, fill

QUERY = fake_vector("a question")[None]


# Deletion


def test_forget_leaves_no_byte(index, folder):
    _, vectors = index.vectors_of("bob")
    receipt = index.forget("bob")
    assert (receipt.person, receipt.items, receipt.files) == ("bob", 3, 2)
    assert receipt.clean
    assert receipt.leftovers == receipt.skipped == []
    assert "Nothing of them is left" in receipt.sentence()
    files = everything(folder)
    assert receipt.bytes_searched >= sum(map(len, files.values()))
    for content in files.values():
        assert b"bob" not in content
        assert b"Bob Baker" not in content
        for vector in (*vectors, *prepared(vectors, "cosine")):
            assert vector.tobytes()[:16] not in content
    assert index.verify() == []
    assert {item.person.key for item, _ in index.search(QUERY, 50).hits[0]} == {"ann", "cid"}
    with pytest.raises(BadRequest):
        index.forget("bob")


def test_forget_finds_what_is_left(index, folder):
    _, vectors = index.vectors_of("ann")
    fill(folder, {"notes.txt": "about ann"})
    (folder / "part.bin").write_bytes(b"xyz" + vectors[1].tobytes()[32:64] + b"!")
    receipt = index.forget("ann")
    assert not receipt.clean
    assert any("notes.txt still holds the text 'ann'" in said for said in receipt.leftovers)
    assert any("part.bin still holds a part of a vector" in said for said in receipt.leftovers)


def test_a_short_name_spelled_by_bytes_of_other_vectors_is_no_trace(run, folder, gallery):
    texts = [f"voice: {number}" for number in range(100)]
    content = b"".join(fake_vector(text).astype("<f4").tobytes() for text in texts)
    found = re.search(rb"[b-z][k-z]", content)  # two letters that no text of the catalog has
    key = found[0].decode()
    fill(gallery, {f"{key}/one.wav": "voice: of few letters\n", "bob/many.wav": "\n".join(texts)})
    run()
    with Index.open(folder) as index:
        receipt = index.forget(key)
        assert (receipt.clean, receipt.skipped) == (True, [])
    assert key.encode() in (folder / "catalog.sqlite").read_bytes()
    fill(folder, {"notes.txt": f"about {key}, of which nothing else is left"})
    run()
    with Index.open(folder) as index:
        assert not index.forget(key).clean


@pytest.mark.parametrize("key", ["file", "size", "create", "ok"])
def test_a_name_that_is_a_word_of_the_catalog_is_not_looked_for(run, folder, gallery, key):
    fill(gallery, {f"{key}/one.wav": "voice: somebody\n"})
    run()
    with Index.open(folder) as index:
        receipt = index.forget(key)
        assert receipt.clean
        assert receipt.skipped == [f"{key!r} was not looked for: something that is kept has it."]


def test_forget_says_what_it_could_not_look_for(run, folder, gallery):
    fill(gallery, {"annabel/copy.wav": "voice: ann one\n"})
    run()
    with Index.open(folder) as index:
        receipt = index.forget("ann")
        assert receipt.clean
        assert any(said.startswith("'ann' was not looked for") for said in receipt.skipped)
        assert any(said.startswith("1 vectors were not") for said in receipt.skipped)
        assert index.person("annabel")


def test_forget_a_person_whose_files_were_all_refused(run, folder, gallery):
    fill(gallery, {"dora/empty.wav": ""})
    run()
    with Index.open(folder) as index:
        assert index.forget("dora").files == 1
        assert index.refused() == []


# Verifying


def plant_cache(folder, **fields):
    path = folder / "cache/stamp.json"
    manifest = dataclasses.replace(Manifest.from_json(path.read_text()), **fields)
    path.write_text(manifest.to_json())


def segment(folder):
    (path,) = folder.glob("cache/segment-*")
    return path


def reword(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


PLANTED = {
    "has 3 bytes": lambda f: change(f, "UPDATE item SET vector = x'000000' WHERE id = 2"),
    "vector of item 2 is not finite": lambda f: change(
        f, "UPDATE item SET vector = ? WHERE id = 2", np.full(DIM, np.nan, "<f4").tobytes()
    ),
    "have no person": lambda f: change(f, "UPDATE item SET person_id = 77 WHERE id = 2"),
    "points to a person": lambda f: change(f, "UPDATE item SET person_id = 77 WHERE id = 2"),
    "points to a file": lambda f: change(f, "UPDATE item SET file_id = 77 WHERE id = 2"),
    "is cut short": lambda f: segment(f).write_bytes(segment(f).read_bytes()[:-1]),
    "longer than": lambda f: segment(f).write_bytes(segment(f).read_bytes() + b"?"),
    "cannot be read": lambda f: segment(f).unlink(),
    "the ids in segment": lambda f: flip(segment(f), 3),
    "the vectors in segment": lambda f: flip(segment(f), 2 * 8 * 7 + 5),
    "the faces in segment": lambda f: flip(segment(f), -1),
    "stamp.json was changed": lambda f: reword(f / "cache/stamp.json", '"rows": 7', '"rows": 8'),
    "other owners than the catalog for 1 items (2)": lambda f: change(
        f, "UPDATE item SET person_id = 3 WHERE id = 2"
    ),
    "other vectors than the catalog for 1 items (2)": lambda f: change(
        f, "UPDATE item SET vector = ? WHERE id = 2", np.ones(DIM, "<f4").tobytes()
    ),
    "cache has 1 items (2)": lambda f: change(f, "DELETE FROM item WHERE id = 2"),
    "cache lacks 1 items (99)": lambda f: change(f, "UPDATE item SET id = 99 WHERE id = 2"),
    "counts 5 items": lambda f: plant_cache(f, count=5),
    "of another catalog": lambda f: plant_cache(f, revision=Revision(1, "never")),
}


@pytest.mark.parametrize("problem", PLANTED)
def test_verify_finds(run, folder, problem):
    run()
    with Index.open(folder) as index:
        assert index.verify() == []
    PLANTED[problem](folder)
    before = everything(folder)
    with Index.open(folder) as index:
        assert problem in " ".join(index.verify())
    assert {p: before[p] for p in before if p.parent.name == "cache"} == everything(
        folder / "cache"
    )


def test_verify_finds_a_damaged_page(run, folder):
    run()
    path = folder / "catalog.sqlite"
    connection = sqlite3.connect(path)
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_item_file_id'")
    page = root.fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = bytes(4096)
    path.write_bytes(content)
    with Index.open(folder) as index:
        assert "damaged" in " ".join(index.verify())


def test_rebuild_mends_the_cache(run, folder):
    run()
    segment(folder).write_bytes(b"?")
    with Index.open(folder) as index:
        index.rebuild()
        assert index.verify() == []


def test_a_vector_damaged_in_the_catalog_is_a_sentence(run, folder):
    run()
    PLANTED["has 3 bytes"](folder)
    (folder / "cache/stamp.json").unlink()
    with Index.open(folder) as index, pytest.raises(IndexDamaged, match="vector of item 2"):
        index.search(QUERY, 3)


# Receipts


def test_a_receipt_without_biometrics_or_names_stays(index, folder):
    receipt = index.forget("bob")
    (kept,) = index.deletions()
    assert (kept.items, kept.files, kept.clean) == (3, 2, True)
    assert kept.bytes_searched == receipt.bytes_searched
    index.forget("cid")
    assert [(kept.items, kept.files) for kept in index.deletions()] == [(3, 2), (1, 1)]
    assert not any(b"bob" in content for content in everything(folder).values())


def test_a_receipt_says_that_traces_were_found(index, folder):
    fill(folder, {"notes.txt": "about ann"})
    index.forget("ann")
    assert [kept.clean for kept in index.deletions()] == [False]


def test_forget_deletes_the_backups_that_hold_the_person_too(index, folder):
    backup = migrations.back_up(folder / "catalog.sqlite", "1")
    assert b"Bob Baker" in backup.read_bytes()
    receipt = index.forget("bob")
    assert (receipt.backups, receipt.clean, backup.exists()) == (1, True, False)
    assert "Backups of the catalog that held them were deleted: 1." in receipt.sentence()


def test_a_stopped_deletion_is_finished_by_the_next_run(run, folder, gallery, monkeypatch):
    run()
    with Index.open(folder) as index:
        backup = migrations.back_up(folder / "catalog.sqlite", "1")

        def stopped(self):
            raise KeyboardInterrupt

        monkeypatch.setattr(Index, "_clear_files", stopped)
        with pytest.raises(KeyboardInterrupt):
            index.forget("bob")
        monkeypatch.undo()
    assert backup.exists()
    shutil.rmtree(gallery / "bob")
    run()
    assert not backup.exists()
    with Index.open(folder) as index:
        (kept,) = index.deletions()
        assert (kept.items, kept.bytes_searched, kept.clean) == (3, 0, None)
        assert index.verify() == []
    assert not any(b"Bob Baker" in content for content in everything(folder).values())
