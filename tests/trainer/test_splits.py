from __future__ import annotations

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.splits import SPLITS, split_of, split_people

NAMES = st.lists(st.text(max_size=8), max_size=40)
CROWD = [f"gallery/person {number}" for number in range(4000)]


@settings(deadline=None)
@given(people=NAMES, left_out=NAMES)
def test_everybody_is_on_one_side(people, left_out):
    sides = split_people(people, left_out)
    assert tuple(sides) == SPLITS
    placed = [person for side in sides.values() for person in side]
    assert len(placed) == len(set(placed))
    assert set(placed) == set(people)


@settings(deadline=None)
@given(people=NAMES, more=NAMES)
def test_adding_people_moves_nobody(people, more):
    before, after = split_people(people), split_people([*more, *people])
    for side in SPLITS:
        assert set(before[side]) <= set(after[side])


@settings(deadline=None)
@given(people=NAMES, seed=st.randoms())
def test_the_order_and_the_number_of_their_files_do_not_matter(people, seed):
    shuffled = [*people, *people]
    seed.shuffle(shuffled)
    assert split_people(shuffled) == split_people(people)


@settings(deadline=None)
@given(people=NAMES, left_out=NAMES)
def test_those_left_out_are_tested_and_the_others_stay(people, left_out):
    sides, plain = split_people(people, left_out), split_people(people)
    assert set(people) & set(left_out) <= set(sides["test"])
    assert set(sides["test"]) == set(plain["test"]) | (set(people) & set(left_out))


def test_the_sides_never_change():
    # Written down: a checkpoint's test people must stay its test people.
    sides = split_people(f"ravdess/Actor_{number:02d}" for number in range(1, 25))
    assert sides["validation"] == ["ravdess/Actor_04"]
    assert sides["test"] == ["ravdess/Actor_06", "ravdess/Actor_13", "ravdess/Actor_19"]
    assert len(sides["train"]) == 20


def test_shares_are_of_the_people():
    counts = collections.Counter(split_of(person) for person in CROWD)
    assert counts["test"] == pytest.approx(400, abs=60)
    assert counts["validation"] == pytest.approx(400, abs=60)
    counts = collections.Counter(split_of(p, validation=0.25, test=0.5) for p in CROWD)
    assert counts["test"] == pytest.approx(2000, abs=100)
    assert counts["validation"] == pytest.approx(1000, abs=90)


def test_shares_of_nought_and_one():
    assert {split_of(p, validation=0, test=0) for p in CROWD} == {"train"}
    assert {split_of(p, validation=0, test=1) for p in CROWD} == {"test"}
    assert {split_of(p, validation=1, test=0) for p in CROWD} == {"validation"}


def test_a_larger_test_share_takes_nobody_out_of_it():
    small = {p for p in CROWD if split_of(p, test=0.1) == "test"}
    assert small < {p for p in CROWD if split_of(p, test=0.2) == "test"}
