from __future__ import annotations

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality import trial_lists
from benchmarks.quality.held_out import Person
from trainer.protocols.text_lists import read_list
from trainer.protocols.voxceleb_people import read_people


def named(counts, ending="wav"):
    """So many media of each person."""
    return {
        f"p{who}": [f"p{who}/{at}.{ending}" for at in range(count)]
        for who, count in enumerate(counts)
    }


def person(name):
    return name.partition("/")[0]


COUNTS = st.lists(st.integers(1, 5), min_size=2, max_size=6)
SEEDS = st.integers(0, 5)


@given(COUNTS, COUNTS)
def test_everything_that_asks_meets_everything_that_answers(asking, answering):
    found = trial_lists.crossed(named(asking, "1.wav"), named(answering, "2.wav"))
    assert len(found) == len(set(found)) == sum(asking) * sum(answering)
    assert {one for one, _ in found} == {
        each for own in named(asking, "1.wav").values() for each in own
    }


@given(COUNTS, SEEDS, st.integers(1, 4))
def test_there_are_as_many_pairs_of_two_people_as_of_one(counts, seed, most):
    media = named(counts)
    found = trial_lists.as_many_of_two(media, most, seed)
    same = [pair for pair in found if person(pair[0]) == person(pair[1])]
    assert 2 * len(same) == len(found)
    assert len(set(same)) == len(same)
    assert all(one != other for one, other in found)
    of_each = collections.Counter(person(one) for one, _ in same)
    assert of_each == {
        f"p{who}": min(most, count * (count - 1) // 2)
        for who, count in enumerate(counts)
        if count > 1
    }
    assert found == trial_lists.as_many_of_two(media, most, seed)


@settings(max_examples=20)
@given(COUNTS, SEEDS)
def test_everybody_asks_as_often_and_everybody_else_answers_wrongly_as_often(counts, seed):
    voices, faces = named(counts), named(counts, "jpg")
    found = trial_lists.one_of_two(voices, faces, seed)
    wrong = {who: collections.Counter() for who in voices}
    for asking, right, other in found:
        assert asking.endswith(".wav")
        assert right.endswith(".jpg")
        assert other.endswith(".jpg")
        assert person(asking) == person(right) != person(other)
        wrong[person(asking)][person(other)] += 1
    for who, counted in wrong.items():
        assert counted.keys() == voices.keys() - {who}
        assert counted.total() == trial_lists.QUESTIONS
        assert max(counted.values()) - min(counted.values()) <= 1
    assert found == trial_lists.one_of_two(voices, faces, seed)


def test_who_has_only_a_voice_is_not_asked_about_and_one_person_asks_nothing():
    voices, faces = named([1, 1, 1]), named([1, 1], "jpg")
    found = trial_lists.one_of_two(voices, faces, 0)
    assert {person(name) for trial in found for name in trial} == {"p0", "p1"}
    assert trial_lists.one_of_two(voices, named([1], "jpg"), 0) == []


@given(COUNTS, SEEDS, st.integers(1, 3))
def test_who_asks_and_who_answers_share_no_recording(counts, seed, each):
    media = named(counts)
    asking, answering = trial_lists.split_evenly(media, each, seed)
    for who, own in media.items():
        assert len(asking[who]) == len(answering[who]) == min(each, len(own) // 2)
        assert not set(asking[who]) & set(answering[who])
        assert set(asking[who]) | set(answering[who]) <= set(own)
    assert trial_lists.split_evenly(media, each, seed) == (asking, answering)


def test_one_person_gives_no_pairs_of_two():
    assert trial_lists.as_many_of_two(named([3]), 2, 0) == []


def test_the_seed_decides_what_is_drawn():
    media = named([5, 5, 5])
    made = [
        (trial_lists.as_many_of_two(media, 3, seed), trial_lists.split_evenly(media, 2, seed))
        for seed in (0, 1)
    ]
    assert made[0][0] != made[1][0]
    assert made[0][1] != made[1][1]


@pytest.mark.parametrize("nationality", ["", "Poland"])
def test_lists_are_read_as_published_ones_are(tmp_path, nationality):
    people = [Person(f"p{at}", "nemo", "fm"[at % 2], nationality, ()) for at in range(3)]
    table = trial_lists.write_people(tmp_path / "people.tsv", people)
    known = read_people([table])
    assert [(who.name, who.gender, who.nationality) for who in known] == [
        ("p0", "f", nationality),
        ("p1", "m", nationality),
        ("p2", "f", nationality),
    ]
    pairs = trial_lists.crossed(named([1, 2, 1]), named([1, 1, 1], "2.wav"))
    found = read_list(trial_lists.write_list(tmp_path / "lists" / "pairs.txt", pairs), known)
    assert len(found.same) == 12
    assert found.same.sum() == 4
    questions = trial_lists.one_of_two(named([1, 2]), named([1, 1], "jpg"), 0)
    found = read_list(trial_lists.write_list(tmp_path / "match.txt", questions), known)
    assert (found.truth == 0).all()
