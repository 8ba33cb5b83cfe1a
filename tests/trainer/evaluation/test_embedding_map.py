from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tests.helpers.tiny import tiny_adsm
from trainer.evaluation.embedding_map import (
    Embeddings,
    label_map,
    person_map,
    same_person_auc,
)
from trainer.recipes.in_memory import Side, TrainingSet
from trainer.recipes.phases import embed_set, validation_scores

PEOPLE, EACH = 8, 3
WHO = np.repeat(np.arange(PEOPLE), EACH)
GENDER = WHO % 2


def side(vectors: np.ndarray, people: np.ndarray = WHO) -> Embeddings:
    return Embeddings(vectors.astype(np.float32), people, people % 2)


@pytest.fixture
def perfect() -> Embeddings:
    """Each person's items at one point, people at right angles."""
    return side(np.eye(PEOPLE)[WHO])


@pytest.fixture
def gender_only() -> Embeddings:
    """All women at one point, all men at another."""
    return side(np.eye(2)[GENDER])


def random_side(seed: int, people: int = 40) -> Embeddings:
    vectors = np.random.default_rng(seed).standard_normal((people * EACH, 16))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return side(unit, np.repeat(np.arange(people), EACH))


# Perfect.


def test_who_knows_the_person_is_always_right(perfect):
    assert person_map(perfect, perfect) == 1
    assert same_person_auc(perfect) == 1


def test_who_knows_the_person_alone_ranks_the_rest_of_the_gender_by_chance(perfect):
    # Own items first, then all others alike: 12 of 24 are of the gender.
    wanted = (EACH * 1 + (12 - EACH) * 12 / 24) / 12
    assert label_map(perfect, perfect) == pytest.approx(wanted)


def test_who_is_always_wrong_is_found_out(perfect):
    wrong = dataclasses.replace(perfect, vectors=-perfect.vectors)
    assert person_map(wrong, perfect) == pytest.approx(1 / PEOPLE)  # last: 3 of 24
    # Three people with an item at each of the eight points: all that lie together are of two.
    apart = Embeddings(perfect.vectors, np.arange(24) % 3, GENDER)
    pairs, own, together = 24 * 23 // 2, 3 * 28, 8 * 3
    assert same_person_auc(apart) == pytest.approx((pairs - own - together) / (pairs - own) / 2)


# Gender only.


def test_who_knows_the_gender_alone_is_right_about_nothing_else(gender_only):
    assert label_map(gender_only, gender_only) == 1
    assert person_map(gender_only, gender_only) == pytest.approx(2 / PEOPLE)  # 3 of 12 that tie


def test_gender_alone_tells_people_apart_as_often_as_genders_differ(gender_only):
    # Pairs of two people: 16 of the 28 pairs of 8 people are of two genders, the others tie.
    assert same_person_auc(gender_only) == pytest.approx(16 / 28 + 12 / 28 / 2)


# Chance.


def test_noise_is_about_chance():
    queries, gallery = random_side(0), random_side(1)
    assert label_map(queries, gallery) == pytest.approx(0.5, abs=0.12)
    assert person_map(queries, gallery) == pytest.approx(1 / 40, abs=0.06)
    assert same_person_auc(queries) == pytest.approx(0.5, abs=0.12)


def test_equal_scores_give_the_share_of_the_gallery_that_is_right():
    queries, gallery = side(np.ones((24, 4))), side(np.ones((24, 4)))
    assert label_map(queries, gallery) == pytest.approx(1 / 2)
    assert person_map(queries, gallery) == pytest.approx(1 / PEOPLE)
    assert same_person_auc(queries) == 0.5


# Queries and galleries.


def test_queries_and_gallery_are_not_mixed_up():
    queries = side(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
    gallery = side(np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]), np.array([1, 0, 1]))
    assert person_map(queries, gallery) == pytest.approx((1 / 2 + (1 + 2 / 3) / 2) / 2)
    assert person_map(gallery, queries) == pytest.approx((1 / 2 + 1 + 1) / 3)


@pytest.mark.parametrize("measure", [label_map, person_map])
def test_queries_without_an_answer_do_not_count(perfect, measure):
    women = np.flatnonzero(GENDER == 0)
    part = Embeddings(perfect.vectors[women], WHO[women], GENDER[women])
    assert measure(perfect, part) == measure(part, part)


@pytest.mark.parametrize("measure", [label_map, person_map])
def test_without_a_query_that_has_an_answer_the_map_is_nan(perfect, measure):
    women, men = (np.flatnonzero(gender == GENDER) for gender in (0, 1))
    sides = [Embeddings(perfect.vectors[own], WHO[own], GENDER[own]) for own in (women, men)]
    assert math.isnan(measure(*sides))


def test_the_order_of_the_gallery_does_not_matter():
    queries, gallery = random_side(0), random_side(1)
    order = np.random.default_rng(2).permutation(len(gallery.people))
    parts = (gallery.vectors[order], gallery.people[order], gallery.labels[order])
    shuffled = Embeddings(*parts)
    for measure in (label_map, person_map):
        wanted, found = measure(queries, gallery), measure(queries, shuffled)
        assert found == pytest.approx(wanted)
    assert same_person_auc(shuffled) == pytest.approx(same_person_auc(gallery))


def test_auc_within_one_side_is_over_pairs_of_two_items():
    vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])  # cosines .8, 0, .6
    assert same_person_auc(side(vectors, np.array([0, 0, 1]))) == 1.0
    assert same_person_auc(side(vectors, np.array([0, 1, 1]))) == 0.5
    assert same_person_auc(side(vectors, np.array([0, 1, 0]))) == 0.0
    assert math.isnan(same_person_auc(side(vectors, np.array([0, 1, 2]))))


# Validation.


def test_the_score_is_the_mean_of_the_others(perfect, gender_only):
    for paired, across in ((True, person_map), (False, label_map)):
        scores = validation_scores(perfect, gender_only_as(perfect, gender_only), paired=paired)
        score = scores.pop("score")
        assert score == pytest.approx(sum(scores.values()) / 4)
        voices = gender_only_as(perfect, gender_only)
        assert scores["voice_to_face_map"] == across(voices, perfect)
        assert scores["face_to_voice_map"] == across(perfect, voices)
        assert scores["face_auc"] == 1
        assert scores["voice_auc"] == same_person_auc(voices) < 1


def gender_only_as(other: Embeddings, one: Embeddings) -> Embeddings:
    """The same, with as many dimensions as another."""
    vectors = np.pad(one.vectors, ((0, 0), (0, other.vectors.shape[1] - one.vectors.shape[1])))
    return dataclasses.replace(one, vectors=vectors)


def test_a_set_is_embedded_as_it_is_and_in_order():
    rng = np.random.default_rng(0)
    faces = [rng.integers(0, 256, (144, 144, 3), dtype=np.uint8) for _ in range(70)]
    voices = [rng.integers(-9000, 9000, n).astype(np.int16) for n in (3000, 30_000)]
    people = np.arange(70)
    data = TrainingSet(Side(faces, people, people % 2), Side(voices, people[:2], people[:2]))
    network = tiny_adsm().train()
    first, second = (embed_set(network, data, 32, 0.5) for _ in range(2))
    assert not network.training
    for one, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.vectors, again.vectors)  # nothing is augmented
    assert first[0].vectors.shape == (70, 16)
    assert first[1].vectors.shape == (2, 16)
    alone = TrainingSet(data.faces.take(np.array([69])), data.voices.take(np.array([1])))
    for one, whole, place in zip(embed_set(network, alone, 32, 0.5), first, (69, 1), strict=True):
        np.testing.assert_allclose(one.vectors[0], whole.vectors[place], atol=1e-5)
        assert one.people[0] == whole.people[place]
        assert one.labels[0] == whole.labels[place]
