from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.search import batch_scan, brute_force, faiss_scan, row_filter
from indexer.search.exact_index import ExactIndex
from indexer.search.vector_index import NumpyIndex


def filled(kind, metric, count, gone):
    rng = np.random.default_rng(3)
    index = kind(8, metric)
    for some in np.array_split(np.arange(count), 3):
        index.add(some, rng.standard_normal((len(some), 8)).astype(np.float32))
    index.remove(gone)
    return index


@pytest.mark.parametrize(("kept_bytes", "few_vectors"), [(0, 2), (1 << 26, 2), (0, 1000)])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
@settings(max_examples=30)
@given(share=st.sampled_from([0.0, 0.1, 0.25, 0.6, 1.0]), ks=st.lists(st.integers(1, 90)))
def test_a_filter_used_again_answers_as_the_reference_does(
    kept_bytes, few_vectors, metric, share, ks
):
    gone, among = np.arange(0, 120, 7), np.arange(int(120 * share))
    reference, index = (filled(kind, metric, 120, gone) for kind in (NumpyIndex, ExactIndex))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_filter, "KEPT_BYTES", kept_bytes)
        patch.setattr(brute_force, "MAX_ROWS", few_vectors)
        patch.setattr(batch_scan, "PROBE_ROWS", 2)
        patch.setattr(faiss_scan, "SMALLEST_PIECE", 16)
        wanted = index.row_filter(np.isin(np.arange(120), among))
        for seed, k in enumerate([1, 3, *ks]):
            queries = np.random.default_rng(seed).standard_normal((seed % 4, 8)).astype(np.float32)
            found, right = index.nearest(queries, k, wanted), reference.search(queries, k, among)
            np.testing.assert_array_equal(found.ids, right.ids)
            np.testing.assert_array_equal(found.scores, right.scores)


def test_codes_are_copied_out_once_unless_they_are_too_many_to_keep(monkeypatch):
    index = filled(ExactIndex, "cosine", 60, np.array([4]))
    few = index.row_filter(np.arange(60) < 10)
    assert few.gathered() is few.gathered()
    assert sum(copy.matching for copy in few.gathered()) == 9
    monkeypatch.setattr(row_filter, "KEPT_BYTES", 9 * 8 - 1)
    many = index.row_filter(np.arange(60) < 10)
    assert many.gathered() is not many.gathered()
