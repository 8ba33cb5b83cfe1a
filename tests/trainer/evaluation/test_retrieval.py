from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from trainer.evaluation.retrieval import rank


def rank_vectors(queries, gallery, query_labels, gallery_labels):
    """Rank a gallery (g, dim) for each of the queries (q, dim) by dot product."""
    return rank(lambda rows: queries[rows] @ gallery.T, query_labels, gallery_labels)


def plain_ranks(scores, labels, label):
    """Positions of the right answers, wrong answers of equal score standing first."""
    order = sorted(range(len(scores)), key=lambda at: (-scores[at], labels[at] == label))
    return [place for place, at in enumerate(order, 1) if labels[at] == label]


@st.composite
def galleries(draw):
    people = draw(st.integers(1, 5))
    queries, size = draw(st.integers(1, 8)), draw(st.integers(1, 30))
    values = draw(st.sampled_from([2, 5, 1000]))  # few values make many ties
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = rng.integers(0, values, (queries, size)).astype(np.float32)
    return scores, rng.integers(0, people, queries), rng.integers(0, people, size)


@given(galleries())
def test_average_precision_is_that_of_scikit_learn(case):
    scores, asked, gallery = case
    ranking = rank(lambda rows: scores[rows], asked, gallery)
    for at, label in enumerate(asked):
        relevant = gallery == label
        if relevant.any():
            expected = average_precision_score(relevant, scores[at])
            assert ranking.average_precision[at] == pytest.approx(expected, abs=1e-9)
        else:
            assert np.isnan(ranking.average_precision[at])


@given(galleries())
def test_ranks_and_counts_are_those_of_a_plain_loop(case):
    scores, asked, gallery = case
    ranking = rank(lambda rows: scores[rows], asked, gallery, cuts=(1, 3))
    for at, label in enumerate(asked):
        places = plain_ranks(scores[at], gallery, label)
        assert ranking.relevant[at] == len(places)
        assert ranking.first[at] == (places[0] if places else 0)
        for column, cut in enumerate((1, 3)):
            found = sum(place <= cut for place in places)
            assert ranking.found[at, column] == found
            if places:
                assert ranking.precision()[at, column] == pytest.approx(found / cut)
                assert ranking.recall()[at, column] == pytest.approx(found / len(places))
            else:
                assert np.isnan(ranking.precision()[at, column])
                assert np.isnan(ranking.recall()[at, column])


@given(galleries())
def test_what_is_excluded_might_as_well_not_be_there(case):
    scores, asked, gallery = case
    rng = np.random.default_rng(0)
    gone = rng.random(scores.shape) < 0.3
    ranking = rank(lambda rows: scores[rows], asked, gallery, excluded=lambda rows: gone[rows])
    for at in range(len(asked)):
        kept = ~gone[at]
        alone = rank(
            lambda _, at=at, kept=kept: scores[at : at + 1, kept], asked[at : at + 1], gallery[kept]
        )
        for name in ("average_precision", "first", "relevant", "found"):
            np.testing.assert_allclose(
                getattr(ranking, name)[at], getattr(alone, name)[0], rtol=1e-12
            )


def test_cmc_is_the_share_of_queries_answered_by_each_rank():
    scores = np.array([[3, 2, 1], [1, 2, 3], [1, 2, 3]], np.float32)
    ranking = rank(lambda rows: scores[rows], np.array([0, 0, 7]), np.array([0, 1, 2]))
    assert ranking.cmc(3).tolist() == [0.5, 0.5, 1.0]  # nobody is the third query's person


def test_a_scorer_without_an_opinion_gains_nothing():
    labels = np.repeat(np.arange(10), 4)
    ranking = rank_vectors(np.ones((40, 2)), np.ones((40, 2)), labels, labels)
    assert ranking.first.tolist() == [37] * 40
    assert ranking.average_precision == pytest.approx(0.1)
    assert not ranking.found[:, ranking.cuts.index(10)].any()


def test_a_perfect_scorer_finds_everything_first():
    labels = np.repeat(np.arange(10), 4)
    vectors = np.eye(10, dtype=np.float32)[labels]
    ranking = rank_vectors(vectors, vectors, labels, labels)
    assert ranking.average_precision == pytest.approx(1)
    assert ranking.cmc(1).tolist() == [1.0]


def test_blocks_make_no_difference(monkeypatch):
    rng = np.random.default_rng(1)
    queries, gallery = rng.standard_normal((50, 4)), rng.standard_normal((60, 4))
    asked, labels = rng.integers(0, 5, 50), rng.integers(0, 5, 60)
    whole = rank_vectors(queries, gallery, asked, labels)
    monkeypatch.setattr("trainer.evaluation.retrieval._BLOCK_BYTES", 7 * 4 * 60)
    monkeypatch.setattr("trainer.evaluation.retrieval._CHUNK", 2)
    blocks = rank_vectors(queries, gallery, asked, labels)
    np.testing.assert_allclose(blocks.average_precision, whole.average_precision)
    for name in ("first", "relevant", "found"):
        np.testing.assert_array_equal(getattr(blocks, name), getattr(whole, name))


def test_scores_are_left_as_they_are():
    scores = np.random.default_rng(0).standard_normal((6, 20))
    before, labels = scores.copy(), np.arange(20) % 3
    gone = before > 1
    rank(lambda rows: scores[rows], labels[:6], labels, excluded=lambda rows: gone[rows])
    rank(lambda rows: scores[rows], labels[:6], labels)
    np.testing.assert_array_equal(scores, before)


def test_infinite_scores_are_ranked_as_any_others():
    scores = np.array([[np.inf, 1, -np.inf, -np.inf, np.inf]])
    ranking = rank(lambda rows: scores[rows], np.zeros(1, int), np.array([0, 0, 0, 1, 1]))
    places = plain_ranks(scores[0], [0, 0, 0, 1, 1], 0)
    assert (ranking.first[0], ranking.found[0].tolist()) == (
        places[0],
        [sum(place <= cut for place in places) for cut in ranking.cuts],
    )


def test_no_queries():
    ranking = rank_vectors(np.zeros((0, 4)), np.zeros((3, 4)), np.zeros(0, int), np.zeros(3, int))
    assert ranking.average_precision.shape == (0,)
    assert ranking.found.shape == (0, len(ranking.cuts))
