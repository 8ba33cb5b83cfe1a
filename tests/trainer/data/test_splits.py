from __future__ import annotations

import collections
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import BadRequest
from tests.helpers.sides import numbered_set, with_genders
from trainer.data.splits import (
    SPLITS,
    read_split,
    require_disjoint,
    split,
    split_by_letter,
    split_of,
    split_people,
)

NAMES = st.lists(st.text(max_size=8), max_size=40)
CROWD = [f"gallery/person {number}" for number in range(4000)]


@given(people=NAMES, left_out=NAMES)
def test_everybody_is_on_one_side(people, left_out):
    sides = split_people(people, left_out)
    assert tuple(sides) == SPLITS
    placed = [person for side in sides.values() for person in side]
    assert len(placed) == len(set(placed))
    assert set(placed) == set(people)


@given(people=NAMES, more=NAMES)
def test_adding_people_moves_nobody(people, more):
    before, after = split_people(people), split_people([*more, *people])
    for side in SPLITS:
        assert set(before[side]) <= set(after[side])


@given(people=NAMES, seed=st.randoms())
def test_the_order_and_the_number_of_their_files_do_not_matter(people, seed):
    shuffled = [*people, *people]
    seed.shuffle(shuffled)
    assert split_people(shuffled) == split_people(people)


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


# Splits of a data set.


def everybody(people: int = 60):
    return numbered_set([*range(people)] * 2, [*range(people)])


def written(folder: Path, text: str) -> Path:
    (folder / "split.txt").write_text(text)
    return folder / "split.txt"


@pytest.mark.parametrize("how", ["hash", "hash:0.3,0.3", "last:10,20"])
def test_a_split_parts_a_set_and_labels_each_side_from_nought(how):
    data = everybody()
    parts = split(data, how)
    assert tuple(parts) == SPLITS
    people = [number for part in parts.values() for number in part.people.tolist()]
    assert sorted(people) == [*range(60)]
    assert sum(len(part.faces) for part in parts.values()) == 120
    for part in parts.values():
        assert sorted(set(part.faces.labels.tolist())) == [*range(part.classes)]
        assert part.shared == "person"


def test_the_last_people_by_name_test_and_those_before_validate():
    parts = split(everybody(), "last:10,20")
    assert parts["train"].people.tolist() == [*range(30)]
    assert parts["validation"].people.tolist() == [*range(30, 40)]
    assert parts["test"].people.tolist() == [*range(40, 60)]


def test_a_file_says_who_stands_where(tmp_path):
    sides = ["1", "train", "2", "val", "4", "test"]
    lines = ["person,split", *(f"person {n:03d},{sides[n % 6]}" for n in range(60))]
    parts = split(everybody(), str(written(tmp_path, "\n".join(lines))))
    assert {n % 6 for n in parts["train"].people.tolist()} == {0, 1}
    assert {n % 6 for n in parts["validation"].people.tolist()} == {2, 3}
    assert {n % 6 for n in parts["test"].people.tolist()} == {4, 5}


def test_labels_are_genders_where_few_people_have_both():
    data = with_genders(numbered_set([*range(60)], [*range(55, 90)]), np.arange(90) % 2)
    parts = split(data, "hash:0.3,0.3")
    for part in parts.values():
        assert part.shared == "gender"
        assert part.voices.labels.tolist() == part.voices.genders.tolist()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ann 1\nbob 9\n", "line 2: 'bob 9' is not a name and a split"),
        ("ann\n", "line 1: 'ann' is not a name and a split"),
        ("ann 1\nann 4\n", "line 2: ann is in the train split already"),
        ("ann 1\n", "does not name person 000 and 59 others"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_line(tmp_path, text, reason):
    with pytest.raises(BadRequest, match=reason):
        split(everybody(), str(written(tmp_path, text)))


def test_a_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "split.txt.gz"
    path.write_bytes(gzip.compress(b"ann 1\n" * 500)[:-12])
    with pytest.raises(BadRequest, match=r"split.txt.gz cannot be read .*cut short"):
        read_split(path)


@pytest.mark.parametrize(
    "how", ["", "letter", "letters:a", "last:3", "last:a,b", "hash:-1,0", "no.txt"]
)
def test_a_way_that_is_none_is_refused(how):
    with pytest.raises(BadRequest, match=r"way to split|negative number"):
        split(everybody(), how)


def test_a_side_that_cannot_be_trained_on_is_refused():
    with pytest.raises(
        BadRequest, match=r"The validation side of the split 'last:0,3': .* no face"
    ):
        split(everybody(), "last:0,3")
    with pytest.raises(BadRequest, match=r"The validation side .* one person, person 056"):
        split(everybody(), "last:1,3")


def test_a_person_in_two_parts_is_found():
    data = everybody()
    parts = {"train": data.of_people({1, 2}), "validation": data.of_people({2, 3})}
    with pytest.raises(BadRequest, match="person 002 is in the train set and in the validation"):
        require_disjoint(parts)


def test_letters_are_those_of_the_name_without_its_gallery():
    names = {"A.J._Buckley": 1, "vox/Bob": 1, "Cid": 2, "eve": 2, "Fay": 0, "Zoe": 0, "": 0}
    for name, side in names.items():
        assert split_by_letter(name) == SPLITS[side]


# The published lists.


def published(folder: Path, name: str) -> Path:
    return folder / "lists" / name


def test_the_split_of_pins_has_the_published_numbers(test_data):
    sides = read_split(published(test_data, "cmpc/Splits/identity_splits.txt.gz"))
    assert collections.Counter(sides.values()) == {"train": 901, "validation": 100, "test": 250}
    assert sides["A.J._Buckley"] == "train"
    assert sides["A.R._Rahman"] == "test"


@pytest.mark.parametrize(
    ("side", "file", "people"),
    [("train", "train", 924), ("validation", "val", 112), ("test", "test", 189)],
)
def test_the_split_by_letter_is_that_of_the_published_tables(test_data, side, file, people):
    rows = gzip.decompress(published(test_data, f"wen/vox1_{file}.csv.gz").read_bytes())
    names = [row.split(",")[1] for row in rows.decode().splitlines()[1:]]
    assert {split_by_letter(name) for name in names} == {side}
    assert len(names) >= people
