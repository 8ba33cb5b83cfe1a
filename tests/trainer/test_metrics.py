from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.metrics import (
    average_precision,
    average_precisions,
    equal_error_rate,
    matching_hits,
    people_interval,
    roc_auc,
    true_match_rate,
)

# Few different scores, so that ties are the rule.
ROWS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=25)


def columns(rows) -> tuple[np.ndarray, np.ndarray]:
    scores, relevant = zip(*rows, strict=True)
    return np.array(scores) / 4, np.array(relevant)


def plain_average_precision(scores: list[float], relevant: list[bool]) -> float:
    """Mean over the relevant of the share of relevant among all that score as high."""
    precisions = []
    for score, is_relevant in zip(scores, relevant, strict=True):
        if is_relevant:
            above = [r for s, r in zip(scores, relevant, strict=True) if s >= score]
            precisions.append(sum(above) / len(above))
    return sum(precisions) / len(precisions) if precisions else float("nan")


def plain_auc(scores: list[float], same: list[bool]) -> float:
    """The share of pairs in the right order, ties counting half."""
    won = pairs = 0.0
    for positive, is_same in zip(scores, same, strict=True):
        for negative, other_same in zip(scores, same, strict=True):
            if is_same and not other_same:
                pairs += 1
                won += 1.0 if positive > negative else 0.5 * (positive == negative)
    return won / pairs if pairs else float("nan")


@settings(deadline=None)
@given(rows=ROWS)
def test_average_precision_is_that_of_plain_loops(rows):
    scores, relevant = columns(rows)
    wanted = plain_average_precision(scores.tolist(), relevant.tolist())
    assert average_precision(scores, relevant) == pytest.approx(wanted, nan_ok=True)


@settings(deadline=None)
@given(rows=ROWS)
def test_auc_is_that_of_plain_loops(rows):
    scores, same = columns(rows)
    wanted = plain_auc(scores.tolist(), same.tolist())
    assert roc_auc(scores, same) == pytest.approx(wanted, nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(rows=ROWS)
def test_both_are_those_of_scikit_learn(rows):
    reference = pytest.importorskip("sklearn.metrics")
    scores, relevant = columns(rows)
    if relevant.any():
        wanted = reference.average_precision_score(relevant, scores)
        assert average_precision(scores, relevant) == pytest.approx(wanted)
    if relevant.any() and not relevant.all():
        assert roc_auc(scores, relevant) == pytest.approx(reference.roc_auc_score(relevant, scores))


@settings(deadline=None)
@given(rows=ROWS, seed=st.integers(0, 999))
def test_neither_depends_on_the_order_or_the_scale(rows, seed):
    scores, relevant = columns(rows)
    order = np.random.default_rng(seed).permutation(len(scores))
    for figure in (average_precision, roc_auc):
        wanted = figure(scores, relevant)
        assert figure(scores[order], relevant[order]) == pytest.approx(wanted, nan_ok=True)
        assert figure(np.exp(scores), relevant) == pytest.approx(wanted, nan_ok=True)


@settings(deadline=None)
@given(rows=ROWS)
def test_turning_the_scores_round_turns_the_auc_round(rows):
    scores, same = columns(rows)
    assert roc_auc(-scores, same) == pytest.approx(1 - roc_auc(scores, same), nan_ok=True)


@pytest.mark.parametrize(
    ("relevant", "wanted"),
    [
        ([1, 1, 0, 0], 1.0),
        ([0, 0, 1, 1], (1 / 3 + 2 / 4) / 2),
        ([1, 0, 1, 0], (1 + 2 / 3) / 2),
        ([0, 0, 0, 1], 1 / 4),
        ([1, 1, 1, 1], 1.0),
    ],
)
def test_average_precision_of_a_ranking(relevant, wanted):
    found = average_precision(np.array([0.9, 0.5, 0.2, -1.0]), np.array(relevant, bool))
    assert found == pytest.approx(wanted)


def test_scores_all_alike_are_chance():
    relevant = np.array([True, False, False, True, False])
    assert average_precision(np.zeros(5), relevant) == pytest.approx(2 / 5)
    assert roc_auc(np.zeros(5), relevant) == pytest.approx(1 / 2)


def test_what_is_undefined_is_nan():
    scores = np.array([0.1, 0.2])
    assert math.isnan(average_precision(scores, np.array([False, False])))
    for same in ([True, True], [False, False]):
        assert math.isnan(roc_auc(scores, np.array(same)))


def test_many_pairs_do_not_overflow():
    same = np.arange(200_000) % 2 == 0
    assert roc_auc(same.astype(np.float32), same) == 1.0


def test_average_precisions_are_those_of_each_query():
    rng = np.random.default_rng(0)
    scores, relevant = rng.standard_normal((4, 9)), rng.random((4, 9)) < 0.4
    found = average_precisions(scores, relevant)
    assert found.shape == (4,)
    for row in range(4):
        wanted = plain_average_precision(scores[row].tolist(), relevant[row].tolist())
        assert found[row] == pytest.approx(wanted, nan_ok=True)
    assert average_precisions(np.empty((0, 9)), np.empty((0, 9), bool)).shape == (0,)


# Intervals.


def test_the_interval_holds_the_value_and_is_decided_by_the_seed():
    rng = np.random.default_rng(0)
    values, people = rng.random(200), rng.integers(0, 30, 200)
    value, lower, upper = people_interval(values, people)
    assert value == pytest.approx(values.mean())
    assert lower < value < upper
    assert people_interval(values, people) == (value, lower, upper)
    assert people_interval(values, people, seed=1) != (value, lower, upper)
    assert people_interval(values, people, seed=1)[0] == value


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(
        st.tuples(st.floats(-1, 1, width=16), st.integers(0, 5)), min_size=1, max_size=20
    ),
    level=st.sampled_from([0.5, 0.95]),
)
def test_the_interval_lies_between_the_least_and_the_largest_value(rows, level):
    values, people = (np.array(column) for column in zip(*rows, strict=True))
    value, lower, upper = people_interval(values, people, draws=50, level=level)
    assert value == pytest.approx(values.mean())
    assert values.min() - 1e-9 <= lower <= upper <= values.max() + 1e-9


def test_a_larger_level_gives_a_wider_interval():
    rng = np.random.default_rng(1)
    values, people = rng.random(60), np.arange(60)
    _, lower, upper = people_interval(values, people, level=0.99)
    _, inner_lower, inner_upper = people_interval(values, people, level=0.5)
    assert lower < inner_lower < inner_upper < upper


def test_the_interval_is_that_of_the_mean_where_each_person_asks_once():
    values = np.random.default_rng(2).standard_normal(400)
    value, lower, upper = people_interval(values, np.arange(400))
    error = values.std() / math.sqrt(400)
    assert upper - value == pytest.approx(1.96 * error, rel=0.15)
    assert value - lower == pytest.approx(1.96 * error, rel=0.15)


def test_people_and_not_queries_are_the_units():
    each = np.random.default_rng(3).standard_normal(20)
    once = people_interval(each, np.arange(20))
    often = people_interval(np.repeat(each, 50), np.repeat(np.arange(20), 50))
    assert often == pytest.approx(once)  # fifty times the queries, and no surer
    _, lower, upper = people_interval(np.repeat(each, 50), np.arange(1000))
    assert upper - lower < (once[2] - once[1]) / 4


def test_where_a_persons_queries_stand_does_not_matter():
    values, people = np.arange(12.0), np.repeat([5, 2, 9], 4)
    order = np.random.default_rng(4).permutation(12)
    wanted = people_interval(values, people, draws=100)
    assert people_interval(values[order], people[order], draws=100) == pytest.approx(wanted)


def test_one_person_gives_an_interval_of_nought():
    assert people_interval(np.array([0.0, 1.0]), np.array([3, 3])) == (0.5, 0.5, 0.5)


def test_no_queries_give_nan():
    assert np.isnan(people_interval(np.array([]), np.array([], np.int64))).all()


def test_another_statistic():
    values, people = np.array([1.0, 5.0, 9.0]), np.arange(3)
    largest = people_interval(values, people, statistic=lambda drawn: float(drawn.max()))
    assert largest[0] == largest[2] == 9.0
    assert largest[1] == 1.0  # 1 is drawn three times in 1 of 27


def plain_error_rates(scores: list[float], same: list[bool]) -> list[tuple[float, float]]:
    """False match and false non-match rate of accepting nothing, then from each score on."""
    wrong = [s for s, is_same in zip(scores, same, strict=True) if not is_same]
    right = [s for s, is_same in zip(scores, same, strict=True) if is_same]
    rates = [(0.0, 1.0)]
    for threshold in sorted(set(scores), reverse=True):
        accepted = sum(s >= threshold for s in wrong) / len(wrong)
        rates.append((accepted, sum(s < threshold for s in right) / len(right)))
    return rates


BOTH_KINDS = ROWS.filter(lambda rows: len({same for _, same in rows}) == 2)


@given(BOTH_KINDS)
def test_the_equal_error_rate_is_where_the_roc_meets_the_diagonal(rows):
    scores, same = columns(rows)
    rates = plain_error_rates(scores.tolist(), same.tolist())
    grid = np.linspace(0, 1, 2001)  # independent: along each segment, the nearest to equal
    nearest = min(
        (abs((a[0] + t * (b[0] - a[0])) - (a[1] + t * (b[1] - a[1]))), a[0] + t * (b[0] - a[0]))
        for a, b in itertools.pairwise(rates)
        for t in grid
    )
    assert equal_error_rate(scores, same) == pytest.approx(nearest[1], abs=1e-3)


@pytest.mark.parametrize(
    ("scores", "expected"), [([1.0, 2, 3, 4], 0.0), ([4.0, 3, 2, 1], 1.0), ([1.0, 1, 1, 1], 0.5)]
)
def test_equal_error_rates_that_are_known(scores, expected):
    same = np.array([False, False, True, True])
    assert equal_error_rate(np.array(scores), same) == expected


@given(BOTH_KINDS, st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_the_true_match_rate_is_the_best_of_all_thresholds_allowed(rows, limit):
    scores, same = columns(rows)
    rates = plain_error_rates(scores.tolist(), same.tolist())
    best = max(1 - missed for accepted, missed in rates if accepted <= limit)
    assert true_match_rate(scores, same, limit) == pytest.approx(best)


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_alone_has_no_error_rates(kind):
    scores, same = np.array([1.0, 2.0]), np.array([kind, kind])
    assert math.isnan(equal_error_rate(scores, same))
    assert math.isnan(true_match_rate(scores, same, 0.1))


def test_a_matching_is_right_where_the_right_candidate_alone_scores_highest():
    scores = np.array([[2.0, 1, 0], [1, 2, 0], [2, 2, 0], [1, 1, 1], [0, 1, 1]])
    truth = np.array([0, 0, 0, 2, 0])
    assert matching_hits(scores, truth).tolist() == [1, 0, 1 / 2, 1 / 3, 0]
