from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.bootstrap import PersonBootstrap, interval


def of_mean(people, values, owners, **options):
    return interval(PersonBootstrap(people, **options).mean(values, owners))


def test_the_interval_holds_the_mean_and_is_decided_by_the_seed():
    rng = np.random.default_rng(0)
    values, people = rng.random(200), rng.integers(0, 30, 200)
    lower, upper = of_mean(30, values, people)
    assert lower < values.mean() < upper
    assert of_mean(30, values, people) == (lower, upper)
    assert of_mean(30, values, people, seed=1) != (lower, upper)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(-1, 1, width=16), st.integers(0, 5)), min_size=1, max_size=20))
def test_the_interval_lies_between_the_least_and_the_largest_value(rows):
    values, people = (np.array(column) for column in zip(*rows, strict=True))
    lower, upper = of_mean(6, values, people, resamples=50)
    assert values.min() - 1e-9 <= lower <= upper <= values.max() + 1e-9


def test_the_interval_is_that_of_the_mean_where_each_person_asks_once():
    values = np.random.default_rng(2).standard_normal(400)
    lower, upper = of_mean(400, values, np.arange(400))
    error = values.std() / math.sqrt(400)
    assert upper - values.mean() == pytest.approx(1.96 * error, rel=0.15)
    assert values.mean() - lower == pytest.approx(1.96 * error, rel=0.15)


def test_people_and_not_queries_are_the_units():
    each = np.random.default_rng(3).standard_normal(20)
    once = of_mean(20, each, np.arange(20))
    often = of_mean(20, np.repeat(each, 50), np.repeat(np.arange(20), 50))
    assert often == pytest.approx(once)  # fifty times the queries, and no surer
    lower, upper = of_mean(1000, np.repeat(each, 50), np.arange(1000))
    assert upper - lower < (once[1] - once[0]) / 4


def test_one_person_gives_an_interval_of_nought():
    assert of_mean(1, np.array([0.0, 1.0]), np.array([0, 0])) == (0.5, 0.5)


@pytest.mark.parametrize("people", [1, 3, 5000])
@pytest.mark.parametrize("together", [1, 7, 128])
def test_a_pair_counts_as_often_as_its_people_were_drawn(people, together, monkeypatch):
    monkeypatch.setattr("trainer.evaluation.bootstrap._CHUNK", together)
    rng = np.random.default_rng(4)
    first, second = rng.integers(0, people, (2, 60))
    second[::3] = first[::3]  # a pair of one person counts as often as the person
    scores, same = rng.integers(0, 4, 60).astype(float), np.arange(60) % 2 == 0
    draws = PersonBootstrap(people, resamples=10)
    drawn = draws.pairs(scores, same, first, second)
    for below, kind in ((drawn.rejected, ~same), (drawn.missed, same)):
        expected = np.zeros((10, 4))
        for row, counts in zip(expected, draws.counts, strict=True):
            for at in np.flatnonzero(kind):
                one, other = first[at], second[at]
                row[int(scores[at])] += counts[one] if one == other else counts[one] * counts[other]
        np.testing.assert_array_equal(np.diff(below, axis=0).T, expected)
        assert not below[0].any()


def test_draws_without_either_kind_of_pairs_give_no_figure():
    draws = PersonBootstrap(3, resamples=50)
    here = draws.counts[:, 0] > 0  # the person of the only matching pair
    drawn = draws.pairs(np.array([0.0, 1.0]), np.array([False, True]), *np.array([[1, 0], [2, 0]]))
    other = (draws.counts[:, 1:] > 0).all(1)
    for figure in (drawn.auc(), drawn.eer(), drawn.true_match_rate(0.1)):
        np.testing.assert_array_equal(np.isfinite(figure), here & other)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.floats(-1, 1, width=16), st.integers(0, 3), st.integers(0, 3)),
        min_size=1,
        max_size=12,
    )
)
def test_a_pair_of_two_people_counts_as_often_as_both_were_drawn(rows):
    values, first, second = (np.array(column) for column in zip(*rows, strict=True))
    draws = PersonBootstrap(4, resamples=20)
    found = draws.mean_of_pairs(values, first, second)
    for counts, mean in zip(draws.counts, found, strict=True):
        kept = [
            value
            for value, one, other in rows
            for _ in range(counts[one] * (1 if one == other else counts[other]))
        ]
        assert mean == pytest.approx(np.mean(kept)) if kept else np.isnan(mean)
