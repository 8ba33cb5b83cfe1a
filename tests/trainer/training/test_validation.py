from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.helpers.worlds import paired_set
from trainer.evaluation.metrics import average_precision
from trainer.training.validation import Validation, cross_modal_scores, first_items, forward


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 6))
def test_of_every_person_some_items_are_taken_always_the_same(people, each):
    who = np.array(people)
    chosen = first_items(who, each)
    assert len(set(chosen.tolist())) == len(chosen)
    for person in set(people):
        own = [at for at in chosen.tolist() if people[at] == person]
        assert len(own) == min(each, people.count(person))
        assert own[0] == people.index(person)


def test_scores_are_those_of_plain_loops():
    rng = np.random.default_rng(0)
    faces, voices = rng.standard_normal((7, 3)), rng.standard_normal((5, 3))
    who, whose = np.array([0, 0, 1, 2, 2, 3, 4]), np.array([0, 1, 2, 2, 9])
    seen = cross_modal_scores(faces.astype("f4"), who, voices.astype("f4"), whose)

    def precision(queries, gallery, asked, answers):
        values = [
            average_precision(gallery @ query, answers == label)
            for query, label in zip(queries, asked, strict=True)
            if label in answers
        ]
        return sum(values) / len(values)

    voice_to_face = precision(voices, faces, whose, who)
    face_to_voice = precision(faces, voices, who, whose)
    assert seen["voice_to_face_map"] == pytest.approx(voice_to_face)
    assert seen["face_to_voice_map"] == pytest.approx(face_to_voice)
    assert seen["score"] == pytest.approx((voice_to_face + face_to_voice) / 2)
    right = [(v @ f, a == b) for v, a in zip(voices, whose) for f, b in zip(faces, who)]  # noqa: B905
    pairs = [p > n for p, same in right if same for n, other in right if not other]
    assert seen["auc"] == pytest.approx(sum(pairs) / len(pairs))


def test_nothing_shared_gives_no_number():
    vectors = np.eye(2, dtype=np.float32)
    scores = cross_modal_scores(vectors, np.array([0, 1]), vectors, np.array([2, 3]))
    assert np.isnan(scores["score"])


class Random(nn.Module):
    """Answers at random in training, and as the inputs are otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.sizes: list[int] = []

    def embed_face(self, inputs):
        self.sizes.append(len(inputs))
        return self.drop(inputs[:, :5])

    embed_voice = embed_face


def test_validating_twice_gives_the_same_scores_and_draws_nothing():
    model = Random().train()
    validation = Validation(model, paired_set(20, 6), torch.device("cpu"), each=5)
    before = torch.get_rng_state()
    assert validation() == validation()
    assert torch.equal(torch.get_rng_state(), before)
    assert sum(model.sizes) == 2 * (100 + 100)
    assert max(model.sizes) <= 64


def test_private_attributes_are_given_to_a_model_that_takes_them():
    side = paired_set(people=3, each=2).faces
    private = np.arange(6, dtype=np.float32)[:, None]
    known = dataclasses.replace(side, private=private)

    def with_private(inputs, private=None):
        return inputs[:, :1] * 0 if private is None else private

    def without(inputs):
        return inputs

    device = torch.device("cpu")
    assert forward(with_private, known, device).ravel().tolist() == [0, 1, 2, 3, 4, 5]
    assert forward(with_private, side, device).ravel().tolist() == [0] * 6
    np.testing.assert_array_equal(forward(without, known, device), side.source.values)
