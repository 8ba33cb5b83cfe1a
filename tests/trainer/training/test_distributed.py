"""Two processes that train together over gloo, started once for all tests here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint
from indexer.errors import BadRequest
from tests.helpers import partners
from tests.helpers.toys import Toy, toy_batch
from tests.helpers.worlds import left_by
from trainer.training.distributed import ALONE, Group, joined
from trainer.training.loop import TrainConfig, Trainer

ROOT = Path(partners.__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder to which both processes wrote their results."""
    place = tmp_path_factory.mktemp("partners")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    surroundings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *sys.path))),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    both = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.helpers.partners", str(place)],
            env={**surroundings, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=300) for process in both] == [0, 0]
    finally:
        for process in both:  # one of them may wait for the other for ever
            process.kill()
            process.wait()
    return place


@pytest.fixture(scope="module")
def found(folder):
    return [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(2)]


def test_both_are_of_one_group(found):
    assert [each["world"] for each in found] == [2, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="threads are told by /proc")
def test_nothing_of_the_group_outlives_it(found):
    """Threads that do may abort the process when it ends."""
    assert [each["left"] for each in found] == [[], []]


def test_messages_of_any_length_reach_both_in_order(found):
    for each in found:
        assert each["messages"]["gathered"] == [list(range(7)), list(range(3, 12))]


def test_gradients_are_averaged_and_one_that_is_missing_counts_as_nought(found):
    for each in found:
        assert each["messages"]["mean"] == [0.5, 1.5]
        assert each["messages"]["gradients"] == [[1.5, 3.0], [2.0, 3.0], None]


def test_the_first_ones_values_of_every_kind_reach_both(found):
    for each in found:
        assert each["messages"]["shared"] == [[False, True], 3, [0.5] * 4]


def test_two_halves_train_as_the_doubled_batch_does(found):
    model = Toy(partners.TOGETHER)
    trainer = Trainer(model, TrainConfig(10, 10))
    terms = [
        trainer.train_step([toy_batch(*(value for half in step for value in half))]).terms
        for step in partners.VALUES
    ]
    for each in found:
        for seen, wanted in zip(each["toy"]["terms"], terms, strict=True):
            assert seen == pytest.approx(wanted)
        assert each["toy"]["weights"]["generator"] == pytest.approx(model.generator.item())
        assert each["toy"]["weights"]["discriminator"] == pytest.approx(model.discriminator.item())


def test_a_nan_that_one_sees_stops_both(found):
    assert [each["ruined"] for each in found] == ["both stop"] * 2


def test_both_end_with_equal_weights(folder):
    first, second = (load_file(folder / f"whole-{rank}.weights") for rank in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_their_resumed_training_ends_as_if_it_had_never_stopped(folder):
    whole, parted = (folder / f"{name}.safetensors" for name in ("whole", "parted"))
    assert left_by(parted) == left_by(whole)


def test_the_first_writes_a_checkpoint_and_a_log_of_every_step(folder):
    assert load_checkpoint(folder / "whole.safetensors", MODELS).space.dim == 8
    steps = [r["step"] for r in left_by(folder / "whole.safetensors")["log"] if "terms" in r]
    assert steps == list(range(1, 25))


def test_a_training_of_two_is_not_resumed_as_another(found):
    assert all("seed 0, not 3" in each["refused"] for each in found)


def test_by_itself_a_process_is_a_group_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined(torch.device("cpu")) as (group, device):
        assert group is ALONE
        assert device.type == "cpu"
    values = torch.tensor([1.0, 2.0])
    assert Group().mean(values) is values
    assert Group().gather(b"word") == [b"word"]
    assert Group().first


def test_more_processes_than_gpus_is_said_in_a_sentence(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadRequest, match=r"Process 2 .* start 1 with --nproc-per-node"):
        joined(torch.device("cuda")).__enter__()
