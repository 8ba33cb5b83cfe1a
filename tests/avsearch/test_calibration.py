from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsearch.calibration import Calibration, Evidence, calibrations_of, probability, support


@given(st.floats(-30, 30), st.integers(1, 10**6))
def test_the_probability_is_bayes_rule_with_equal_priors(ratio, people):
    alone = 1 / (1 + (people - 1) * math.exp(-ratio))
    assert probability(ratio, people) == pytest.approx(alone, rel=1e-9)


def test_a_score_that_says_nothing_leaves_the_prior_and_the_largest_ratios_are_finite():
    assert probability(0.0, 50) == pytest.approx(1 / 50)
    assert probability(1e6, 50) == 1
    assert probability(-1e6, 50) == pytest.approx(0)
    assert probability(-1e6, 1) == 1  # nobody else could answer


@pytest.mark.parametrize(
    ("ratio", "word"),
    [
        (1, "none"),
        (1.9, "none"),
        (2.1, "weak"),
        (50, "moderate"),
        (500, "moderately strong"),
        (5e3, "strong"),
        (5e5, "very strong"),
        (5e9, "extremely strong"),
        (1 / 1.9, "none"),
        (1 / 50, "moderate against"),
    ],
)
def test_the_words_are_those_of_the_verbal_scale(ratio, word):
    assert support(math.log(ratio)) == word


def test_the_calibrations_of_a_record_are_by_direction():
    record = {"calibration": {"V-F": {"scale": 2, "offset": -1, "Cllr": 0.5}}}
    found = calibrations_of(record)
    assert found == {"V-F": Calibration(2, -1)}
    assert found["V-F"](np.array([1.0, 0.5])).tolist() == [1, 0]
    bounded = {"calibration": {"V-F": {"scale": 2, "offset": -1, "least": -0.5, "most": 0.75}}}
    found = calibrations_of(bounded)
    assert found["V-F"](np.array([1.0, 0.5, -1.0])).tolist() == [0.75, 0, -0.5]
    assert calibrations_of({}) == calibrations_of({"calibration": None}) == {}


def test_evidence_is_of_a_ratio_among_people():
    assert Evidence.of(math.log(9), 10) == Evidence(math.log(9), pytest.approx(0.5), "weak", 10)
