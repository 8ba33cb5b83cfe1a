from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsearch.runtime import int8_torch as fast
from indexer.search import int8_matmul
from indexer.search.exact_index import ExactIndex
from indexer.search.vector_index import NumpyIndex


@pytest.fixture(autouse=True)
def _only_here(monkeypatch):
    monkeypatch.setattr(int8_matmul._Current, "backend", int8_matmul._Current.backend)


@settings(max_examples=40)
@given(
    n=st.integers(1, 70), dim=st.integers(1, 150), q=st.integers(1, 40), seed=st.integers(0, 999)
)
@pytest.mark.parametrize("product", [int8_matmul.by_numpy, fast.by_torch])
def test_products_are_those_of_whole_numbers(product, n, dim, q, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, 256, (n, dim)).astype(np.uint8)
    queries = rng.integers(-127, 128, (q, dim)).astype(np.int8)
    expected = (codes.astype(np.int64) - 128) @ queries.T.astype(np.int64)
    np.testing.assert_array_equal(product(codes, queries), expected)


def test_an_index_searched_with_torch_answers_as_the_reference_does():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30000, 24)).astype(np.float32)
    fast.use()
    assert int8_matmul.backend().product is fast.by_torch
    reference, index = NumpyIndex(24, "cosine"), ExactIndex(24, "cosine")
    for each in (reference, index):
        each.add(np.arange(len(vectors)), vectors)
    for among in (None, np.arange(0, 30000, 2), np.arange(5000)):
        expected, found = (each.search(vectors[:20], 7, among) for each in (reference, index))
        np.testing.assert_array_equal(expected.ids, found.ids)
        np.testing.assert_array_equal(expected.scores, found.scores)


def test_a_processor_that_cuts_sums_off_is_not_used(monkeypatch):
    before = int8_matmul.backend()
    monkeypatch.setattr(fast, "by_torch", lambda codes, queries: np.int32(32767))
    fast.use()
    assert int8_matmul.backend() is before
