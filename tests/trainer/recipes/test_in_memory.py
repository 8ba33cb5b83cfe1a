from __future__ import annotations

import collections

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.recipes.in_memory import BatchMaker, PeopleSampler, Side, TrainingSet, to_batch
from trainer.recipes.phases import thin


def numbered(counts: list[int], labels: list[int]) -> Side[int]:
    """Persons 10, 11, ... with so many items each, whose content is their number; mixed up."""
    people = np.repeat(np.arange(10, 10 + len(counts)), counts)
    people = np.random.default_rng(0).permutation(people)
    return Side(list(range(len(people))), people, np.array(labels)[people - 10])


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    """Six people with three faces, four others with two voices of different lengths."""
    rng = np.random.default_rng(1)
    faces = [rng.integers(0, 256, (144, 144, 3), dtype=np.uint8) for _ in range(18)]
    voices = [rng.integers(-9000, 9000, n).astype(np.int16) for n in [900, 4000, 9000, 20_000] * 2]
    return TrainingSet(
        Side(faces, np.arange(18) // 3, np.arange(18) // 3 % 2),
        Side(voices, 100 + np.arange(8) % 4, np.arange(8) % 2),
    )


def maker(data: TrainingSet, seed: int = 0) -> BatchMaker:
    return BatchMaker(data, face_people=4, voice_people=2, each=2, seed=seed)


# Sides.


def test_taking_keeps_items_people_and_labels_together():
    side = numbered([3, 2, 4], [0, 1, 0])
    part = side.take(np.array([7, 0, 7]))
    assert part.items == [7, 0, 7]
    for item, person, label in zip(part.items, part.people, part.labels, strict=True):
        assert person == side.people[item]
        assert label == side.labels[item]


@given(chosen=st.sets(st.integers(8, 16)))
def test_the_part_of_some_people_is_all_of_theirs_and_nothing_else(chosen):
    side = numbered([3, 2, 4, 1], [0, 1, 0, 1])
    part = side.of_people(chosen)
    assert part.items == [i for i, person in enumerate(side.people) if person in chosen]
    assert part.people.tolist() == [side.people[i] for i in part.items]
    assert part.labels.tolist() == [side.labels[i] for i in part.items]


def test_a_set_is_parted_on_both_sides(data):
    part = data.of_people({0, 2, 101})
    assert set(part.faces.people.tolist()) == {0, 2}
    assert set(part.voices.people.tolist()) == {101}
    assert len(part.faces.items) == 6
    assert part.voices.items[0] is data.voices.items[1]


# The sampler.


@given(
    counts=st.lists(st.integers(1, 5), min_size=2, max_size=8),
    asked=st.integers(1, 20),
    each=st.integers(1, 4),
    seed=st.integers(0, 999),
)
def test_a_draw_is_balanced_and_repeats_only_where_there_are_fewer(counts, asked, each, seed):
    side = numbered(counts, [number % 2 for number in range(len(counts))])
    drawn = PeopleSampler(side, each, np.random.default_rng(seed)).draw(asked)
    assert drawn.shape == (asked * each,)
    labels = collections.Counter()
    for group in drawn.reshape(asked, each):
        (person,) = set(side.people[group].tolist())  # those of one person lie together
        labels[person % 2] += 1
        assert len(set(group.tolist())) == each or counts[person - 10] < each
    assert abs(labels[0] - labels[1]) <= 1


def test_labels_are_equally_frequent_and_people_by_the_root_of_their_items():
    # One label has a sixth of the people; one of its people has most of the items.
    counts = [36, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    side = numbered(counts, [0, 0, *[1] * 10])
    sampler = PeopleSampler(side, 1, np.random.default_rng(0))
    drawn = np.concatenate([sampler.draw(10) for _ in range(400)])
    people = collections.Counter(side.people[drawn].tolist())
    for of_label in (range(10, 12), range(12, 22)):
        roots = {person: counts[person - 10] ** 0.5 for person in of_label}
        for person, root in roots.items():
            wanted = 2000 * root / sum(roots.values())
            assert people[person] == pytest.approx(wanted, abs=5 * wanted**0.5)
    items = collections.Counter(i for i in drawn.tolist() if side.people[i] == 10)
    assert len(items) == 36


def test_the_order_of_the_labels_in_a_draw_is_random():
    side = numbered([2, 2, 2, 2], [0, 1, 0, 1])
    sampler = PeopleSampler(side, 1, np.random.default_rng(0))
    orders = {tuple(side.labels[sampler.draw(4)].tolist()) for _ in range(200)}
    assert len(orders) == 6  # all of two zeros and two ones


# Batches.


def test_a_batch_is_what_a_model_takes(data):
    batch = maker(data).make(32, 0.25)
    assert batch.faces.inputs.shape == (8, 3, 32, 32)
    assert batch.faces.inputs.dtype == torch.uint8
    assert batch.voices.inputs.shape == (4, 4000)
    assert batch.voices.inputs.dtype == torch.float32
    assert batch.voices.inputs.isfinite().all()
    for side, size in ((batch.faces, 8), (batch.voices, 4)):
        for values in (side.labels, side.people, side.genders, side.nationalities):
            assert values.shape == (size,)
            assert values.dtype == torch.int64
    assert sorted(batch.faces.labels.tolist()) == [0] * 4 + [1] * 4
    assert torch.equal(batch.faces.people % 2, batch.faces.labels)
    assert torch.equal(batch.voices.people % 2, batch.voices.labels)
    assert set(batch.voices.people.tolist()) <= {100, 101, 102, 103}


def test_seeds_decide_the_batches(data):
    one, again, other = maker(data), maker(data), maker(data, seed=1)
    for size in (16, 24):
        first, second, third = (each.make(size, 0.1) for each in (one, again, other))
        for side, same in ((first.faces, second.faces), (first.voices, second.voices)):
            assert torch.equal(side.inputs, same.inputs)
            assert torch.equal(side.labels, same.labels)
            assert torch.equal(side.people, same.people)
        assert not torch.equal(first.faces.inputs, third.faces.inputs)


def test_one_batch_is_not_the_next(data):
    batches = maker(data)
    first, second = batches.make(16, 0.1), batches.make(16, 0.1)
    assert not torch.equal(first.faces.inputs, second.faces.inputs)
    assert not torch.equal(first.voices.inputs, second.voices.inputs)


def test_making_batches_changes_no_data(data):
    faces = [item.copy() for item in data.faces.items]
    voices = [item.copy() for item in data.voices.items]
    for _ in range(3):
        maker(data).make(32, 0.25)
    for before, after in zip(faces + voices, [*data.faces.items, *data.voices.items], strict=True):
        np.testing.assert_array_equal(after, before)


def test_to_batch_keeps_items_with_their_labels():
    faces = Side(
        [np.full((2, 2, 3), v, np.uint8) for v in (5, 6)], np.array([3, 4]), np.array([0, 1])
    )
    voices = Side([np.full(3, 7, np.int16)], np.array([9]), np.array([1]))
    batch = to_batch(faces, voices, lambda f: f.transpose(2, 0, 1), lambda v: v.astype(np.float32))
    assert batch.faces.inputs[:, 0, 0, 0].tolist() == [5, 6]
    assert batch.voices.inputs.tolist() == [[7, 7, 7]]
    assert (batch.faces.people.tolist(), batch.faces.labels.tolist()) == ([3, 4], [0, 1])
    assert (batch.voices.people.tolist(), batch.voices.labels.tolist()) == ([9], [1])


# Thinned sides, for validation.


@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=9),
    each=st.integers(1, 4),
    people=st.integers(1, 12),
)
def test_thinning_leaves_the_first_items_of_some_people(counts, each, people):
    side = numbered(counts, [0] * len(counts))
    part = thin(side, each, people)
    kept = sorted(set(part.people.tolist()))
    assert len(kept) == min(people, len(counts))
    for person in kept:
        own = [i for i, its in enumerate(side.people) if its == person]
        found = [i for i, its in zip(part.items, part.people, strict=True) if its == person]
        assert found == own[:each]
