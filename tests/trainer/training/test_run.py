from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from click.testing import CliRunner
from PIL import Image

from avsearch.cli import group
from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint
from indexer.errors import BadRequest, Diverged
from tests.helpers.tiny import tiny_model
from tests.helpers.worlds import TINY, left_by, paired_parts, request, silent, write_features
from trainer.training import run
from trainer.training.config import STATE
from trainer.training.logging import LOG
from trainer.training.resume import State, read_state, write_state
from trainer.training.run import CURVES, train


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums come in one order, whatever tests before this one have asked of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _only_what_is_never_left_out(monkeypatch):
    """Most tests need neither TensorBoard's files nor a picture, which take their time."""
    monkeypatch.setattr(run, "matplotlib_is_there", lambda: False)
    monkeypatch.setattr("trainer.training.logging.tensorboard_is_there", lambda: False)


@pytest.fixture(scope="module")
def parts():
    return paired_parts()


@pytest.fixture(scope="module")
def whole(parts, tmp_path_factory):
    """The checkpoint of a training that nobody disturbed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole") / "model.safetensors"
    train(request(out), lambda settings: parts, silent)
    torch.set_num_threads(before)
    return out


def begin(out: Path, parts, **changes):
    return train(request(out, **changes), lambda settings: parts, silent)


# What a training leaves.


def test_a_training_leaves_its_best_checkpoint_with_its_record(whole, parts):
    rows = left_by(whole)["log"]
    scores = {row["step"]: row["scores"] for row in rows if "scores" in row}
    assert list(scores) == [6, 12, 18, 24]
    best = max(scores, key=lambda step: (scores[step]["score"], -step))
    record = load_checkpoint(whole, MODELS).record
    assert record["best_step"] == best
    assert record["scores"] == scores[best]
    assert record["people"] == {
        "train": [f"person {n:02d}" for n in range(12)],
        "validation": [f"person {n:02d}" for n in range(12, 18)],
        "test": ["person 18", "person 19"],
    }
    assert (record["seed"], record["steps"], record["batch"]) == (0, 24, 8)


def test_the_checkpoint_says_what_its_scores_on_the_validation_people_are_worth(whole, parts):
    record = load_checkpoint(whole, MODELS).record["calibration"]
    assert set(record) == {"V-F", "F-V", "V-V", "F-F"}
    validation = parts["validation"]
    for one in record.values():
        assert one["minCllr"] <= one["Cllr"]
        assert 0 < one["pairs"][0] < one["pairs"][1]
    assert record["V-F"]["pairs"] == record["F-V"]["pairs"]
    assert len(validation.paired) > 1


def test_the_checkpoint_is_a_model_of_the_datas_shape(whole):
    settings = load_checkpoint(whole, MODELS).network.settings
    assert (settings.face_features, settings.voice_features) == ((6,), (5,))
    assert (settings.classes, settings.widths, settings.dim) == (12, (8,), 8)


def test_every_step_is_in_the_log(whole):
    steps = [row["step"] for row in left_by(whole)["log"] if "terms" in row]
    assert steps == list(range(1, 25))


def test_a_training_learns_who_belongs_together(parts, tmp_path):
    trained = begin(tmp_path / "model.safetensors", parts, steps=300, every=50, rate=3.0)
    chance = 4 / 24  # items of one person among those of six
    assert trained.scores["score"] > 3 * chance
    assert trained.people == {"train": 12, "validation": 6, "test": 2}
    assert trained.checkpoint.exists()


# Exact resume.


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.mark.parametrize("step", [1, 6, 7, 15, 23])
def test_a_resumed_training_ends_as_if_it_had_never_stopped(
    step, whole, parts, tmp_path, monkeypatch
):
    out = tmp_path / "model.safetensors"
    on_step = run.TrainingLog.on_step

    def stop(self, progress):
        on_step(self, progress)
        if progress.step == step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(run.TrainingLog, "on_step", stop)
        with pytest.raises(Killed):
            begin(out, parts)
    torch.rand(3)  # what was drawn meanwhile must not matter
    begin(out, parts, resume=True)
    assert left_by(out) == left_by(whole)


def test_a_training_killed_between_its_checkpoint_and_its_state_loses_nothing(
    whole, parts, tmp_path, monkeypatch
):
    out = tmp_path / "model.safetensors"
    written = iter(range(100))

    def stop(path, state):
        if next(written) == 2:  # of the second validation, the checkpoint being written
            raise Killed
        write_state(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(run, "write_state", stop)
        with pytest.raises(Killed):
            begin(out, parts)
    begin(out, parts, resume=True)
    assert left_by(out) == left_by(whole)


def test_after_sigkill_a_training_goes_on_to_the_same_bits(tmp_path):
    data = write_features(tmp_path / "features.npz")
    killed, undisturbed = tmp_path / "killed.safetensors", tmp_path / "undisturbed.safetensors"
    words = [f"--set={key}={value}" for key, value in TINY.items()]
    command = ["train", "--model", "adsm", "--data", str(data), "--split", "last:6,2", *words]
    command += ["--steps", "90", "--batch", "8", "--every", "10", "--out"]
    log = killed.with_suffix(".training") / LOG
    with subprocess.Popen(
        [sys.executable, "-m", "avsearch", *command, str(killed)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        while process.poll() is None and (not log.exists() or log.read_text().count("\n") < 25):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 0 < read_state(log.with_name(STATE)).values["step"] < 90
    for arguments in ([str(killed), "--resume"], [str(undisturbed)]):
        assert CliRunner().invoke(group, [*command, *arguments]).exit_code == 0
    assert left_by(killed) == left_by(undisturbed)


def test_resuming_a_training_that_is_finished_says_again_what_it_came_to(parts, tmp_path):
    out = tmp_path / "model.safetensors"
    first = begin(out, parts)
    before = left_by(out)
    assert begin(out, parts, resume=True) == first
    assert left_by(out) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 12}, "batch 8, not 12"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"steps": 30}, "steps 24, not 30"),
        ({"words": {**TINY, "eta": "0.1"}}, "eta 0.3, not 0.1"),
    ],
)
def test_a_training_is_not_resumed_as_another(changes, words, whole, parts, tmp_path):
    out = tmp_path / "model.safetensors"
    begin(out, parts)
    before = left_by(out)
    with pytest.raises(BadRequest, match=words):
        begin(out, parts, resume=True, **changes)
    assert left_by(out) == before


def test_a_training_is_not_resumed_on_other_data(parts, tmp_path):
    out = tmp_path / "model.safetensors"
    begin(out, parts)
    with pytest.raises(BadRequest, match="started with other data"):
        begin(out, paired_parts(21), resume=True)


def test_a_training_is_not_resumed_as_another_model(parts, tmp_path):
    out = tmp_path / "model.safetensors"
    begin(out, parts)
    path = out.with_suffix(".training") / STATE
    state = read_state(path)
    config = {**state.values["config"], "model": "dsanet"}
    write_state(path, State(state.tensors, {**state.values, "config": config}))
    with pytest.raises(BadRequest, match="model dsanet, not adsm"):
        begin(out, parts, resume=True)


@pytest.mark.parametrize("left", [0, 7, 300, -1])
def test_a_state_cut_short_is_refused_in_a_sentence(left, parts, tmp_path):
    out = tmp_path / "model.safetensors"
    begin(out, parts)
    path = out.with_suffix(".training") / STATE
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(BadRequest, match="cut short"):
        begin(out, parts, resume=True)


def test_a_checkpoint_in_the_place_of_a_state_is_refused(whole, parts, tmp_path):
    out = tmp_path / "model.safetensors"
    path = out.with_suffix(".training") / STATE
    path.parent.mkdir()
    path.write_bytes(whole.read_bytes())
    with pytest.raises(BadRequest, match="not the state of a training"):
        begin(out, parts, resume=True)


def test_nothing_to_resume_is_said(parts, tmp_path):
    with pytest.raises(BadRequest, match="no training to resume"):
        begin(tmp_path / "model.safetensors", parts, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_a_training_never_writes_over_another(whole, parts):
    before = left_by(whole)
    with pytest.raises(BadRequest, match="exists already; continue it with --resume"):
        begin(whole, parts)
    assert left_by(whole) == before


# What is not finite.


def spoilt(parts, row: int):
    """The same with NaN in a voice of the training set."""
    voices = parts["train"].voices
    values = voices.source.values.copy()
    values[row, 2] = np.nan
    source = dataclasses.replace(voices.source, values=values)
    return {
        **parts,
        "train": dataclasses.replace(
            parts["train"], voices=dataclasses.replace(voices, source=source)
        ),
    }


def test_a_nan_stops_the_training_and_names_its_batch(parts, tmp_path):
    out = tmp_path / "model.safetensors"
    with pytest.raises(Diverged, match="became NaN or infinite") as caught:
        begin(out, spoilt(parts, 21))
    path = out.with_suffix(".training") / "diverged.json"
    assert str(path) in str(caught.value)
    found = json.loads(path.read_text())
    (batch,) = found["batches"]
    assert batch["voices"]["not_finite"] == ["voice21"]
    assert batch["voices"]["people"][batch["voices"]["files"].index("voice21")] == "person 05"
    assert batch["faces"]["not_finite"] == []
    assert len(batch["faces"]["files"]) == 8
    assert None in found["terms"].values()


def test_after_a_nan_the_state_is_still_sound(parts, tmp_path):
    out = tmp_path / "model.safetensors"
    with pytest.raises(Diverged):
        begin(out, spoilt(parts, 21))
    state = read_state(out.with_suffix(".training") / STATE)
    assert all(v.isfinite().all() for v in state.tensors.values() if v.is_floating_point())


# Bad requests.


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "nonet"}, "no model 'nonet' to train; there are acienet, adsm"),
        ({"out": Path("model.pt")}, "ends in .safetensors"),
        ({"epochs": 2.0}, "give one of them"),
        ({"batch": 9}, "--batch 9 is not two or more people of 2 items each"),
        ({"batch": 2}, "--batch 2 is not two or more people"),
        (
            {"batch": 64},
            "larger than the training set: 32 people of 2 items",
        ),
        ({"precision": "float16", "device": "cpu"}, "float16 needs a GPU"),
        ({"words": {"width": "3"}}, "unknown setting; there are dim, widths"),
        ({"words": {"dim": "wide"}}, "--set dim=wide: it is a whole number"),
        ({"words": {"classes": "4"}}, "the data decides it"),
    ],
)
def test_a_request_that_cannot_be_met_leaves_nothing_behind(changes, words, parts, tmp_path):
    with pytest.raises(BadRequest, match=words):
        begin(**{"out": tmp_path / "model.safetensors", "parts": parts} | changes)
    assert files(tmp_path) == []


def test_validation_people_who_share_nothing_are_refused(parts, tmp_path):
    alone = parts["validation"]
    apart = dataclasses.replace(
        alone,
        faces=alone.faces.of_people({12, 13, 14}),
        voices=alone.voices.of_people({14, 15, 16}),
    )
    with pytest.raises(BadRequest, match="fewer than two people with both"):
        begin(tmp_path / "model.safetensors", {**parts, "validation": apart})
    assert files(tmp_path) == []


# How long, and how large.


def config_and_key(out, parts, **changes):
    seen = {}

    def stop(self, note):
        seen.update(config=self.config, key=self.resume_key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run._Run, "run", stop)
        begin(out, parts, **{"steps": None, "every": None, "batch": None} | changes)
    return seen["config"], seen["key"]


def test_without_wishes_it_is_as_long_as_the_paper_and_no_larger_than_the_data(parts, tmp_path):
    config, key = config_and_key(tmp_path / "model.safetensors", parts)
    # 48 items of 12 people; batches of two of each make two steps an epoch; 30 epochs.
    assert key["batch"] == 24
    assert (config.steps, config.every) == (60, 2)


@pytest.mark.parametrize(
    ("changes", "steps", "every"),
    [
        ({"epochs": 2.5, "batch": 8}, 15, 1),
        ({"epochs": 20, "batch": 8}, 120, 6),
        ({"epochs": 10, "batch": 8, "accumulate": 3}, 20, 2),
        ({"steps": 7, "batch": 8}, 7, 1),
        ({"steps": 1000, "batch": 8, "every": 17}, 1000, 17),
    ],
)
def test_an_epoch_shows_as_many_items_as_there_are(changes, steps, every, parts, tmp_path):
    config, _ = config_and_key(tmp_path / "model.safetensors", parts, **changes)
    assert (config.steps, config.every) == (steps, every)


# What is optional.


def test_without_tensorboard_and_matplotlib_it_trains_and_says_what_is_missing(
    parts, tmp_path, monkeypatch
):
    monkeypatch.setattr(run, "tensorboard_is_there", lambda: False)
    notes: list[str] = []
    trained = train(request(tmp_path / "m.safetensors"), lambda settings: parts, notes.append)
    assert trained.curves is None
    assert [note.partition(" ")[0] for note in notes] == ["TensorBoard", "matplotlib"]
    assert sorted(p.name for p in (tmp_path / "m.training").iterdir()) == [LOG, STATE]


def test_the_curves_are_a_picture_beside_the_log(parts, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the curves need matplotlib")
    monkeypatch.setattr(run, "matplotlib_is_there", lambda: True)
    trained = begin(tmp_path / "m.safetensors", parts)
    assert trained.curves == tmp_path / "m.training" / CURVES
    with Image.open(trained.curves) as picture:
        assert picture.size[0] > 600
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20


def test_tensorboard_gets_every_loss_and_score(parts, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="TensorBoard's files need tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr("trainer.training.logging.tensorboard_is_there", lambda: True)
    begin(tmp_path / "m.safetensors", parts)
    board = EventAccumulator(str(tmp_path / "m.training" / "tensorboard")).Reload()
    rows = left_by(tmp_path / "m.safetensors")["log"]
    wanted = {r["step"]: r["terms"]["triplet"] for r in rows if "triplet" in r.get("terms", ())}
    seen = {event.step: event.value for event in board.Scalars("loss/triplet")}
    assert seen == pytest.approx(wanted)
    assert [event.step for event in board.Scalars("validation/score")] == [6, 12, 18, 24]


# Weights that others trained.


def full_width():
    return tiny_model("acienet", width=64)


def test_without_published_weights_a_trunk_that_could_have_them_is_said_to_start_from_scratch(
    tmp_path,
):
    for network, said in ((full_width(), 1), (tiny_model("acienet"), 0), (tiny_model("adsm"), 0)):
        notes: list[str] = []
        run.init_weights(
            request(tmp_path / "m.safetensors", model="acienet"), network, notes.append
        )
        assert len(notes) == said
        assert all("acienet begins with random weights" in note for note in notes)


def test_a_training_begins_with_the_weights_of_a_file(tmp_path):
    network, weights = full_width(), torchvision.models.resnet18().state_dict()
    torch.save(weights, tmp_path / "resnet18.pth")
    asked = request(tmp_path / "m.safetensors", face_trunk=tmp_path / "resnet18.pth")
    run.init_weights(asked, network, pytest.fail)
    trunk = network.face_trunk[0].state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in trunk.items())


def test_weights_for_a_model_that_takes_none_are_refused_and_nothing_is_written(parts, tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "some.pth")
    with pytest.raises(BadRequest, match="no ResNet for faces"):
        begin(tmp_path / "m.safetensors", parts, face_trunk=tmp_path / "some.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["some.pth"]
