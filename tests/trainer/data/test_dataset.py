from __future__ import annotations

import collections
import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import BadRequest
from tests.helpers.sides import numbered_set, numbered_side, with_genders
from trainer.data.dataset import (
    BatchMaker,
    DataSet,
    draw_balanced,
    draw_distinct,
    labelled_by_gender,
    labelled_by_person,
)
from trainer.data.sources import (
    AugmentedFeatures,
    FaceSource,
    FeatureSource,
    VoiceSource,
    decoded,
    with_input_sizes,
)

COUNTS = st.lists(st.integers(1, 5), min_size=1, max_size=8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def both(people: int = 6, each: int = 3) -> DataSet:
    return labelled_by_person(numbered_set([*range(people)] * each, [*range(people)] * each))


# Sides and sets.


def test_taking_keeps_what_is_known_of_an_item_together():
    side = dataclasses.replace(
        numbered_side([4, 5, 4, 3]),
        private=np.arange(8, dtype=np.float32).reshape(4, 2),
        teacher_embeddings=np.arange(4, dtype=np.float32).reshape(4, 1),
    )
    part = side.take(np.array([3, 0, 3]))
    assert part.rows.tolist() == [3, 0, 3]
    assert part.people.tolist() == [3, 4, 3]
    assert part.genders.tolist() == [1, 0, 1]
    assert part.nationalities.tolist() == [-1, 1, -1]
    assert part.private is not None
    assert part.private.tolist() == [[6, 7], [0, 1], [6, 7]]
    assert part.batch(np.arange(3)).teacher_embeddings.tolist() == [[3], [0], [3]]
    assert part.origins(np.array([1, 2])) == ["file0", "file3"]


@given(people=st.lists(st.integers(0, 6), min_size=1), chosen=st.sets(st.integers(0, 8)))
def test_the_part_of_some_people_is_all_of_theirs_and_nothing_else(people, chosen):
    data = numbered_set(people, people[::-1])
    part = data.of_people(chosen)
    assert part.faces.rows.tolist() == [i for i, who in enumerate(people) if who in chosen]
    assert part.voices.people.tolist() == [who for who in people[::-1] if who in chosen]
    assert part.names == data.names


def test_a_batch_side_is_what_a_model_takes():
    side = dataclasses.replace(numbered_side([4, 3, 4]), private=np.ones((3, 2), np.float32))
    taken = side.batch(np.array([2, 1]))
    assert taken.inputs.tolist() == [[2, 2, 2], [1, 1, 1]]
    assert (taken.inputs.dtype, taken.people.tolist()) == (torch.float32, [4, 3])
    for values in (taken.labels, taken.people, taken.genders, taken.nationalities):
        assert values.dtype == torch.int64
    assert taken.private is not None
    assert taken.private.shape == (2, 2)


@given(
    faces=st.lists(st.integers(0, 9), min_size=1), voices=st.lists(st.integers(0, 9), min_size=1)
)
def test_labels_by_person_have_no_gaps_and_are_the_same_on_both_sides(faces, voices):
    data = labelled_by_person(numbered_set(faces, voices))
    order = sorted({*faces, *voices})
    assert [order[label] for label in data.faces.labels] == faces
    assert [order[label] for label in data.voices.labels] == voices
    assert data.classes <= len(order) == len(data.people)
    assert data.paired.tolist() == sorted(set(faces) & set(voices))


def test_labels_by_gender_leave_out_those_whose_gender_is_not_known():
    data = with_genders(numbered_set([0, 1, 2], [1, 2]), np.array([-1, 0, 1]))
    labelled = labelled_by_gender(data)
    assert labelled.faces.people.tolist() == [1, 2]
    assert labelled.faces.labels.tolist() == labelled.voices.labels.tolist() == [0, 1]
    assert (labelled.shared, labelled.classes) == ("gender", 2)


# Drawing.


@given(counts=COUNTS, each=st.integers(1, 7), seed=st.integers(0, 999))
def test_a_place_comes_again_only_after_all_others(counts, each, seed):
    places = draw_distinct(np.array(counts), each, rng(seed))
    assert places.shape == (len(counts), each)
    for count, row in zip(counts, places.tolist(), strict=True):
        assert all(0 <= place < count for place in row)
        for start in range(0, each, count):
            assert len(set(row[start : start + count])) == len(row[start : start + count])


def test_every_order_of_places_is_equally_frequent():
    drawn = draw_distinct(np.full(24_000, 4), 2, rng())
    orders = collections.Counter(map(tuple, drawn.tolist()))
    assert len(orders) == 12
    for count in orders.values():
        assert count == pytest.approx(2000, abs=200)


@given(sizes=st.lists(st.integers(1, 9), max_size=4), count=st.integers(0, 30))
def test_groups_take_equal_parts_as_long_as_they_last(sizes, count):
    groups = [100 * at + np.arange(size) for at, size in enumerate(sizes)]
    drawn = draw_balanced(groups, count, rng()).tolist()
    assert len(drawn) == len(set(drawn)) == min(count, sum(sizes))
    taken = collections.Counter(one // 100 for one in drawn)
    most = max(taken.values(), default=0)
    for at, size in enumerate(sizes):
        assert taken[at] == size or taken[at] >= most - 1


# Batches.


def test_in_a_paired_batch_everybody_shows_both():
    batch = BatchMaker(both(), 4, 2, rng()).make()
    faces, voices = (side.people.reshape(4, 2) for side in (batch.faces, batch.voices))
    assert torch.equal(faces, voices)
    assert len(set(faces[:, 0].tolist())) == 4
    assert torch.equal(faces[:, 0], faces[:, 1])
    rows = batch.faces.inputs[:, 0].long()
    assert torch.equal(rows % 6, batch.faces.people)  # items lie with their people
    assert len(set(rows.tolist())) == 8


def test_everybody_and_everything_is_drawn_equally_often():
    maker = BatchMaker(both(people=5, each=2), 2, 1, rng())
    batches = [maker.make() for _ in range(800)]
    people = collections.Counter(int(p) for b in batches for p in b.faces.people)
    items = collections.Counter(int(i) for b in batches for i in b.voices.inputs[:, 0])
    assert set(people) == set(range(5))
    assert set(items) == set(range(10))
    assert min(people.values()) > 270
    assert min(items.values()) > 125


def test_people_with_one_modality_fill_half_of_a_batch():
    data = labelled_by_person(numbered_set([*range(10), *range(20, 50)], [*range(10), 60, 61]))
    batch = BatchMaker(data, 8, 1, rng()).make()
    paired = set(batch.faces.people.tolist()) & set(batch.voices.people.tolist())
    assert len(paired) == 4
    assert paired <= set(range(10))
    assert len(batch.faces) == 8
    assert {*batch.faces.people.tolist()} - paired <= set(range(20, 50))
    assert {*batch.voices.people.tolist()} - paired == {60, 61}  # all there are


def test_few_pairs_leave_their_places_to_others_and_few_others_to_pairs():
    few_pairs = labelled_by_person(numbered_set([0, *range(10, 30)], [0, *range(40, 60)]))
    batch = BatchMaker(few_pairs, 10, 1, rng()).make()
    assert (len(batch.faces), len(batch.voices)) == (10, 10)
    few_others = labelled_by_person(numbered_set([*range(10), 20], [*range(10)]))
    batch = BatchMaker(few_others, 8, 1, rng()).make()
    assert (len(batch.faces), len(batch.voices)) == (8, 7)


def test_genders_are_equally_frequent_where_they_are_the_labels():
    genders = np.array([0] * 3 + [1] * 40)
    data = labelled_by_gender(with_genders(numbered_set([*range(43)], [*range(43)]), genders))
    batch = BatchMaker(data, 6, 2, rng()).make()
    for side in (batch.faces, batch.voices):
        assert sorted(side.labels.tolist()) == [0] * 6 + [1] * 6
        assert len(set(side.people.tolist())) == 6


def gendered(counts: list[int], genders: list[int]) -> DataSet:
    """People with so many items each, in faces and voices alike."""
    people = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    data = with_genders(numbered_set(people.tolist(), people.tolist()), np.array(genders))
    return labelled_by_gender(data)


@given(
    counts=st.lists(st.integers(1, 5), min_size=2, max_size=8),
    people=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    each=st.integers(1, 4),
    seed=st.integers(0, 999),
)
def test_a_weighted_batch_is_balanced_and_repeats_items_only_where_there_are_fewer(
    counts, people, each, seed
):
    data = gendered(counts, [number % 2 for number in range(len(counts))])
    plan = BatchMaker(data, people, each, rng(seed), weighted=True).plan()
    for positions, side, count in zip(
        (plan.faces, plan.voices), (data.faces, data.voices), people, strict=True
    ):
        assert positions.shape == (count * each,)
        labels = collections.Counter()
        for own in positions.reshape(count, each):
            (person,) = set(side.people[own].tolist())  # the items of one person are neighbours
            labels[person % 2] += 1
            assert len(set(own.tolist())) == min(each, counts[person])
        assert abs(labels[0] - labels[1]) <= 1


def test_weighted_people_come_by_the_root_of_their_items_and_genders_equally_often():
    # One gender has a sixth of the people; one of its people has most of the items.
    counts = [36, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    data = gendered(counts, [0, 0, *[1] * 10])
    maker = BatchMaker(data, (10, 10), 1, rng(), weighted=True)
    drawn = np.concatenate([maker.plan().faces for _ in range(400)])
    people = collections.Counter(data.faces.people[drawn].tolist())
    for of_gender in (range(2), range(2, 12)):
        roots = {person: counts[person] ** 0.5 for person in of_gender}
        for person, root in roots.items():
            expected = 2000 * root / sum(roots.values())
            assert people[person] == pytest.approx(expected, abs=5 * expected**0.5)
    items = {at for at in drawn.tolist() if data.faces.people[at] == 0}
    assert len(items) == 36


def test_the_order_of_genders_in_a_weighted_batch_is_random():
    data = gendered([2, 2, 2, 2], [0, 1, 0, 1])
    maker = BatchMaker(data, (4, 4), 1, rng(), weighted=True)
    orders = {tuple(data.faces.labels[maker.plan().faces].tolist()) for _ in range(200)}
    assert len(orders) == 6  # all of two zeros and two ones


def test_the_generator_decides_the_batches_and_its_state_goes_on():
    one, again, other = (BatchMaker(both(), 3, 2, rng(seed)) for seed in (1, 1, 2))
    first = one.make()
    assert torch.equal(first.faces.inputs, again.make().faces.inputs)
    assert not torch.equal(first.faces.inputs, other.make().faces.inputs)
    state = json.loads(json.dumps(one.state()))
    follows = [one.make() for _ in range(3)]
    other.restore(state)
    for batch in follows:
        resumed = other.make()
        assert torch.equal(batch.faces.inputs, resumed.faces.inputs)
        assert torch.equal(batch.voices.inputs, resumed.voices.inputs)


def test_a_plan_gives_one_batch_however_late_it_is_filled():
    maker = BatchMaker(media_set(), 2, 1, rng())
    plans = [maker.plan() for _ in range(2)]
    late = [maker.fill(plan) for plan in plans[::-1]][::-1]
    maker = BatchMaker(media_set(), 2, 1, rng())
    for batch in late:
        made = maker.make()
        assert torch.equal(batch.faces.inputs, made.faces.inputs)
        assert torch.equal(batch.voices.inputs, made.voices.inputs)


def test_what_does_not_suffice_is_refused_with_a_reason():
    with pytest.raises(BadRequest, match="holds no voices"):
        BatchMaker(labelled_by_person(numbered_set([0, 1], [])), 2, 1, rng())
    with pytest.raises(BadRequest, match="one person, person 000"):
        BatchMaker(labelled_by_person(numbered_set([0], [0])), 1, 1, rng())
    with pytest.raises(BadRequest, match="7 people is larger than the training set of 6"):
        BatchMaker(both(), 7, 1, rng())
    BatchMaker(both(), 6, 1, rng()).make()


# Sources.


def media_set() -> DataSet:
    """Three people, each with one face and one voice of noise."""
    noise = rng()
    faces = [noise.integers(0, 256, (36, 36, 3), dtype=np.uint8) for _ in range(3)]
    voices = [noise.integers(-900, 900, n).astype(np.int16) for n in (400, 4000, 9000)]
    data = numbered_set([0, 1, 2], [0, 1, 2])
    paths = ["a", "b", "c"]
    return labelled_by_person(
        dataclasses.replace(
            data,
            faces=dataclasses.replace(data.faces, source=FaceSource(faces, paths, 32)),
            voices=dataclasses.replace(data.voices, source=VoiceSource(voices, paths, 0.25)),
        )
    )


def test_media_come_at_the_size_a_model_takes_and_vary_only_with_a_generator():
    data = media_set()
    rows = np.array([2, 0])
    for side, shape, kind in (
        (data.faces, (2, 3, 32, 32), torch.uint8),
        (data.voices, (2, 4000), torch.float32),
    ):
        plain, again = side.batch(rows).inputs, side.batch(rows).inputs
        assert (plain.shape, plain.dtype) == (shape, kind)
        assert torch.equal(plain, again)
        assert torch.equal(plain, side.batch(rows[::-1].copy()).inputs.flip(0))
        changed = side.batch(rows, rng(0)).inputs
        assert changed.shape == shape
        assert not torch.equal(plain, changed)
        assert torch.equal(changed, side.batch(rows, rng(0)).inputs)
        assert side.source.origin(1) == "b"
    assert data.voices.batch(rows).inputs.abs().max() <= 900 / 32768


def test_input_sizes_are_changed_for_media_only():
    data = with_input_sizes(media_set(), 16, 0.1)
    assert data.faces.batch(np.arange(3)).inputs.shape == (3, 3, 16, 16)
    assert data.voices.batch(np.arange(3)).inputs.shape == (3, 1600)
    features = both()
    assert with_input_sizes(features, 16, 0.1) == features


def test_media_are_augmented_by_the_change_of_their_source():
    data = media_set()
    source = dataclasses.replace(
        data.faces.source, change=lambda face, size, _: face[:size, :size].transpose(2, 0, 1)
    )
    cut = dataclasses.replace(data.faces, source=source).batch(np.array([1]), rng()).inputs
    (item,) = decoded(data.faces.take(np.array([1])))
    np.testing.assert_array_equal(cut[0].numpy(), item[:32, :32].transpose(2, 0, 1))


def test_a_batch_of_features_has_random_copies_of_its_items():
    copies = np.arange(3 * 4 * 2, dtype=np.float32).reshape(3, 4, 2)
    source = AugmentedFeatures(copies, ["a", "b", "c", "d"])
    rows = np.array([3, 1, 3])
    np.testing.assert_array_equal(source.gather(rows, None), copies[0, rows])
    seen = set()
    for seed in range(20):
        drawn = source.gather(rows, rng(seed))
        for row, values in zip(rows, drawn, strict=True):
            (copy,) = np.flatnonzero((copies[:, row] == values).all(1))
            seen.add(int(copy))
    assert seen == {0, 1, 2}
    assert (len(source), source.features, source.origin(2)) == (4, (2,), "c")


def test_making_batches_changes_no_data():
    data = media_set()
    before = [item.copy() for side in (data.faces, data.voices) for item in decoded(side)]
    BatchMaker(data, 3, 2, rng()).make()
    after = [*decoded(data.faces), *decoded(data.voices)]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_features_are_given_as_float32_in_the_order_asked():
    values = np.arange(24, dtype=np.float16).reshape(3, 2, 2, 2)
    source = FeatureSource(values, ["a", "b", "c"])
    taken = source.gather(np.array([2, 0]), rng())
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, values[[2, 0]])
    assert len(source) == 3
