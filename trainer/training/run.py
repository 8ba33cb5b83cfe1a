"""A training from a request to a checkpoint: what is read, checked, written, and gone on with.

Beside the checkpoint ``NAME.safetensors``, which is always the best one validated so far, stands
the folder ``NAME.training`` with the state to go on from, the log, and the curves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from avsearch.calibration import RECORD
from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint, put_record, save_checkpoint
from avsearch.models.pretrained import load_face_trunk, takes_published_weights
from indexer.errors import BadRequest, Diverged, printable
from trainer.data.dataset import BatchMaker, DataSet
from trainer.data.splits import Split
from trainer.training.config import (
    STATE,
    TrainRequest,
    check_request,
    config_of,
    course_of,
    device_of,
    model_class,
    people_of_batch,
    require_same,
)
from trainer.training.distributed import Group, joined
from trainer.training.logging import LOG, Watch, plain_numbers, tensorboard_is_there
from trainer.training.loop import NotFinite, Progress, Trainer, fit
from trainer.training.plots import matplotlib_is_there, plot_curves
from trainer.training.prefetch import BatchPrefetcher
from trainer.training.private_attributes import known_shares, require_fitting, sentences
from trainer.training.resume import (
    State,
    random_state,
    read_state,
    restore_random_state,
    write_state,
)
from trainer.training.settings import make_settings
from trainer.training.validation import Validation

CURVES, DIVERGED = "curves.png", "diverged"
VALIDATED = 10  # items of each modality of a validation person

Parts = Mapping[Split, DataSet]


@dataclasses.dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training came to."""

    checkpoint: Path
    model: str
    steps: int
    best_step: int
    scores: Mapping[str, float | None]
    people: Mapping[str, int]
    log: Path
    curves: Path | None


def train(
    request: TrainRequest, read: Callable[[Any], Parts], note: Callable[[str], None]
) -> TrainResult | None:
    """Train a model and leave its best checkpoint; None in all but the first process of a group.

    ``read`` gives the split data for the model's settings, and ``note`` is told what the user
    should know. Raises BadRequest, before anything is written, for a request or data that cannot
    be trained on, and Diverged where numbers are no longer finite.
    """
    kind = model_class(request.model)
    settings = make_settings(kind.Settings, request.words, small=request.small)
    with joined(device_of(request)) as (group, device):
        check_request(request)
        parts = _read_in_turn(read, settings, group)
        settings = fitted(settings, parts["train"])
        require_fitting(request.model, settings, parts["train"])
        torch.manual_seed(request.seed)
        model: nn.Module = kind(settings)
        say = note if group.first else _silent
        _begin_with(request, model, say)
        for sentence in sentences(known_shares(settings, parts["train"])):
            say(sentence)
        run = _Run(request, model, parts, device, group)
        return run.go(say)


def _begin_with(request: TrainRequest, model: nn.Module, note: Callable[[str], None]) -> None:
    """Give a fresh model the weights that others trained, or say that it has none."""
    if request.face_trunk is not None:
        load_face_trunk(model, request.face_trunk)
    elif takes_published_weights(model):
        note(_FROM_SCRATCH.format(request.model))


def fitted(settings: Any, data: DataSet) -> Any:
    """Settings with what the data decides: the classes, and the shape of frozen features."""
    decided = {
        "classes": data.classes,
        "face_features": data.faces.source.features,
        "voice_features": data.voices.source.features,
    }
    names = {field.name for field in dataclasses.fields(settings)}
    return dataclasses.replace(settings, **{k: v for k, v in decided.items() if k in names})


class _Run:
    """One training under way: a model, its data, its loop, and its files."""

    def __init__(
        self,
        request: TrainRequest,
        model: nn.Module,
        parts: Parts,
        device: torch.device,
        group: Group,
    ) -> None:
        self.request, self.parts, self.device, self.group = request, parts, device, group
        data = parts["train"]
        people = people_of_batch(request, model, data)
        rng = np.random.default_rng([request.seed, group.rank])
        self.batches = BatchMaker(data, people, request.each, rng)
        self.validation = Validation(model, parts["validation"], device, VALIDATED)
        self.course = course_of(request, model, data, people * request.each, group)
        self.trainer = Trainer(model, self.course, device=device, group=group)
        self.config = config_of(request, model, data, people, self.course, group)
        self.ahead = BatchPrefetcher.of_device(self.batches, device)
        self.watch: Watch | None = None

    def go(self, note: Callable[[str], None]) -> TrainResult | None:
        """Start or resume, train to the end, draw the curves."""
        torch.manual_seed(self.request.seed + 1 + self.group.rank)
        with self.ahead:
            self._resume() if self.request.resume else self._start()
            if not tensorboard_is_there():
                note(_WITHOUT.format("TensorBoard", "its logs are"))
            self._train()
        return self._finish(note) if self.group.first else None

    def _start(self) -> None:
        """Make the folder and a state of step nought, so that there is one from the beginning."""
        if self.group.first:
            self.request.folder.mkdir(parents=True, exist_ok=True)
        self._write_state()

    def _resume(self) -> None:
        path = self.request.folder / STATE
        state = read_state(path)
        require_same(path, state.values["config"], self.config)
        self.trainer.restore(state)
        own = state.values["processes"][self.group.rank]
        self.ahead.restore(own["batches"])
        restore_random_state(own["random"], self.device)

    def _train(self) -> None:
        with contextlib.ExitStack() as open_files:
            if self.group.first:
                done, steps = self.trainer.step, self.course.steps
                self.watch = open_files.enter_context(Watch(self.request.folder, done, steps))
            try:
                fit(self.trainer, self.ahead, self.validation, self)
            except NotFinite as error:
                raise self._diverged(error) from error

    def stepped(self, progress: Progress) -> None:
        """Log a step."""
        if self.watch is not None:
            self.watch.stepped(progress)

    def validated(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        """Log a validation, keep the checkpoint if it is the best, and then the state."""
        if self.watch is not None:
            self.watch.validated(step, scores, best=best)
            if best:
                self._save()
        self._write_state()

    def _save(self) -> None:
        save_checkpoint(self.request.out, self.request.model, self.trainer.model, self._record())

    def _record(self) -> dict[str, Any]:
        best = self.trainer.best
        return {
            **self.request.record,
            **{key: self.config[key] for key in _RECORDED},
            "people": {side: _names(part) for side, part in self.parts.items()},
            **self._private(),
            "best_step": best and best.step,
            "scores": best and plain_numbers(best.scores),
        }

    def _private(self) -> dict[str, Any]:
        """What share of the items had private attributes, for a model that takes them."""
        shares = known_shares(cast(Any, self.trainer.model).settings, self.parts["train"])
        return {"private_attributes": shares} if shares else {}

    def _write_state(self) -> None:
        own = {"batches": self.ahead.state(), "random": random_state(self.device)}
        processes = self.group.gather(json.dumps(own).encode())
        if self.group.first:
            state = self.trainer.state()
            extra = {"config": self.config, "processes": [json.loads(p) for p in processes]}
            write_state(
                self.request.folder / STATE, State(state.tensors, {**state.values, **extra})
            )

    def _diverged(self, error: NotFinite) -> Diverged:
        """Write down the batch that made the numbers so, and say where."""
        rank = f"-{self.group.rank}" if self.group.rank else ""
        path = self.request.folder / f"{DIVERGED}{rank}.json"
        batches = [_whose(self.batches, self.parts["train"], plan) for plan in error.plans]
        found = {"step": error.step, "terms": plain_numbers(error.terms), "batches": batches}
        path.write_text(json.dumps(found, indent=1), "utf-8")
        return Diverged(
            f"In step {error.step} a loss or a weight became NaN or infinite; "
            f"{printable(path)} names the people and files of the batch that made it so. Mend "
            "them, or train with a smaller --rate or with --clip 1."
        )

    def _finish(self, note: Callable[[str], None]) -> TrainResult:
        best = self.trainer.best
        if best is None:
            raise Diverged("No validation gave a score that is a number; no checkpoint was kept.")
        self._calibrate()
        log, curves = self.request.folder / LOG, None
        if matplotlib_is_there():
            curves = self.request.folder / CURVES
            plot_curves(log, curves, f"{self.request.model}: {self.request.out.name}")
        else:
            note(_WITHOUT.format("matplotlib", "the curves are"))
        return TrainResult(
            self.request.out,
            self.request.model,
            self.course.steps,
            best.step,
            plain_numbers(best.scores),
            {side: len(part.people) for side, part in self.parts.items()},
            log,
            curves,
        )

    def _calibrate(self) -> None:
        """Write into the best checkpoint what its scores on the validation people are worth."""
        best = load_checkpoint(self.request.out, MODELS)
        network = best.network.to(self.device)
        validation = Validation(network, self.parts["validation"], self.device, VALIDATED)
        put_record(self.request.out, {**best.record, RECORD: validation.calibrated()})


_RECORDED = (
    "--face-trunk", "seed", "steps", "batch", "each", "accumulate", "clip", "precision", "rate"
)  # fmt: skip
_FROM_SCRATCH = (
    "The ResNet-18 of {} begins from random weights; where you have torchvision's of ImageNet, "
    "name the file with --face-trunk."
)
_WITHOUT = "{} is not installed; {} not written. Install it with: pip install 'avsearch[train]'"


def _silent(sentence: str) -> None:
    """What the other processes say."""


def _read_in_turn(read: Callable[[Any], Parts], settings: Any, group: Group) -> Parts:
    """Let the first process prepare the data, then the others find it prepared."""
    if not group.first:
        group.wait()
    parts = read(settings)
    if group.first:
        group.wait()
    _require_shared(parts["validation"])
    return parts


def _require_shared(data: DataSet) -> None:
    if len(np.intersect1d(data.faces.labels, data.voices.labels)) < 2:
        what = "people have both a face and a voice" if data.shared == "person" else "genders"
        raise BadRequest(
            f"Of the validation side fewer than two {what}, so that no score would say which step "
            "is the best; choose another --split."
        )


def _names(data: DataSet) -> list[str]:
    return [data.names[number] for number in data.people.tolist()]


def _whose(batches: BatchMaker, data: DataSet, plan: Any) -> dict[str, Any]:
    """The people and files of a batch by modality, and the files whose inputs are not finite."""
    batch = batches.fill(plan)
    told: dict[str, Any] = {}
    for name, side, chosen, inputs in (
        ("faces", data.faces, plan.faces, batch.faces.inputs),
        ("voices", data.voices, plan.voices, batch.voices.inputs),
    ):
        finite = inputs.flatten(1).isfinite().all(1).tolist()
        files: Sequence[str] = side.origins(chosen)
        told[name] = {
            "people": [data.names[number] for number in side.people[chosen].tolist()],
            "files": files,
            "not_finite": [file for file, fine in zip(files, finite, strict=True) if not fine],
        }
    return told
