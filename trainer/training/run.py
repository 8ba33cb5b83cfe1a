"""A training from its request to the checkpoint, and its resumption.

Beside the checkpoint ``NAME.safetensors``, which is always the best one validated so far, the
folder ``NAME.training`` has the training state, the log, and the curves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping
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
    device_of,
    fit_settings,
    make_settings,
    model_class,
    people_of_batch,
    require_same,
    resume_key,
    train_config,
)
from trainer.training.distributed import Group, joined
from trainer.training.logging import LOG, TrainingLog, plain_numbers, tensorboard_is_there
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
from trainer.training.validation import Validation

CURVES, DIVERGED = "curves.png", "diverged"
VALIDATED = 10  # items of each modality of a validation person
_RECORDED = (
    "--face-trunk", "seed", "steps", "batch", "each", "accumulate", "clip", "precision", "rate"
)  # fmt: skip
_FROM_SCRATCH = (
    "The ResNet-18 of {} begins with random weights; if you have torchvision's of ImageNet, "
    "name the file with --face-trunk."
)
_WITHOUT = "{} is not installed; {} not written. Install it with: pip install 'avsearch[train]'"

Splits = Mapping[Split, DataSet]


@dataclasses.dataclass(frozen=True, slots=True)
class TrainResult:
    """The result of a training."""

    checkpoint: Path
    model: str
    steps: int
    best_step: int
    scores: Mapping[str, float | None]
    people: Mapping[str, int]
    log: Path
    curves: Path | None


def train(
    request: TrainRequest, read: Callable[[Any], Splits], on_warning: Callable[[str], None]
) -> TrainResult | None:
    """Train a model and write its best checkpoint.

    Args:
        request: The request.
        read: Gives the splits of the data for the model's settings.
        on_warning: Called with sentences that the user should know.

    Returns:
        The result; None in all but the first process of a group.

    Raises:
        BadRequest: The request or the data cannot be trained on; nothing is written.
        Diverged: A loss or a weight is no longer finite.
    """
    kind = model_class(request.model)
    settings = make_settings(kind.Settings, request.words, small=request.small)
    with joined(device_of(request)) as (group, device):
        check_request(request)
        splits = _read_in_turn(read, settings, group)
        settings = fit_settings(settings, splits["train"])
        require_fitting(request.model, settings, splits["train"])
        torch.manual_seed(request.seed)
        model: nn.Module = kind(settings)
        warn = on_warning if group.first else _ignore
        init_weights(request, model, warn)
        for sentence in sentences(known_shares(settings, splits["train"])):
            warn(sentence)
        return _Run(request, model, splits, device, group).run(warn)


def init_weights(
    request: TrainRequest, model: nn.Module, on_warning: Callable[[str], None]
) -> None:
    """Load the pretrained weights of a request, or warn where a model could take some."""
    if request.face_trunk is not None:
        load_face_trunk(model, request.face_trunk)
    elif takes_published_weights(model):
        on_warning(_FROM_SCRATCH.format(request.model))


class _Run:
    """One training: a model, its data, its loop, and its files."""

    def __init__(
        self,
        request: TrainRequest,
        model: nn.Module,
        splits: Splits,
        device: torch.device,
        group: Group,
    ) -> None:
        self.request, self.splits, self.device, self.group = request, splits, device, group
        data = splits["train"]
        people = people_of_batch(request, model, data)
        rng = np.random.default_rng([request.seed, group.rank])
        self.batches = BatchMaker(data, people, request.each, rng)
        self.validation = Validation(model, splits["validation"], device, VALIDATED)
        self.config = train_config(request, model, data, people * request.each, group)
        self.trainer = Trainer(model, self.config, device=device, group=group)
        self.resume_key = resume_key(request, model, data, people, self.config, group)
        self.prefetcher = BatchPrefetcher.for_device(self.batches, device)
        self.log: TrainingLog | None = None

    def run(self, warn: Callable[[str], None]) -> TrainResult | None:
        """Start or resume, train to the end, and plot the curves."""
        torch.manual_seed(self.request.seed + 1 + self.group.rank)
        with self.prefetcher:
            if self.request.resume:
                self._resume()
            else:
                if self.group.first:
                    self.request.folder.mkdir(parents=True, exist_ok=True)
                self._write_state()  # of step 0, so that there is one from the beginning
            if not tensorboard_is_there():
                warn(_WITHOUT.format("TensorBoard", "its logs are"))
            with contextlib.ExitStack() as open_files:
                if self.group.first:
                    log = TrainingLog(self.request.folder, self.trainer.step, self.config.steps)
                    self.log = open_files.enter_context(log)
                try:
                    fit(self.trainer, self.prefetcher, self.validation, self)
                except NotFinite as error:
                    raise self._diverged(error) from error
        return self._finish(warn) if self.group.first else None

    def _resume(self) -> None:
        path = self.request.folder / STATE
        state = read_state(path)
        require_same(path, state.values["config"], self.resume_key)
        self.trainer.restore(state)
        own = state.values["processes"][self.group.rank]
        self.prefetcher.restore(own["batches"])
        restore_random_state(own["random"], self.device)

    def on_step(self, progress: Progress) -> None:
        """Log a step."""
        if self.log is not None:
            self.log.on_step(progress)

    def on_validation(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        """Log a validation, write the checkpoint if it is the best, and then the state."""
        if self.log is not None:
            self.log.on_validation(step, scores, best=best)
            if best:
                model = self.trainer.model
                save_checkpoint(self.request.out, self.request.model, model, self._record())
        self._write_state()

    def _record(self) -> dict[str, Any]:
        best = self.trainer.best
        shares = known_shares(cast(Any, self.trainer.model).settings, self.splits["train"])
        return {
            **self.request.record,
            **{key: self.resume_key[key] for key in _RECORDED},
            "people": {
                name: [split.names[number] for number in split.people.tolist()]
                for name, split in self.splits.items()
            },
            **({"private_attributes": shares} if shares else {}),
            "best_step": best and best.step,
            "scores": best and plain_numbers(best.scores),
        }

    def _write_state(self) -> None:
        own = {"batches": self.prefetcher.state(), "random": random_state(self.device)}
        processes = self.group.gather(json.dumps(own).encode())
        if self.group.first:
            state = self.trainer.state()
            extra = {"config": self.resume_key, "processes": [json.loads(p) for p in processes]}
            write_state(
                self.request.folder / STATE, State(state.tensors, {**state.values, **extra})
            )

    def _diverged(self, error: NotFinite) -> Diverged:
        """Write the people and files of the batches of the step, and return the error."""
        rank = f"-{self.group.rank}" if self.group.rank else ""
        path = self.request.folder / f"{DIVERGED}{rank}.json"
        batches = [_describe(self.batches, self.splits["train"], plan) for plan in error.plans]
        found = {"step": error.step, "terms": plain_numbers(error.terms), "batches": batches}
        path.write_text(json.dumps(found, indent=1), "utf-8")
        return Diverged(
            f"In step {error.step} a loss or a weight became NaN or infinite; "
            f"{printable(path)} names the people and files of the batch that made it so. Mend "
            "them, or train with a smaller --rate or with --clip 1."
        )

    def _finish(self, warn: Callable[[str], None]) -> TrainResult:
        best = self.trainer.best
        if best is None:
            raise Diverged("No validation gave a score that is a number; no checkpoint was kept.")
        self._calibrate()
        log, curves = self.request.folder / LOG, None
        if matplotlib_is_there():
            curves = self.request.folder / CURVES
            plot_curves(log, curves, f"{self.request.model}: {self.request.out.name}")
        else:
            warn(_WITHOUT.format("matplotlib", "the curves are"))
        return TrainResult(
            self.request.out,
            self.request.model,
            self.config.steps,
            best.step,
            plain_numbers(best.scores),
            {name: len(split.people) for name, split in self.splits.items()},
            log,
            curves,
        )

    def _calibrate(self) -> None:
        """Write calibrations into the best checkpoint, fitted on the validation people."""
        best = load_checkpoint(self.request.out, MODELS)
        network = best.network.to(self.device)
        validation = Validation(network, self.splits["validation"], self.device, VALIDATED)
        put_record(self.request.out, {**best.record, RECORD: validation.calibrated()})


def _ignore(sentence: str) -> None:
    """Warn in no process but the first."""


def _read_in_turn(read: Callable[[Any], Splits], settings: Any, group: Group) -> Splits:
    """Let the first process prepare the data, so that the others find it prepared."""
    if not group.first:
        group.wait()
    splits = read(settings)
    if group.first:
        group.wait()
    data = splits["validation"]
    if len(np.intersect1d(data.faces.labels, data.voices.labels)) < 2:
        what = "people with both a face and a voice" if data.shared == "person" else "genders"
        raise BadRequest(
            f"The validation split has fewer than two {what}, so no score can choose the best "
            "step; use another --split."
        )
    return splits


def _describe(batches: BatchMaker, data: DataSet, plan: Any) -> dict[str, Any]:
    """The people and files of a batch by modality, and the files whose inputs are not finite."""
    batch = batches.fill(plan)
    found: dict[str, Any] = {}
    for name, side, chosen, inputs in (
        ("faces", data.faces, plan.faces, batch.faces.inputs),
        ("voices", data.voices, plan.voices, batch.voices.inputs),
    ):
        finite = inputs.flatten(1).isfinite().all(1).tolist()
        files = side.origins(chosen)
        found[name] = {
            "people": [data.names[number] for number in side.people[chosen].tolist()],
            "files": files,
            "not_finite": [file for file, fine in zip(files, finite, strict=True) if not fine],
        }
    return found
