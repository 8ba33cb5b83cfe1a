from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsearch.annotation.identification.plda import (
    MIN_SPEECH_S,
    PLDA,
    RECORD,
    VoiceVectors,
    plda_from_record,
    plda_to_record,
)

DIM, AXES = 5, 3
RNG = np.random.default_rng(1)
KNOWN = PLDA(
    mean=0.1 * RNG.standard_normal(DIM),
    axes=RNG.standard_normal((DIM, AXES)),
    between=RNG.uniform(0.5, 4, AXES),
    session=RNG.uniform(0.1, 1, AXES),
    second=RNG.uniform(0, 3, AXES),
    scale=0.6,
    offset=-0.4,
)


def means(seed: int, count: int) -> VoiceVectors:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, DIM)).astype(np.float32)
    return VoiceVectors(rows / np.linalg.norm(rows, axis=1)[:, None], rng.uniform(0.2, 30, count))


def normal(values: list[float], covariance: list[list[float]]) -> float:
    """The logarithm of the density of a normal distribution around 0."""
    inverse = np.linalg.inv(covariance)
    distance = np.array(values) @ inverse @ values
    return -0.5 * (distance + math.log(np.linalg.det(2 * math.pi * np.array(covariance))))


@given(st.integers(0, 10_000))
def test_a_ratio_is_that_of_two_densities_summed_over_the_axes(seed: int) -> None:
    speakers, people = means(seed, 2), means(seed + 1, 3)
    found = KNOWN(speakers, people)
    for row in range(2):
        for column in range(3):
            x = (speakers.vectors[row] - KNOWN.mean) @ KNOWN.axes
            y = (people.vectors[column] - KNOWN.mean) @ KNOWN.axes
            total = 0.0
            for axis in range(AXES):
                b = KNOWN.between[axis]
                v, w = (
                    b + KNOWN.session[axis] + KNOWN.second[axis] / max(seconds, MIN_SPEECH_S)
                    for seconds in (speakers.seconds[row], people.seconds[column])
                )
                together = normal([x[axis], y[axis]], [[v, b], [b, w]])
                total += together - normal([x[axis]], [[v]]) - normal([y[axis]], [[w]])
            expected = KNOWN.scale * total + KNOWN.offset
            assert found[row, column] == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 10_000))
def test_a_ratio_is_the_same_either_way_round_and_in_any_company(seed: int) -> None:
    speakers, people = means(seed, 3), means(seed + 1, 4)
    found = KNOWN(speakers, people)
    np.testing.assert_allclose(found, KNOWN(people, speakers).T, atol=1e-9)
    alone = KNOWN(
        VoiceVectors(*(each[:1] for each in speakers)),
        VoiceVectors(*(each[2:3] for each in people)),
    )
    assert found[0, 2] == pytest.approx(alone[0, 0], abs=1e-9)


def test_the_less_was_heard_the_less_it_says_either_way() -> None:
    one, other = means(2, 1).vectors, -means(2, 1).vectors
    for two in (one, other):
        strength = [
            abs(
                KNOWN(VoiceVectors(one, np.array([s])), VoiceVectors(two, np.array([s])))[0, 0]
                - KNOWN.offset
            )
            for s in (30.0, 3.0, 0.5)
        ]
        assert strength == sorted(strength, reverse=True)


def test_a_record_keeps_what_it_says() -> None:
    kept = plda_from_record({RECORD: plda_to_record(KNOWN)}, DIM)
    assert kept is not None
    speakers, people = means(3, 4), means(4, 5)
    np.testing.assert_allclose(kept(speakers, people), KNOWN(speakers, people), atol=0.05)


@pytest.mark.parametrize(
    "change",
    [{"axes": "AAAA"}, {"between": plda_to_record(KNOWN)["mean"]}, {"scale": "x"}, {"mean": "?"}],
)
def test_a_record_of_something_else_says_nothing(change: dict[str, str]) -> None:
    assert plda_from_record({}, DIM) is None
    assert plda_from_record({RECORD: "no"}, DIM) is None
    assert plda_from_record({RECORD: plda_to_record(KNOWN)}, DIM + 1) is None
    assert plda_from_record({RECORD: {**plda_to_record(KNOWN), **change}}, DIM) is None
