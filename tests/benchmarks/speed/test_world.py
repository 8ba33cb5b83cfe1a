from __future__ import annotations

import numpy as np
import pytest

from benchmarks.speed import world as module
from benchmarks.speed.world import ITEMS, NATIONALITIES, Recipe, World


def arrays(world):
    names = ("vectors", "people", "faces", "nationalities", "genders", "queries")
    return {name: np.array(getattr(world, name)) for name in names}


@pytest.mark.parametrize("order", ["gallery", "shuffled"])
def test_equal_recipes_make_equal_worlds_and_another_seed_another(tmp_path, order):
    recipe = Recipe(3001, seed=5, order=order)
    first, again = (arrays(World.made(tmp_path / name, recipe)) for name in ("a", "b"))
    other = arrays(World.made(tmp_path / "a", Recipe(3001, seed=6, order=order)))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    assert not np.array_equal(first["vectors"], other["vectors"])


def test_a_world_is_made_once(tmp_path, monkeypatch):
    World.made(tmp_path, Recipe(100))
    monkeypatch.setattr(module, "_write", lambda *_: pytest.fail("made again"))
    assert len(World.made(tmp_path, Recipe(100))) == 100


def test_a_world_that_was_not_finished_is_not_taken_for_one(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_queries", stop)
    with pytest.raises(KeyboardInterrupt):
        World.made(tmp_path, Recipe(100))
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    assert World.made(tmp_path, Recipe(100)).queries.shape == (256, 128)


@pytest.mark.parametrize("order", ["gallery", "shuffled"])
def test_the_filters_match_the_shares_they_are_named_after(tmp_path, order):
    world = World.made(tmp_path, Recipe(40_000, order=order))
    for nationality, matching in [("one in 10", 4000), ("one in 100", 400), ("one in 1000", 40)]:
        assert len(world.rows(nationality)) == matching
    everybody = np.concatenate([world.rows(nationality) for nationality in NATIONALITIES])
    np.testing.assert_array_equal(np.sort(everybody), world.rows(None))


def test_people_have_as_many_faces_as_voices_in_clusters_of_unit_vectors(tmp_path):
    world = World.made(tmp_path, Recipe(2000))
    lengths = np.linalg.norm(world.vectors, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    for person in range(world.recipe.people):
        mine = world.people == person
        assert (mine.sum(), world.faces[mine].sum()) == (ITEMS, ITEMS // 2)
    same = world.vectors[0:10] @ world.vectors[10:20].T
    strangers = world.vectors[0:10] @ world.vectors[20:30].T
    assert same.min() > strangers.max()


def test_new_vectors_of_rows_are_near_those_rows_and_new(tmp_path):
    world = World.made(tmp_path, Recipe(2000))
    rows = np.array([3, 500, 1999])
    again = world.again(rows, seed=1)
    assert (np.argmax(again @ np.array(world.vectors).T, axis=1) // ITEMS == rows // ITEMS).all()
    assert not np.isclose(again, world.vectors[rows]).all(axis=1).any()
    assert not np.array_equal(again, world.again(rows, seed=2))
