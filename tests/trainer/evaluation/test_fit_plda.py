from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from avsearch.annotation.identification.plda import PLDA, VoiceVectors
from trainer.evaluation.fit_plda import REFERENCE_S, Pairs, Takes, calibrated, costs_of, fit_plda

DIM = 4
BETWEEN = np.array([1.0, 0.5, 0.2, 0.1])
SESSION = np.array([0.02, 0.05, 0.03, 0.02])
SECOND = np.array([0.05, 0.2, 0.05, 0.1])


def world(people: int, takes: int, seed: int) -> Takes:
    """Voices of known distributions, along axes of their own."""
    rng = np.random.default_rng(seed)
    whose = np.repeat(np.arange(people), takes)
    seconds = rng.uniform(1, 12, len(whose))
    voices = rng.standard_normal((people, DIM)) * np.sqrt(BETWEEN)
    around = rng.standard_normal((len(whose), DIM)) * np.sqrt(SESSION + SECOND / seconds[:, None])
    return Takes((voices[whose] + around).astype(np.float32), whose, seconds)


def test_the_fit_finds_the_distributions_that_voices_were_drawn_from(monkeypatch) -> None:
    monkeypatch.setattr("trainer.evaluation.fit_plda.RIDGE", 0.0)
    found = fit_plda(world(3000, 6, 0))
    within = SESSION + SECOND / REFERENCE_S
    order = np.argsort(BETWEEN / within)  # axes come by how much they tell
    np.testing.assert_allclose(found.between, (BETWEEN / within)[order], rtol=0.15)
    np.testing.assert_allclose(found.second, (SECOND / within)[order], rtol=0.25, atol=0.1)
    np.testing.assert_allclose(found.session, (SESSION / within)[order], rtol=0.25, atol=0.1)


def pairs(takes: Takes, people: int) -> Pairs:
    """The first two takes of everybody, one as a speaker and one as of an index."""
    first = np.searchsorted(takes.people, np.arange(people))
    speakers, held = (
        VoiceVectors(takes.vectors[at], takes.seconds[at]) for at in (first, first + 1)
    )
    return Pairs(speakers, held, np.eye(people, dtype=bool))


def test_what_is_fitted_costs_less_than_the_cosine_could() -> None:
    known = calibrated(fit_plda(world(400, 6, 1)), pairs(world(200, 2, 2), 200))
    asked = pairs(world(200, 2, 3), 200)
    costs = costs_of(known, asked)
    assert costs["pairs"] == [200, 200 * 199]
    assert costs["minCllr"] <= costs["Cllr"] < costs["minCllr"] + 0.1
    cosine = PLDA(np.zeros(DIM), np.eye(DIM), *(np.ones(DIM),) * 3)
    assert costs["minCllr"] < 0.8 * costs_of(cosine, asked)["minCllr"]


def test_a_calibration_does_not_mind_what_the_scale_was() -> None:
    known, asked = fit_plda(world(50, 4, 4)), pairs(world(50, 2, 5), 50)
    other = dataclasses.replace(known, scale=3.0, offset=7.0)
    found, again = calibrated(known, asked), calibrated(other, asked)
    assert (found.scale, found.offset) == (again.scale, again.offset)


@pytest.mark.parametrize("people", [[0, 0, 0], [0, 1, 2]])
def test_one_person_or_one_take_each_cannot_be_fitted(people: list[int]) -> None:
    rows = np.eye(3, DIM, dtype=np.float32)
    with pytest.raises(ValueError, match="two people or more"):
        fit_plda(Takes(rows, np.array(people), np.ones(3)))


def test_takes_can_be_those_of_the_first_people() -> None:
    some = world(5, 3, 6).of_first(2)
    assert sorted(set(some.people.tolist())) == [0, 1]
    assert len(some.vectors) == len(some.seconds) == 6
