from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsearch.models.layers.tuples import draw_both_ways, draw_tuples

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=9)


@settings(max_examples=100)
@given(asking=LABELS, answering=LABELS, k=st.integers(2, 6))
def test_each_anchor_that_can_ask_asks_once_and_its_match_comes_first(asking, answering, k):
    drawn = draw_tuples(torch.tensor(asking), torch.tensor(answering), k)
    can_ask = [
        row
        for row, label in enumerate(asking)
        if label in answering and any(other != label for other in answering)
    ]
    assert drawn.anchors.tolist() == can_ask
    assert drawn.candidates.shape == (len(can_ask), k)
    for row, (match, *others) in zip(can_ask, drawn.candidates.tolist(), strict=True):
        assert answering[match] == asking[row]
        assert all(answering[other] != asking[row] for other in others)


def test_others_of_a_tuple_differ_where_there_are_enough():
    labels = torch.arange(10)
    drawn = draw_tuples(labels, labels, 10)
    assert all(sorted(row) == list(range(10)) for row in drawn.candidates.tolist())


def test_every_candidate_is_drawn_sooner_or_later():
    torch.manual_seed(0)
    answering = torch.tensor([0, 0, 1, 1, 2])
    seen = [draw_tuples(torch.tensor([0]), answering, 2).candidates[0] for _ in range(100)]
    firsts, others = torch.stack(seen).T
    assert set(firsts.tolist()) == {0, 1}
    assert set(others.tolist()) == {2, 3, 4}


@pytest.mark.parametrize(
    ("asking", "answering"), [([0, 1], [2, 3]), ([0, 0], [0, 0]), ([0], [0]), ([0], [1])]
)
def test_there_may_be_no_tuple(asking, answering):
    drawn = draw_both_ways(torch.tensor(answering), torch.tensor(asking), 3)
    anchors, candidates = drawn.of(torch.zeros(len(answering), 5), torch.zeros(len(asking), 5))
    assert anchors.shape == (0, 5)
    assert candidates.shape == (0, 3, 5)


def test_tuples_of_embeddings_are_voices_that_ask_then_faces_that_ask():
    faces, voices = torch.arange(4.0)[:, None], 10 + torch.arange(3.0)[:, None]
    face_labels, voice_labels = torch.tensor([0, 0, 1, 2]), torch.tensor([2, 0, 1])
    drawn = draw_both_ways(face_labels, voice_labels, 2)
    anchors, candidates = drawn.of(faces, voices)
    assert anchors.squeeze(1).tolist() == [10, 11, 12, 0, 1, 2, 3]
    assert candidates[:, 0, 0].tolist()[3:] == [11, 11, 12, 10]
    assert candidates[0, 0].item() == 3
    assert (candidates[:3] < 4).all()


def test_the_same_seed_draws_the_same_tuples():
    labels = torch.arange(20) // 4
    with torch.random.fork_rng():
        drawn = []
        for _ in range(2):
            torch.manual_seed(5)
            drawn.append(draw_tuples(labels, labels, 4).candidates)
    assert torch.equal(*drawn)
