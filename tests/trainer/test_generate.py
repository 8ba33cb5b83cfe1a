from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import BadRequest
from trainer.protocols.generate import STRATA, Generator
from trainer.protocols.trials import Register

ATTRIBUTES = {
    f"p{number}": {
        "gender": "fm"[number % 2],
        "nationality": "" if number == 0 else "abc"[number % 3],
    }
    for number in range(24)
}


def world(people=24, voices=2, faces=3, *, videos=False):
    register = Register()
    for person in range(people):
        for take in range(voices):
            video = f"p{person}v{take}" if videos else ""
            register.add(f"p{person}/{take}.wav", "voice", f"p{person}", video)
        for take in range(faces):
            video = f"p{person}v{take}" if videos else ""
            register.add(f"p{person}/{take}.jpg", "face", f"p{person}", video)
    return register.items()


SIDES = st.sampled_from(["face", "voice"])


@settings(max_examples=40, deadline=None)
@given(
    SIDES,
    SIDES,
    st.sampled_from(sorted(STRATA)),
    st.integers(2, 4),
    st.booleans(),
    st.integers(0, 9),
)
def test_a_matching_has_one_right_answer_and_alike_wrong_ones(
    probe, answer, stratum, choices, videos, seed
):
    items = world(videos=videos)
    trials = Generator(items, probe, answer, ATTRIBUTES, stratum, seed).matching(choices)
    same = items.same_person(trials.probes[:, None], trials.candidates)
    assert same.sum(1).tolist() == [1] * len(trials.probes)
    assert (same.argmax(1) == trials.truth).all()
    assert not (trials.probes[:, None] == trials.candidates).any()
    assert not items.same_video(trials.probes[:, None], trials.candidates).any()
    for asked, row in zip(trials.probes, trials.candidates, strict=True):
        people = [items.names[who] for who in items.people[row]]
        assert len(set(people)) == choices
        for key in STRATA[stratum]:
            values = {ATTRIBUTES[name][key] for name in people}
            assert values == {ATTRIBUTES[items.names[items.people[asked]]][key]} - {""}


def test_every_item_that_can_asks_once():
    items = world()
    trials = Generator(items, "voice", "face", ATTRIBUTES).matching(2)
    assert len(set(trials.probes.tolist())) == len(trials.probes) == 48
    known = Generator(items, "voice", "face", ATTRIBUTES, "N").matching(2)
    assert "p0" not in {items.names[items.people[at]] for at in known.probes}


def test_the_right_place_is_drawn_evenly():
    trials = Generator(world(voices=50), "voice", "face").matching(4)
    shares = np.bincount(trials.truth, minlength=4) / len(trials.truth)
    assert shares == pytest.approx([0.25] * 4, abs=0.05)


def test_seeds_decide_the_trials():
    items = world()
    one, again, other = (
        Generator(items, "face", "voice", seed=seed).matching(3) for seed in (0, 0, 1)
    )
    assert (one.candidates == again.candidates).all()
    assert not (one.candidates == other.candidates).all()


def test_verification_is_balanced():
    trials = Generator(world(), "voice", "face", ATTRIBUTES, "G").verification()
    assert trials.same.mean() == 0.5
    assert (trials.same == trials.items.same_person(trials.first, trials.second)).all()
    assert trials.name == "verification V-F G"


def test_retrieval_asks_everything():
    trials = Generator(world(4), "face", "voice").retrieval()
    assert (len(trials.queries), len(trials.gallery)) == (12, 8)


@pytest.mark.parametrize(
    ("items", "stratum", "choices"),
    [(world(3), "U", 4), (world(24), "GN", 5), (world(24, faces=0), "U", 2), (world(1), "U", 2)],
)
def test_too_few_people_are_said(items, stratum, choices):
    with pytest.raises(BadRequest, match=rf"1:{choices} matching V-F within {stratum} needs"):
        Generator(items, "voice", "face", ATTRIBUTES, stratum).matching(choices)


def test_retrieval_without_a_side_is_said():
    with pytest.raises(BadRequest, match="needs a voice and a face"):
        Generator(world(3, faces=0), "voice", "face").retrieval()
