from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import BadRequest
from trainer.protocols.generate import ANSWERS, STRATA, Generator, by_attribute, known_values
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


@settings(max_examples=40)
@given(
    SIDES,
    SIDES,
    st.sampled_from(["U", "G", "N", "GN"]),
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
    with pytest.raises(BadRequest, match="retrieval V-F needs a voice and a face of one person"):
        Generator(world(3, faces=0), "voice", "face").retrieval()


# By attribute.


@pytest.mark.parametrize("answer", ["gender", "nationality", "both"])
@pytest.mark.parametrize("way", [("voice", "face"), ("face", "face")])
def test_verification_by_attribute_pairs_two_people_who_share_it_or_do_not(answer, way):
    items = world()
    trials = Generator(items, *way, ATTRIBUTES).verification_by(answer)
    assert trials.same.mean() == 0.5
    for first, second, same in zip(trials.first, trials.second, trials.same, strict=True):
        one, other = (items.names[items.people[at]] for at in (first, second))
        assert one != other
        values = [[ATTRIBUTES[name][key] for key in ANSWERS[answer]] for name in (one, other)]
        assert all(all(each) for each in values)
        assert (values[0] == values[1]) == same


def test_verification_by_gender_within_nationality_tells_nothing_by_nationality():
    items = world()
    trials = Generator(items, "voice", "face", ATTRIBUTES, "N").verification_by("gender")
    for first, second in zip(trials.first, trials.second, strict=True):
        one, other = (ATTRIBUTES[items.names[items.people[at]]] for at in (first, second))
        assert one["nationality"] == other["nationality"] != ""


def test_retrieval_by_nationality_asks_for_everybody_of_it_and_leaves_out_the_unknown():
    items = world()
    trials = by_attribute(Generator(items, "voice", "face").retrieval(), ATTRIBUTES, "nationality")
    assert trials.name == "retrieval V-F U by nationality"
    asked = {items.names[items.people[at]] for at in np.r_[trials.queries, trials.gallery]}
    assert asked == {name for name, own in ATTRIBUTES.items() if own["nationality"]}
    for query in trials.queries[::7]:
        nation = ATTRIBUTES[items.names[items.people[query]]]["nationality"]
        for answer in trials.gallery:
            other = ATTRIBUTES[items.names[items.people[answer]]]["nationality"]
            assert (trials.shared[query] == trials.shared[answer]) == (nation == other)


def test_published_pairs_can_be_asked_by_gender():
    pairs = Generator(world(), "voice", "face", ATTRIBUTES).verification()
    asked = by_attribute(pairs, ATTRIBUTES, "gender")
    assert asked.same[pairs.same].all()
    assert not asked.same.all()


def test_an_attribute_that_nobody_has_is_said():
    generator = Generator(world(), "voice", "face")
    with pytest.raises(BadRequest, match="by gender needs people who share it"):
        generator.verification_by("gender")
    for protocol in (generator.retrieval(), generator.verification()):
        with pytest.raises(BadRequest, match="nobody's gender is known"):
            by_attribute(protocol, {}, "gender")


@pytest.mark.parametrize(
    ("age", "band"), [("34", "30-39"), ("9", "0-9"), ("40-50", "40-50"), ("old", "old")]
)
def test_ages_in_years_are_taken_by_decade(age, band):
    assert known_values({"age": age}, ("age",)) == (band,)


def test_somebody_of_unknown_age_is_in_no_band():
    assert known_values({"gender": "f"}, ("gender", "age")) is None


def test_within_an_age_wrong_answers_are_of_the_askers_decade():
    ages = {f"p{number}": {"age": str(20 + number)} for number in range(24)}
    items = world()
    trials = Generator(items, "voice", "face", ages, "A").matching(3)
    for row in np.c_[trials.probes, trials.candidates]:
        decades = {int(ages[items.names[who]]["age"]) // 10 for who in items.people[row]}
        assert len(decades) == 1


def test_only_those_among_whom_is_asked_take_part():
    items = world()
    some = frozenset(f"p{number}" for number in range(8))
    generator = Generator(items, "voice", "face", among=some, who="seen-heard")
    for trials in (generator.matching(2), generator.retrieval()):
        assert trials.name.endswith("V-F U seen-heard")
    used = np.unique(np.r_[generator.matching(2).candidates.ravel(), generator.retrieval().gallery])
    assert {items.names[who] for who in items.people[used]} == some
