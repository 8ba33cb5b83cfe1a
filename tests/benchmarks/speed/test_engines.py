from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from benchmarks.speed import reference
from benchmarks.speed import worker as workers
from benchmarks.speed.avsearch_engine import Avsearch
from benchmarks.speed.engines import Engine, Faiss, FaissBatch, FaissNewBitmap
from benchmarks.speed.worker import EngineFailed, Worker
from benchmarks.speed.world import Recipe, World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World.made(tmp_path_factory.mktemp("work"), Recipe(1003, order="shuffled"))


class Sulking(Engine):
    packages = ()

    def fill(self, world, folder):
        import a_package_nobody_has  # noqa: F401

    def search(self, queries, k, nationality):
        raise ValueError("not today\nnor tomorrow")

    def leave(self):
        os._exit(9)

    def brood(self):
        threading.Event().wait()


@pytest.mark.parametrize("engine", [Avsearch, Faiss, FaissBatch, FaissNewBitmap])
def test_an_engine_finds_what_the_reference_finds(world, tmp_path, engine):
    filled = engine()
    filled.fill(world, tmp_path)
    queries = np.array(world.queries[:8])
    for nationality in (None, "one in 10", "one in 1000"):
        right = reference.nearest(world, queries, 30, nationality)
        np.testing.assert_array_equal(filled.search(queries, 30, nationality), right)
    filled.close()


def test_a_faiss_file_holds_all_that_faiss_was_given(world, tmp_path):
    import faiss

    filled = Faiss()
    filled.fill(world, tmp_path)
    filled.save(tmp_path / "flat.faiss")
    assert faiss.read_index(str(tmp_path / "flat.faiss")).ntotal == len(world)


def test_changed_and_added_items_are_in_the_index_afterwards(world, tmp_path):
    ours = Avsearch()
    ours.fill(world, tmp_path)
    seconds = ours.change(world.folder, 50, seed=0)
    again = world.again(np.sort(np.random.default_rng(0).choice(1003, 50, replace=False)), 0)
    with_scores = ours._index.search(again, 2).hits
    assert ours._index.counts().files == 1003 + 50
    assert all(score > 0.9999 for hits in with_scores for _, score in hits)
    assert seconds.keys() == {"changed", "search after changed", "added", "search after added"}
    ours.close()


def test_the_overhead_leaves_the_vector_search_as_it_was(world, tmp_path):
    ours = Avsearch()
    ours.fill(world, tmp_path)
    spent = ours.overhead(np.array(world.queries[:3]), 10, "one in 10")
    assert len(spent) == 3
    assert all(0 < inside < whole for whole, inside in spent)
    assert not {"search", "nearest"} & vars(ours._vectors()).keys()
    ours.close()


def test_what_an_engine_raises_is_told_in_a_line_and_it_can_be_asked_again(world, tmp_path):
    with Worker(Sulking, tmp_path / "w") as worker:
        with pytest.raises(EngineFailed, match="No module named 'a_package_nobody_has'"):
            worker.fill(world)
        with pytest.raises(EngineFailed, match=r"ValueError: not today$"):
            worker.ask(np.zeros((2, 128), np.float32), 10, None, together=True)
        with pytest.raises(EngineFailed, match="ended with exit code 9"):
            worker.call("leave")


def test_an_engine_that_never_answers_is_ended(tmp_path, monkeypatch):
    with Worker(Sulking, tmp_path / "w") as worker:
        worker.memory()  # it has started
        monkeypatch.setattr(workers, "LIMIT_S", 0.1)
        with pytest.raises(EngineFailed, match="not answered after 0 s"):
            worker.call("brood")
        with pytest.raises(EngineFailed, match="ended with exit code -9"):
            worker.memory()


def test_a_worker_answers_as_its_engine_does_and_leaves_nothing_on_disk(world, tmp_path):
    queries = np.array(world.queries[:5])
    right = reference.nearest(world, queries, 10)
    with Worker(Faiss, tmp_path / "w") as worker:
        worker.fill(world)
        worker.call("save", worker.folder / "flat.faiss")
        together = worker.ask(queries, 10, None, together=True)
        singly = worker.ask(queries, 10, None, together=False)
        assert worker.memory().resident > 0
    np.testing.assert_array_equal(together.rows, right)
    np.testing.assert_array_equal(singly.rows, right)
    assert (len(together.seconds), len(singly.seconds)) == (1, 5)
    assert not (tmp_path / "w").exists()
