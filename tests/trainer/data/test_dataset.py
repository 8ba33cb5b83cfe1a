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
from trainer.data.sources import FaceSource, FeatureSource, VoiceSource

COUNTS = st.lists(st.integers(1, 5), min_size=1, max_size=8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def both(people: int = 6, each: int = 3) -> DataSet:
    return labelled_by_person(numbered_set([*range(people)] * each, [*range(people)] * each))


# Sides and sets.


def test_taking_keeps_what_is_known_of_an_item_together():
    side = dataclasses.replace(
        numbered_side([4, 5, 4, 3]), private=np.arange(8, dtype=np.float32).reshape(4, 2)
    )
    part = side.take(np.array([3, 0, 3]))
    assert part.rows.tolist() == [3, 0, 3]
    assert part.people.tolist() == [3, 4, 3]
    assert part.genders.tolist() == [1, 0, 1]
    assert part.nationalities.tolist() == [-1, 1, -1]
    assert part.private is not None
    assert part.private.tolist() == [[6, 7], [0, 1], [6, 7]]
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


def test_a_batch_that_must_not_vary_does_not():
    batch = BatchMaker(media_set(), 3, 1, rng(), vary=False).make()
    data = media_set()
    assert torch.equal(batch.faces.inputs, data.faces.batch(batch.faces.people.numpy()).inputs)


def test_features_are_given_as_float32_in_the_order_asked():
    values = np.arange(24, dtype=np.float16).reshape(3, 2, 2, 2)
    source = FeatureSource(values, ["a", "b", "c"])
    taken = source.gather(np.array([2, 0]), rng())
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, values[[2, 0]])
    assert len(source) == 3
