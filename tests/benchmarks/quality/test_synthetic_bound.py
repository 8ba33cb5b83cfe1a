"""The bound against densities in full, and against scorers that it must beat."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality.synthetic_bound import Crowd, best_scores, crowd_of, figures, log_ratios
from trainer.data.synthetic.world import World, WorldSettings
from trainer.evaluation.metrics import average_precision, roc_auc


def normal(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def draw_crowd(shared: float, dims: int, people: int, rng: np.random.Generator) -> Crowd:
    common, face_only, voice_only = rng.standard_normal((3, people, dims))
    mine, own = math.sqrt(shared), math.sqrt(1 - shared)
    return Crowd(
        mine * common + own * face_only,
        mine * common + own * voice_only,
        rng.integers(2, size=people),
        np.zeros(people, np.int64),
    )


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
    right, flat, same = [], [], []
    for v in range(25):
        for f in range(25):
            flat.append(scores[v, f])
            same.append(v == f)
            if v != f:
                tie = 0.5 * (scores[v, v] == scores[v, f])
                right.append((scores[v, v] > scores[v, f]) + tie)
    accuracy, auc, precision = figures(crowd, 0.6)
    assert accuracy == pytest.approx(np.mean(right))
    assert auc == pytest.approx(roc_auc(np.array(flat), np.array(same)))
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
    rng = np.random.default_rng(seed)
    areas: dict[str, list[float]] = {"best": [], "cosine": [], "distance": [], "product": []}
    for _ in range(60):
        crowd = draw_crowd(0.7, 3, 60, rng)
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
