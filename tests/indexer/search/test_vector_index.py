from __future__ import annotations

import contextlib
import sys

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.errors import BadRequest
from indexer.search import batch_scan, brute_force, exact_index, faiss_scan, int8_matmul
from indexer.search.exact_index import ExactIndex
from indexer.search.vector_index import NumpyIndex

METRICS = ("cosine", "l2")


@st.composite
def cases(draw):
    """A few vectors, often equal or nearly so, deletions, a filter of any size, a k."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim, n = draw(st.sampled_from([1, 2, 7, 64])), draw(st.integers(0, 150))
    pool = rng.standard_normal((draw(st.integers(1, max(1, n))), dim)).astype(np.float32)
    vectors = pool[rng.integers(0, len(pool), n)] * np.float32(draw(st.sampled_from([1, 1e-3, 50])))
    vectors += (rng.random((n, 1)) < 0.2) * np.float32(1e-7)
    ids = rng.permutation(10 * n + 1)[:n].astype(np.int64)
    gone = ids[rng.random(n) < draw(st.sampled_from([0.0, 0.3, 1.0]))]
    queries = rng.standard_normal((draw(st.integers(0, 25)), dim)).astype(np.float32)
    queries[: n // 2] = vectors[: len(queries[: n // 2])]
    share = draw(st.sampled_from([None, 0.0, 0.02, 0.09, 0.5, 0.95, 1.0]))
    among = None if share is None else np.append(ids[rng.random(n) < share], -5)
    return dim, ids, vectors, gone, queries, among, draw(st.integers(1, 200))


@contextlib.contextmanager
def small_steps(by_faiss, few_vectors):
    """Every stage of a search at work on few vectors; ``by_faiss`` queries go to FAISS."""
    with pytest.MonkeyPatch.context() as patch:
        for where, name, value in [
            (brute_force, "MAX_ROWS", few_vectors),
            (brute_force, "BATCH", 7),
            (batch_scan, "PROBE_ROWS", 2),
            (batch_scan, "BLOCK", 16),
            (faiss_scan, "SPARE", 1),
            (faiss_scan, "SMALLEST_PIECE", 10),
            (
                int8_matmul._Current,
                "backend",
                int8_matmul.Int8Backend(int8_matmul.by_numpy, by_faiss),
            ),
            (exact_index, "BATCH", 5),
        ]:
            patch.setattr(where, name, value)
        yield


@pytest.mark.parametrize(("by_faiss", "few_vectors"), [(0, 2), (1000, 2), (0, 1000)])
@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=70)
@given(case=cases())
def test_faiss_answers_as_the_reference_does(metric, by_faiss, few_vectors, case):
    dim, ids, vectors, gone, queries, among, k = case
    answers = []
    for kind in (NumpyIndex, ExactIndex):
        index = kind(dim, metric)
        for some in (slice(None, len(ids) // 3), slice(len(ids) // 3, None)):
            index.add(ids[some], vectors[some])
        index.remove(gone)
        assert len(index) == len(ids) - len(gone)
        with small_steps(by_faiss, few_vectors):
            answers.append(index.search(queries, k, among))
    reference, fast = answers
    np.testing.assert_array_equal(reference.ids, fast.ids)
    np.testing.assert_array_equal(reference.scores, fast.scores)
    assert (reference.plan.matching, reference.plan.total) == (fast.plan.matching, fast.plan.total)


@pytest.mark.parametrize("kind", [NumpyIndex, ExactIndex])
def test_scores_are_what_they_say(kind):
    vectors = np.array([[3, 0], [0, 2], [1, 1]], np.float32)
    query = np.array([[2, 0]], np.float32)
    for metric, ids, scores in [
        ("cosine", [10, 12, 11], [1, np.sqrt(0.5), 0]),
        ("l2", [10, 12, 11], [-1, -np.sqrt(2), -np.sqrt(8)]),
    ]:
        index = kind(2, metric)
        index.add(np.array([10, 11, 12]), vectors)
        found = index.search(query, 5)
        assert found.ids.tolist() == [[*ids, -1, -1]]
        np.testing.assert_allclose(found.scores[0, :3], scores, rtol=1e-6)
        assert np.all(np.isneginf(found.scores[0, 3:]))
        assert (found.ids.dtype, found.scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("kind", [NumpyIndex, ExactIndex])
def test_ties_across_the_edge_of_k_go_by_id(kind):
    index = kind(4, "cosine")
    ids = np.random.default_rng(0).permutation(500).astype(np.int64)
    index.add(ids, np.tile(np.float32([1, 2, 3, 4]), (500, 1)))
    assert index.search(np.float32([[1, 2, 3, 4]]), 3).ids.tolist() == [[0, 1, 2]]


def test_near_ties_that_float32_confuses_are_ranked_exactly():
    rng = np.random.default_rng(1)
    far = np.float32(1000) + rng.standard_normal((400, 8)).astype(np.float32) * np.float32(1e-3)
    indexes = NumpyIndex(8, "l2"), ExactIndex(8, "l2")
    queries = np.repeat(far[:1], 30, axis=0)  # many queries: FAISS then expands the square
    for index in indexes:
        index.add(np.arange(400), far)
    reference, fast = (index.search(queries, 5).ids for index in indexes)
    np.testing.assert_array_equal(reference, fast)


@pytest.mark.parametrize("kind", [NumpyIndex, ExactIndex])
@pytest.mark.parametrize(
    ("ids", "vectors"),
    [
        ([1], [[np.nan, 0]]),
        ([1], [[np.inf, 0]]),
        ([1], [[1, 2, 3]]),
        ([1, 2], [[1, 2]]),
        ([1, 1], [[1, 2], [3, 4]]),
        ([7], [[1, 2]]),
    ],
)
def test_invalid_ids_and_vectors_are_rejected(kind, ids, vectors):
    index = kind(2, "l2")
    index.add(np.array([7]), np.float32([[0, 0]]))
    with pytest.raises(ValueError, match=r"not finite|shape|there already"):
        index.add(np.array(ids), np.float32(vectors))
    assert index.ids.tolist() == [7]


@pytest.mark.parametrize("kind", [NumpyIndex, ExactIndex])
def test_vectors_are_given_back_by_id(kind):
    index = kind(2, "l2")
    index.add(np.array([5, 3, 9]), np.float32([[5, 5], [3, 3], [9, 9]]))
    assert index.vectors_of(np.array([3, 9, 5]))[:, 0].tolist() == [3, 9, 5]
    with pytest.raises(KeyError):
        index.vectors_of(np.array([4]))


def test_the_plan_follows_the_filter():
    index = ExactIndex(4, "cosine")
    index.add(np.arange(100), np.random.default_rng(0).random((100, 4), np.float32))
    query = np.ones((1, 4), np.float32)
    plans = {
        None: ("everything", 100),
        100: ("everything", 100),
        90: ("selector", 90),
        30: ("gather", 30),
        0: ("gather", 0),
    }
    for among, (kind, matching) in plans.items():
        plan = index.search(query, 3, None if among is None else np.arange(among)).plan
        assert (plan.kind, plan.matching, plan.total) == (kind, matching, 100)


class DeafGpuIndex:
    """Silently drops the selector and stops at 2048, as FAISS's GPU index does."""

    def __init__(self, flat):
        self.flat = flat

    def search(self, queries, k, params=None):
        if k > 2048:
            raise RuntimeError("k > 2048")
        return self.flat.search(queries, k)


class Options:
    """The options of GPU copies."""

    def __init__(self):
        self.useFloat16 = self.shard = False


@pytest.fixture
def gpu(monkeypatch):
    """A faiss with fake GPUs: copies are counted, and their vectors rounded."""
    made = []

    def to_gpus(flat, options):
        assert options.shard
        vectors = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(-1, flat.d)
        kept = vectors.astype(np.float16) if options.useFloat16 else vectors
        copy = type(flat)(flat.d)
        copy.add(kept.astype(np.float32))
        made.append((len(vectors), options.useFloat16))
        return DeafGpuIndex(copy)

    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "GpuMultipleClonerOptions", Options, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", to_gpus, raising=False)
    monkeypatch.setattr(batch_scan, "PROBE_ROWS", 4)
    monkeypatch.setattr(brute_force, "MAX_ROWS", 4)
    return made


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.9, 1.0])
def test_a_gpu_never_drops_a_filter(gpu, metric, share):
    rng = np.random.default_rng(3)
    vectors, ids = rng.standard_normal((3000, 8)).astype(np.float32), np.arange(3000)
    among = ids[rng.random(3000) < share]
    reference, fast = NumpyIndex(8, metric), ExactIndex(8, metric, "cuda")
    for index in (reference, fast):
        index.add(ids, vectors)
        index.remove(ids[::7])
    for k in (5, 600, 2900):
        expected, found = (i.search(vectors[:4], k, among) for i in (reference, fast))
        np.testing.assert_array_equal(expected.ids, found.ids)
        np.testing.assert_array_equal(expected.scores, found.scores)
    matching = np.count_nonzero(among % 7)
    assert (matching, True) in gpu or not matching


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_a_gpu_answers_as_the_reference_does(gpu, case):
    dim, ids, vectors, gone, queries, among, k = case
    for metric in METRICS:
        reference, fast = NumpyIndex(dim, metric), ExactIndex(dim, metric, "cuda")
        for index in (reference, fast):
            index.add(ids, vectors)
            index.remove(gone)
        expected, found = (i.search(queries, k, among) for i in (reference, fast))
        np.testing.assert_array_equal(expected.ids, found.ids)


def test_a_gpu_keeps_what_float16_cannot_hold_in_float32(gpu):
    index = ExactIndex(2, "l2", "cuda")
    index.add(np.arange(40), np.float32([[1e5, at] for at in range(40)]))
    assert index.search(np.float32([[1e5, 3]]), 1).ids.tolist() == [[3]]
    assert gpu == [(40, False)]


def test_a_gpu_is_given_its_copy_once(gpu):
    index = ExactIndex(2, "l2", "cuda")
    index.add(np.arange(40), np.float32([[at, at] for at in range(40)]))
    for _ in range(3):
        index.search(np.float32([[1, 3]]), 1)
    assert len(gpu) == 1


def test_a_gpu_has_the_vectors_as_they_are_now(gpu):
    index = ExactIndex(2, "l2", "cuda")
    index.add(np.array([1, 2]), np.float32([[0, 0], [1, 1]]))
    assert index.search(np.float32([[0, 0]]), 1).ids.tolist() == [[1]]
    index.remove(np.array([1]))
    assert index.search(np.float32([[0, 0]]), 1).ids.tolist() == [[2]]


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    with pytest.raises(BadRequest, match="no GPU support"):
        ExactIndex(4, "cosine", "cuda")
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    with pytest.raises(BadRequest, match="finds no GPU"):
        ExactIndex(4, "cosine", "cuda")


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(BadRequest, match=r"pip install 'avsearch\[search\]'"):
        ExactIndex(4, "cosine")
