"""The bound against integrals over the model, densities in full, and scorers that it must beat."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality.synthetic_bound import (
    best_possible,
    best_scores,
    crowd_of,
    draw_crowd,
    figures,
    log_ratios,
)
from trainer.data.synthetic.world import World, WorldSettings
from trainer.evaluation.metrics import average_precision, roc_auc

# One dimension, so that a grid is exact enough.
GRID = np.linspace(-7, 7, 281)


def normal(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def below(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def in_front(face: float, voice: float, shared: float) -> float:
    """Chance that somebody else's face is nearer to v / r, which the ratio orders by."""
    centre = voice / shared
    distance = abs(face - centre)
    return below(centre + distance) - below(centre - distance)


def integral(shared: float, of) -> float:
    """The mean of a function of face and voice over people, by a sum over a grid."""
    total = weight = 0.0
    deviation = math.sqrt(1 - shared**2)
    for voice in GRID[::4]:
        for face in GRID:
            mass = normal(voice) * normal((face - shared * voice) / deviation) / deviation
            total += mass * of(float(face), float(voice))
            weight += mass
    return total / weight


@pytest.mark.parametrize(("shared", "countries"), [(0.5, 1), (0.8, 3)])
def test_accuracy_and_precision_are_those_of_the_integrals(shared, countries):
    alike = 1 / (2 * countries)  # chance that somebody has one's gender and country
    people = 30

    def reciprocal_rank(face, voice):
        chance = alike * in_front(face, voice, shared)  # of each other to stand before
        if chance < 1e-9:
            return 1.0
        return (1 - (1 - chance) ** people) / (people * chance)  # mean of 1 / (1 + binomial)

    accuracy = 1 - alike * integral(shared, lambda f, v: in_front(f, v, shared))
    precision = integral(shared, reciprocal_rank)
    world = WorldSettings(shared=shared, dims=1, nationalities=countries)
    found = best_possible(world, people=people, draws=500)
    assert found.accuracy.value == pytest.approx(accuracy, abs=4 * found.accuracy.error)
    own = found.mean_average_precision
    assert own.value == pytest.approx(precision, abs=4 * own.error)
    assert max(own.error, found.accuracy.error, found.auc.error) < 0.004


def test_the_area_is_that_of_the_ratio_of_histograms():
    """Without the formula: the area from counts of (face, voice) in a grid of cells."""
    shared, rng = 0.7, np.random.default_rng(1)
    common = rng.standard_normal((3, 400_000))
    face = math.sqrt(shared) * common[0] + math.sqrt(1 - shared) * common[1]
    voice = math.sqrt(shared) * common[0] + math.sqrt(1 - shared) * common[2]
    edges = [np.r_[-9, np.linspace(-3, 3, 31), 9]] * 2
    same = np.histogram2d(face, voice, edges)[0].ravel()
    other = np.histogram2d(face, np.roll(voice, 1), edges)[0].ravel()
    order = np.argsort(same / np.maximum(other, 0.5))  # cells by their ratio, smallest first
    before = np.cumsum(other[order]) - 0.5 * other[order]
    within = float((same[order] * before).sum() / (same.sum() * other.sum()))
    found = best_possible(WorldSettings(shared=shared, dims=1, nationalities=1), draws=300)
    assert found.auc.value == pytest.approx(1 - 0.5 * (1 - within), abs=0.006)


@settings(max_examples=30)
@given(shared=st.floats(0, 0.99), dims=st.integers(1, 4), seed=st.integers(0, 99))
def test_the_ratio_is_that_of_the_densities_in_full(shared, dims, seed):
    voices, faces = np.random.default_rng(seed).standard_normal((2, 3, dims))
    found = log_ratios(voices, faces, shared)
    for i in range(3):
        for j in range(3):
            total = 0.0
            for v, f in zip(voices[i], faces[j], strict=True):
                square = (f * f - 2 * shared * f * v + v * v) / (1 - shared**2)
                joint = math.exp(-square / 2) / (2 * math.pi * math.sqrt(1 - shared**2))
                total += math.log(joint + 1e-300) - math.log(normal(f) * normal(v))
            if total > -200:
                assert found[i, j] == pytest.approx(total, abs=1e-6)


def test_figures_are_those_of_plain_trials():
    world = World(WorldSettings(shared=0.6, dims=2, nationalities=2), seed=2)
    crowd = crowd_of([world.person(number) for number in range(25)])
    scores = best_scores(crowd, 0.6)
    for within in ("all", "gender", "nationality", "both"):
        right, kept, same = [], [], []
        for v in range(25):
            for f in range(25):
                if within in ("gender", "both") and crowd.genders[v] != crowd.genders[f]:
                    continue
                if within in ("nationality", "both") and crowd.countries[v] != crowd.countries[f]:
                    continue
                kept.append(scores[v, f])
                same.append(v == f)
                if v != f:
                    right.append(scores[v, v] > scores[v, f])
        accuracy, auc, precision = figures(crowd, 0.6, within)
        assert accuracy == pytest.approx(np.mean(right))
        assert auc == pytest.approx(roc_auc(np.array(kept), np.array(same)))
        own = [average_precision(scores[v], np.arange(25) == v) for v in range(25)]
        assert precision == pytest.approx(np.mean(own))


def test_scores_of_a_world_tell_its_own_people_and_no_gender_or_country_apart():
    world = World(WorldSettings(shared=0.9), seed=0)
    people = [world.person(number) for number in range(40)]
    scores = best_scores(crowd_of(people), 0.9)
    for v, voice in enumerate(people):
        for f, face in enumerate(people):
            alike = (voice.gender, voice.nationality) == (face.gender, face.nationality)
            assert np.isfinite(scores[v, f]) == alike
    assert (scores.argmax(1) == np.arange(40)).mean() > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_no_other_score_of_the_components_does_better(seed):
    world = WorldSettings(shared=0.7, dims=3, nationalities=1)
    rng = np.random.default_rng(seed)
    areas: dict[str, list[float]] = {"best": [], "cosine": [], "distance": [], "product": []}
    for _ in range(60):
        crowd = draw_crowd(world, 60, rng)
        voices, faces = crowd.voices, crowd.faces
        own = np.eye(60, dtype=bool)
        norms = np.linalg.norm(voices, axis=1)[:, None] * np.linalg.norm(faces, axis=1)
        others = {
            "cosine": voices @ faces.T / norms,
            "distance": -((voices[:, None] - faces[None]) ** 2).sum(2),
            "product": voices @ faces.T,
        }
        alike = crowd.genders[:, None] == crowd.genders
        areas["best"].append(figures(crowd, 0.7)[1])
        for name, scores in others.items():
            areas[name].append(roc_auc(np.where(alike, scores, -1e9).ravel(), own.ravel()))
    for name in ("cosine", "distance", "product"):
        assert np.mean(areas[name]) < np.mean(areas["best"])


def test_nothing_shared_leaves_gender_and_country_and_everything_shared_leaves_no_doubt():
    nothing = best_possible(WorldSettings(shared=0, nationalities=4), draws=60)
    assert nothing.accuracy.value == pytest.approx(1 - 0.5 / 8, abs=0.003)
    assert nothing.auc.value == pytest.approx(1 - 0.5 / 8, abs=0.003)
    everything = best_possible(WorldSettings(shared=1), draws=5)
    for figure in (everything.accuracy, everything.auc, everything.mean_average_precision):
        assert (figure.value, figure.error) == (1, 0)


def test_the_more_is_shared_the_better_and_within_a_stratum_it_is_harder():
    shares = [best_possible(WorldSettings(shared=s), draws=30).auc.value for s in (0.2, 0.5, 0.8)]
    assert shares == sorted(shares)
    world = WorldSettings(shared=0.5)
    strata = [best_possible(world, within=w, draws=30).accuracy.value for w in ("all", "gender")]
    assert strata[0] > strata[1] > best_possible(world, within="both", draws=30).accuracy.value
