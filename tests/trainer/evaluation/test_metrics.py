from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.metrics import (
    average_precision,
    best_threshold,
    equal_error_rate,
    matching_hits,
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


@given(rows=ROWS)
def test_average_precision_is_that_of_plain_loops(rows):
    scores, relevant = columns(rows)
    wanted = plain_average_precision(scores.tolist(), relevant.tolist())
    assert average_precision(scores, relevant) == pytest.approx(wanted, nan_ok=True)


@given(rows=ROWS)
def test_auc_is_that_of_plain_loops(rows):
    scores, same = columns(rows)
    wanted = plain_auc(scores.tolist(), same.tolist())
    assert roc_auc(scores, same) == pytest.approx(wanted, nan_ok=True)


@settings(max_examples=50)
@given(rows=ROWS)
def test_both_are_those_of_scikit_learn(rows):
    reference = pytest.importorskip("sklearn.metrics")
    scores, relevant = columns(rows)
    if relevant.any():
        wanted = reference.average_precision_score(relevant, scores)
        assert average_precision(scores, relevant) == pytest.approx(wanted)
    if relevant.any() and not relevant.all():
        assert roc_auc(scores, relevant) == pytest.approx(reference.roc_auc_score(relevant, scores))


@given(rows=ROWS, seed=st.integers(0, 999))
def test_neither_depends_on_the_order_or_the_scale(rows, seed):
    scores, relevant = columns(rows)
    order = np.random.default_rng(seed).permutation(len(scores))
    for figure in (average_precision, roc_auc):
        wanted = figure(scores, relevant)
        assert figure(scores[order], relevant[order]) == pytest.approx(wanted, nan_ok=True)
        assert figure(np.exp(scores), relevant) == pytest.approx(wanted, nan_ok=True)


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


@settings(max_examples=200)
@given(ROWS)
def test_no_threshold_tells_more_pairs_right_than_the_best(rows):
    scores, same = columns(rows)
    found = best_threshold(scores.astype(np.float32), same)
    if same.all() or not same.any():
        assert math.isnan(found)
        return
    tried = [*scores.tolist(), math.inf]
    most = max(((scores >= one) == same).sum() for one in tried)
    assert ((scores >= found) == same).sum() == most
    assert found not in scores or found == scores.min()  # it lies between two of them
