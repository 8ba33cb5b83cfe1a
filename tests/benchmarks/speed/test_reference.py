from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.speed import reference
from benchmarks.speed.world import DIM, NATIONALITIES, Recipe, World
from indexer.search.vector_index import NumpyIndex


@st.composite
def worlds(draw):
    """Up to 400 unit vectors, many of them equal to others or nearly so, in three nations."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 400))
    pool = rng.standard_normal((draw(st.integers(1, count)), DIM))
    vectors = pool[rng.integers(0, len(pool), count)]
    vectors += 1e-8 * rng.standard_normal(vectors.shape) * (rng.random((count, 1)) < 0.5)
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return World(
        folder=Path(),
        recipe=Recipe(count),
        vectors=unit,
        people=np.arange(count, dtype=np.int32),
        faces=np.ones(count, bool),
        nationalities=rng.integers(0, 3, count).astype(np.int8),
        genders=np.zeros(count, np.int8),
        queries=unit[rng.integers(0, count, 5)],
    )


@settings(max_examples=60)
@given(world=worlds(), k=st.integers(1, 30), nationality=st.sampled_from([None, *NATIONALITIES]))
def test_the_reference_is_what_numpy_index_finds(world, k, nationality):
    rows = world.rows(nationality)
    whole = NumpyIndex(DIM, "cosine")
    whole.add(np.arange(len(world)), world.vectors)
    expected = whole.search(world.queries, k, rows).ids
    np.testing.assert_array_equal(reference.nearest(world, world.queries, k, nationality), expected)


def test_recall_counts_right_rows_and_nothing_for_places_that_cannot_be_filled():
    right = np.array([[1, 2, 3, 4], [5, 6, -1, -1]])
    assert reference.recall(np.array([[4, 3, 2, 1], [6, 5, -1, -1]]), right) == 1
    assert reference.recall(np.array([[1, 2, 8, 9], [5, 7, -1, -1]]), right) == 3 / 6
    assert reference.recall(np.full((2, 4), -1), right) == 0


def test_only_the_same_rows_in_the_same_order_are_identical():
    right = np.array([[1, 2], [3, 4], [5, -1]])
    assert reference.identical(np.array([[1, 2], [4, 3], [5, -1]]), right) == 2
