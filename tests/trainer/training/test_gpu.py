"""Training on a GPU, small; skipped where there is none."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from avsearch.models import MODELS, load_model, load_reranker
from avsearch.models.checkpoint import save_checkpoint
from avsearch.models.inputs import SAMPLE_RATE
from avsearch.models.layers.batch import Batch
from avsearch.models.layers.trainable import Schedule
from avsearch.models.papers.pair_baseline import PairNetwork
from indexer.errors import Diverged
from tests.helpers.tiny import face, tiny_batch, voice
from tests.helpers.toys import ToyBatches
from tests.helpers.worlds import TINY, left_by, paired_parts, request, silent, write_features
from trainer.training import run
from trainer.training.config import STATE
from trainer.training.loop import TrainConfig, Trainer
from trainer.training.prefetch import BatchPrefetcher
from trainer.training.resume import random_state, read_state, restore_random_state
from trainer.training.run import train

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="training on a GPU needs one that CUDA can use"
)
GPU = torch.device("cuda")
PLAIN = Schedule(epochs=1, batch=8)
PAIRS = [name for name, kind in MODELS.items() if issubclass(kind, PairNetwork)]
PRECISIONS = ["float32", "bfloat16", "float16"]


@pytest.fixture(autouse=True)
def _only_what_is_never_left_out(monkeypatch):
    monkeypatch.setattr(run, "matplotlib_is_there", lambda: False)
    monkeypatch.setattr("trainer.training.logging.tensorboard_is_there", lambda: False)


def trainer_of(name: str, precision: str = "float32") -> Trainer:
    """A fresh small network of media on the GPU."""
    torch.manual_seed(0)
    kind = MODELS[name]
    course = TrainConfig(20, 20, precision=precision)
    return Trainer(kind(kind.Settings.small()), course, schedule=PLAIN, device=GPU)


def batch_of(settings) -> Batch:
    """Noise of these sizes: eight faces and eight voices."""
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (8, 3, settings.face_size, settings.face_size), dtype=np.uint8)
    samples = round(settings.voice_seconds * SAMPLE_RATE)
    voices = rng.normal(0, 0.1, (8, samples)).astype(np.float32)
    batch = tiny_batch(8, 8)
    return Batch(
        dataclasses.replace(batch.faces, inputs=torch.from_numpy(faces)),
        dataclasses.replace(batch.voices, inputs=torch.from_numpy(voices)),
    )


def begin(out: Path, parts=None, **changes):
    parts = parts or paired_parts()
    return train(request(out, **{"device": "cuda"} | changes), lambda settings: parts, silent)


# Steps.


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
def test_twenty_steps_of_every_model_move_its_weights_and_stay_finite(name, precision):
    trainer = trainer_of(name, precision)
    before = {key: value.clone() for key, value in trainer.model.named_parameters()}
    batch = batch_of(trainer.model.settings)
    for _ in range(20):
        assert all(map(math.isfinite, trainer.turn([batch]).terms.values()))
    assert trainer.sound(trainer.model.state_dict().values())
    learning = [(k, v) for k, v in trainer.model.named_parameters() if v.grad is not None]
    assert learning
    assert {(v.dtype, v.device.type) for _, v in learning} == {(torch.float32, "cuda")}
    assert [k for k, v in learning if v.grad.any() and torch.equal(v, before[k])] == []


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_half_precision_gives_terms_near_those_of_the_full(name, precision):
    terms = {}
    for kind in ("float32", precision):
        trainer = trainer_of(name, kind)
        torch.manual_seed(1)  # dropout, tuples and the noise of the variational encoders
        terms[kind] = trainer.turn([batch_of(trainer.model.settings)]).terms
    assert terms[precision] == pytest.approx(terms["float32"], rel=0.1, abs=0.1)


def test_batches_come_in_locked_memory_and_arrive_whole():
    with BatchPrefetcher(ToyBatches(seed=3), depth=2, pinned=True) as ahead:
        for _ in range(5):
            plan, batch = ahead.next()
            assert batch.faces.inputs.is_pinned()
            assert batch.voices.genders.is_pinned()
            assert batch.to(GPU).faces.inputs.tolist() == pytest.approx([plan])


# A whole training.


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_training_on_a_gpu_learns_who_belongs_together(precision, tmp_path):
    trained = begin(
        tmp_path / "model.safetensors", steps=300, every=50, rate=3.0, precision=precision
    )
    chance = 4 / 24  # items of one person among those of six
    assert trained.scores["score"] > 3 * chance


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_resumed_training_goes_on_as_if_it_had_never_stopped(precision, tmp_path, monkeypatch):
    whole, parted = tmp_path / "whole.safetensors", tmp_path / "parted.safetensors"
    begin(whole, precision=precision)
    stepped = run.Watch.stepped

    def stop(self, progress):
        stepped(self, progress)
        if progress.step == 15:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(run.Watch, "stepped", stop)
        with pytest.raises(Killed):
            begin(parted, precision=precision)
    torch.rand(3, device=GPU)  # what was drawn meanwhile must not matter
    begin(parted, precision=precision, resume=True)
    states = [read_state(each.with_suffix(".training") / STATE) for each in (whole, parted)]
    assert states[0].values["scaler"] == states[1].values["scaler"]
    assert states[0].values["processes"] == states[1].values["processes"]
    logs = [left_by(each)["log"] for each in (whole, parted)]
    for one, other in zip(*logs, strict=True):  # some sums of a GPU have no fixed order
        for kind in ("terms", "scores"):
            assert one.get(kind, {}) == pytest.approx(other.get(kind, {}), rel=1e-2, abs=1e-3)


def test_the_generator_of_the_gpu_goes_on_where_it_was_asked():
    state = random_state(GPU)
    wanted = torch.rand(5, device=GPU), torch.rand(5)
    restore_random_state(json.loads(json.dumps(state)), GPU)
    assert torch.equal(torch.rand(5, device=GPU), wanted[0])
    assert torch.equal(torch.rand(5), wanted[1])


def test_a_nan_stops_the_training_and_names_its_batch(tmp_path):
    parts = paired_parts()
    parts["train"].faces.source.values[7] = np.nan
    with pytest.raises(Diverged, match=r"diverged\.json names"):
        begin(tmp_path / "model.safetensors", parts)
    found = json.loads((tmp_path / "model.training" / "diverged.json").read_text())
    assert [file for batch in found["batches"] for file in batch["faces"]["not_finite"]] == [
        "face7"
    ]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="two processes need two GPUs")
def test_two_processes_train_one_model_on_two_gpus(tmp_path):
    data = write_features(tmp_path / "features.npz")
    out = tmp_path / "model.safetensors"
    words = [f"--set={key}={value}" for key, value in TINY.items()]
    command = ["train", "--model", "adsm", "--data", data, "--split", "last:6,2", *words]
    command += ["--device", "cuda", "--steps", "12", "--batch", "8", "--every", "6", "--out", out]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    subprocess.run(
        [*torchrun, "-m", "avsearch", *map(str, command)], check=True, env={**os.environ}
    )
    assert [row["step"] for row in left_by(out)["log"] if "terms" in row] == list(range(1, 13))


# In use.


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A checkpoint of every small model after some steps on the GPU."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in MODELS:
        trainer = trainer_of(name)
        batch = batch_of(trainer.model.settings)
        for _ in range(5):
            trainer.turn([batch])
        save_checkpoint(folder / f"{name}.safetensors", name, trainer.model, {})
    return folder


def people():
    """Five faces and five voices, some voices longer than a window."""
    rng = np.random.default_rng(1)
    return [face(rng, 100) for _ in range(5)] + [voice(rng, 30_000 * n) for n in range(1, 6)]


@pytest.mark.parametrize("name", MODELS)
def test_a_gpu_embeds_as_the_cpu_does_whatever_the_batch(name, checkpoints):
    on_gpu, on_cpu = (
        load_model(checkpoints / f"{name}.safetensors", device) for device in ("cuda", "cpu")
    )
    vectors = on_gpu.embed(people()).vectors
    wanted = on_cpu.embed(people()).vectors
    alone = np.concatenate([on_gpu.embed([each]).vectors for each in people()])
    assert (vectors * wanted).sum(1) == pytest.approx(1, abs=2e-3)  # convolutions are TF32 there
    assert vectors == pytest.approx(alone, abs=5e-3)


@pytest.mark.parametrize("name", PAIRS)
def test_a_gpu_scores_pairs_as_the_cpu_does(name, checkpoints):
    path = checkpoints / f"{name}.safetensors"
    query, candidates = people()[5], people()[:5]
    on_gpu, on_cpu = (load_reranker(path, device) for device in ("cuda", "cpu"))
    scores = on_gpu.score(query, candidates)
    assert scores == pytest.approx(on_cpu.score(query, candidates), rel=1e-2, abs=5e-2)
    assert on_gpu.score(query, candidates[::-1])[::-1] == pytest.approx(scores, rel=1e-2, abs=5e-2)
