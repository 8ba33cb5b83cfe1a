from __future__ import annotations

import itertools
import json
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from avsearch.models.layers.trainable import Schedule
from indexer.errors import BadRequest
from tests.helpers.toys import Toy, ToyBatches, toy_batch
from trainer.training.loop import TrainConfig, Trainer
from trainer.training.prefetch import BatchPrefetcher, threads_ahead
from trainer.training.resume import (
    State,
    random_state,
    read_state,
    restore_random_state,
    write_state,
)

NOISY = Schedule(epochs=5, batch=1, discriminator_every=2, warmup=0.1, watched="one", patience=1)


class Going:
    """A noisy toy in training, with its batches."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.trainer = Trainer(Toy(NOISY, noise=0.3), TrainConfig(40, 10, accumulate=2, clip=20.0))
        self.ahead = BatchPrefetcher(ToyBatches(seed=seed))

    def go(self, steps: int) -> list[dict[str, float]]:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.random)
            seen = [
                dict(self.trainer.turn([self.ahead.next()[1] for _ in range(2)]).terms)
                for _ in range(steps)
            ]
            self.random = torch.get_rng_state()
        return seen

    random = torch.Generator().manual_seed(1).get_state()


@settings(max_examples=15)
@given(before=st.integers(0, 12), after=st.integers(1, 6), seed=st.integers(0, 99))
def test_what_is_restored_takes_the_same_next_steps(before, after, seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "state"
    first, second = Going(seed), Going(seed + 1)
    first.go(before)
    write_state(path, first.trainer.state())
    kept = json.loads(json.dumps(first.ahead.state()))
    second.trainer.restore(read_state(path))
    second.ahead.restore(kept)
    second.random = first.random
    assert second.go(after) == first.go(after)
    states = [each.trainer.state() for each in (first, second)]
    assert states[0].values == states[1].values
    for name, value in states[0].tensors.items():
        assert torch.equal(value, states[1].tensors[name]), name
    for each in (first, second):
        each.ahead.__exit__(None, None, None)


def test_torchs_generator_goes_on_where_it_stood():
    text = json.loads(json.dumps(random_state(torch.device("cpu"))))
    wanted = torch.rand(5)
    torch.rand(3)
    restore_random_state(text, torch.device("cpu"))
    assert torch.equal(torch.rand(5), wanted)


def test_a_state_of_another_kind_is_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "state", {"format": "another"})
    with pytest.raises(BadRequest, match="not the state of a training"):
        read_state(tmp_path / "state")


def test_half_a_state_is_never_found(tmp_path, monkeypatch):
    path = tmp_path / "state"
    write_state(path, State({"a": torch.zeros(2)}, {"step": 1}))
    monkeypatch.setattr("trainer.training.resume.os.fsync", lambda file: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_state(path, State({"a": torch.ones(2)}, {"step": 2}))
    assert read_state(path).values == {"step": 1}


# Batches made ahead.


@settings(max_examples=20)
@given(
    depth=st.integers(1, 4),
    in_turns=st.booleans(),
    taken=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_batches_come_in_their_order_whatever_is_under_way(depth, in_turns, taken, seed):
    maker = ToyBatches(seed=seed)
    wanted = [maker.plan() for _ in range(taken + 5)]
    with BatchPrefetcher(ToyBatches(seed=seed), depth, in_turns=in_turns) as ahead:
        seen = [ahead.next() for _ in range(taken)]
        state = ahead.state()
        more = [ahead.next()[0] for _ in range(5)]
        ahead.restore(state)
        again = [ahead.next()[0] for _ in range(5)]
    assert [plan for plan, _ in seen] + more == wanted
    assert again == more
    for plan, batch in seen:
        assert batch.faces.inputs.item() == pytest.approx(plan)


def test_what_goes_wrong_in_making_a_batch_is_raised_where_it_is_taken():
    class Failing(ToyBatches):
        def fill(self, plan):
            if plan == 2.0:
                raise OSError("the disk is gone")
            return super().fill(plan)

    with BatchPrefetcher(Failing(1.0, 2.0)) as ahead:
        assert ahead.next()[0] == 1.0
        with pytest.raises(OSError, match="disk is gone"):
            ahead.next()


def test_no_more_are_made_than_asked_for():
    maker = ToyBatches(*map(float, range(9)))
    with BatchPrefetcher(maker, depth=3) as ahead:
        for plan in itertools.islice(itertools.count(), 4):
            assert ahead.next()[0] == plan
    assert maker.plan() == 6.0  # four taken, two under way


def test_in_turns_with_the_model_none_is_made_before_the_last_is_taken():
    made = []

    class Making(ToyBatches):
        def fill(self, plan):
            made.append(plan)
            return super().fill(plan)

    with BatchPrefetcher(Making(*map(float, range(12))), depth=3, in_turns=True) as ahead:
        seen = [(ahead.next()[0], len(made)) for _ in range(7)]
    assert [plan for plan, _ in seen] == [0, 1, 2, 3, 4, 5, 6]
    assert [count for _, count in seen] == [3, 3, 3, 6, 6, 6, 9]


class Waiting(ToyBatches):
    """Makes no batch but the first before it is let go."""

    def __init__(self) -> None:
        super().__init__(*map(float, range(9)))
        self.made: list[float] = []
        self.let_go = threading.Event()

    def fill(self, plan):
        assert plan == 0 or self.let_go.wait(60)
        self.made.append(plan)
        return super().fill(plan)


def test_beside_a_gpu_batches_are_made_while_the_model_works(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    batches = Waiting()
    with BatchPrefetcher.of_device(batches, torch.device("cuda")) as ahead:
        assert ahead.next()[0] == 0
        assert batches.made == [0]
        batches.let_go.set()


def test_on_the_cores_of_the_model_they_are_made_while_it_waits(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    batches = Waiting()
    batches.let_go.set()
    with BatchPrefetcher.of_device(batches, torch.device("cpu")) as ahead:
        assert ahead.next()[0] == 0
        assert sorted(batches.made) == [0, 1]


def test_for_a_gpu_the_threads_put_every_tensor_into_locked_memory(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    with BatchPrefetcher(ToyBatches(4.0), depth=1, pinned=True) as ahead:
        _, batch = ahead.next()
    assert len(pinned) == 10  # five of either modality
    assert any(tensor is batch.voices.inputs for tensor in pinned)


@pytest.mark.parametrize(("processes", "threads"), [(1, 16), (8, 4), (64, 1)])
def test_processes_of_one_machine_share_its_cores(processes, threads, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(32)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert threads_ahead() == threads


def test_in_the_threads_that_make_batches_torch_uses_one_core_and_here_as_many_as_before():
    class Counting(ToyBatches):
        def fill(self, plan):
            return toy_batch(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with BatchPrefetcher(Counting(), depth=2) as ahead:
            seen = {ahead.next()[1].faces.inputs.item() for _ in range(4)}
        assert seen == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
