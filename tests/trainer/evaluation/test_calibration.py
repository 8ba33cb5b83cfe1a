from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from avsearch.calibration import Calibration
from trainer.evaluation.calibration import bounds, calibrated, cllr, costs, fit, min_cllr
from trainer.evaluation.embedding_map import Embeddings


def gaussians(seed, count=4000, apart=2.0):
    """Scores whose log-likelihood ratio is known: apart * score - apart ** 2 / 2."""
    rng = np.random.default_rng(seed)
    same = np.arange(count) % 3 == 0  # unbalanced, which must not matter
    return rng.standard_normal(count) + apart * same, same


def test_a_calibration_finds_the_log_likelihood_ratio():
    scores, same = gaussians(0, 200_000)
    found = fit(scores, same)
    assert found.scale == pytest.approx(2, abs=0.05)
    assert found.offset == pytest.approx(-2, abs=0.05)


@given(st.floats(0.01, 100), st.floats(-10, 10))
@settings(max_examples=20)
def test_the_scale_of_the_scores_does_not_matter(scale, shift):
    scores, same = gaussians(1)
    plain, moved = (
        fit(scores, same)(scores),
        fit(scale * scores + shift, same)(scale * scores + shift),
    )
    np.testing.assert_allclose(moved, plain, atol=1e-5)


def test_scores_that_fall_get_a_falling_calibration():
    scores, same = gaussians(2)
    np.testing.assert_allclose(fit(-scores, same)(-scores), fit(scores, same)(scores), atol=1e-6)


@pytest.mark.parametrize("scores", [[0.0, 1.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0]])
def test_kinds_that_do_not_overlap_and_scores_that_are_all_equal_stay_finite(scores):
    same = np.array([False, False, True, True])
    found = fit(np.array(scores), same)
    assert math.isfinite(found.scale)
    assert math.isfinite(found.offset)


def test_one_kind_alone_cannot_be_calibrated():
    with pytest.raises(ValueError, match="of one person and of two"):
        fit(np.array([1.0, 2.0]), np.array([True, True]))
    assert math.isnan(cllr(np.array([1.0]), np.array([True])))
    assert math.isnan(min_cllr(np.array([1.0]), np.array([False])))


def test_knowing_nothing_costs_one_bit_and_knowing_all_none():
    same = np.array([True, False, True, False])
    assert cllr(np.zeros(4), same) == pytest.approx(1)
    assert min_cllr(np.zeros(4), same) == pytest.approx(1)
    assert cllr(np.where(same, 50.0, -50.0), same) == pytest.approx(0)
    assert min_cllr(same.astype(float), same) == 0


def test_cllr_is_the_mean_of_the_papers_two_sums():
    ratios, same = np.array([1.0, -2.0, 0.5]), np.array([True, False, False])
    missed = math.log2(1 + math.exp(-1.0))
    accepted = (math.log2(1 + math.exp(-2.0)) + math.log2(1 + math.exp(0.5))) / 2
    assert cllr(ratios, same) == pytest.approx((missed + accepted) / 2)


@given(st.integers(0, 2**32), st.sampled_from([4, 1000]))
@settings(max_examples=30)
def test_the_least_cost_is_that_of_an_isotonic_regression(seed, values):
    rng = np.random.default_rng(seed)
    same = rng.random(60) < 0.3
    if same.all() or not same.any():
        return
    scores = rng.integers(0, values, 60).astype(float) + 0.2 * values * same
    weights = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    chance = IsotonicRegression().fit(scores, same, weights).predict(scores)
    losses = np.where(
        same, -np.log2(np.maximum(chance, 1e-300)), -np.log2(np.maximum(1 - chance, 1e-300))
    )
    assert min_cllr(scores, same) == pytest.approx((weights * losses).sum(), abs=1e-9)


def test_no_calibration_that_keeps_the_order_costs_less():
    scores, same = gaussians(3)
    assert min_cllr(scores, same) <= cllr(fit(scores, same)(scores), same)
    assert min_cllr(scores, same) == pytest.approx(min_cllr(Calibration(3, 1)(scores), same))


def outweighs(ratios, same, threshold):
    """Return True if deciding by a ratio costs less than not deciding, at a threshold."""
    hit = np.count_nonzero(ratios[same] >= threshold) / (1 + same.sum())
    wrong = (1 + np.count_nonzero(ratios[~same] >= threshold)) / (1 + (~same).sum())
    return hit > math.exp(threshold) * wrong


@given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 3.0]), st.booleans())
@settings(max_examples=30)
def test_ratios_are_bounded_where_their_pairs_no_longer_support_them(seed, apart, rounded):
    rng = np.random.default_rng(seed)
    same = rng.random(80) < 0.3
    ratios = 2 * rng.standard_normal(80) + apart * np.where(same, 1, -1)
    ratios = np.round(ratios) if rounded else ratios
    least, most = bounds(ratios, same)
    thresholds = np.arange(0, 8, 0.001) + 0.0005
    for bound, found, right in ((most, ratios, same), (-least, -ratios, ~same)):
        supported = [at for at in thresholds.tolist() if outweighs(found, right, at)]
        assert bound == pytest.approx(max(supported, default=0), abs=0.001)


def test_no_ratio_is_above_what_as_many_pairs_without_an_error_would_support():
    same = np.arange(300) < 100
    least, most = bounds(np.where(same, 50.0, -50.0), same)
    assert most == pytest.approx(math.log(201 * 100 / 101))
    assert least == pytest.approx(-math.log(101 * 200 / 201))


def test_ratios_that_are_the_wrong_way_round_support_nothing():
    same = np.arange(10) < 5
    assert bounds(np.where(same, -1.0, 1.0), same) == (0, 0)


# Of a model's vectors, by direction.


def sides(seed=0, people=12, each=4, noise=0.5, labels=None):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), each)
    centres = rng.standard_normal((people, 16))
    made = []
    for _ in range(2):
        vectors = centres[who] + noise * rng.standard_normal((len(who), 16))
        unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        made.append(Embeddings(unit, who, who if labels is None else labels[who]))
    return made


def plain_pairs(asked, answers, *, within):
    """Scores of pairs of one label, and of pairs of two people, by plain loops."""
    right, wrong = [], []
    for at in range(len(asked.people)):
        for other in range(at + 1 if within else 0, len(answers.people)):
            value = float(asked.vectors[at] @ answers.vectors[other])
            if within:
                alike = asked.people[at] == answers.people[other]
            else:
                alike = asked.labels[at] == answers.labels[other]
            if alike:
                right.append(value)
            if asked.people[at] != answers.people[other]:
                wrong.append(value)
    return right, wrong


@pytest.mark.parametrize("labels", [None, np.arange(12) % 2])
def test_each_direction_is_fitted_on_its_own_pairs(labels):
    faces, voices = sides(labels=labels)
    found = calibrated(faces, voices)
    assert set(found) == {"V-F", "F-V", "V-V", "F-F"}
    for way, asked, answers in (("V-F", voices, faces), ("F-F", faces, faces)):
        right, wrong = plain_pairs(asked, answers, within=way == "F-F")
        scores, same = np.array(right + wrong), np.arange(len(right + wrong)) < len(right)
        expected = fit(scores, same)
        assert found[way]["scale"] == pytest.approx(expected.scale, rel=1e-3)
        assert found[way]["offset"] == pytest.approx(expected.offset, rel=1e-3)
        assert (found[way]["least"], found[way]["most"]) == pytest.approx(
            bounds(expected(scores), same), rel=1e-3
        )
        assert found[way]["pairs"] == [len(right), len(wrong)]
        assert found[way]["minCllr"] <= found[way]["Cllr"] < 1


def test_a_direction_without_pairs_of_both_kinds_has_no_calibration():
    faces, voices = sides(people=1)
    assert calibrated(faces, voices) == {}
    nobody = Embeddings(np.zeros((0, 16), np.float32), np.zeros(0, int), np.zeros(0, int))
    assert set(calibrated(sides()[0], nobody)) == {"F-F"}


def test_without_a_calibration_only_the_least_cost_is_known():
    scores, same = gaussians(4)
    assert costs(scores, same, None) == {"minCllr": min_cllr(scores, same)}
    assert costs(scores, same, Calibration(2, -2))["Cllr"] == cllr(2 * scores - 2, same)
