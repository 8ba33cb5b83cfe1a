"""What a training is asked for, checked, and in the words of the loop."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avsearch.models import MODELS
from avsearch.models.pretrained import read_face_trunk
from avsearch.models.torch_embedder import pick_device
from indexer.errors import BadRequest, printable
from indexer.runtime.atomic import absolute
from trainer.data.dataset import DataSet
from trainer.training.distributed import Group
from trainer.training.loop import Precision, TrainConfig
from trainer.training.resume import read_state

STATE = "state.safetensors"
_VALIDATIONS = 10  # at least so many in a training


@dataclasses.dataclass(frozen=True, slots=True)
class TrainRequest:
    """What a training is asked for; the model's paper decides what is None.

    ``batch`` are items of each modality in a batch, ``each`` of every person in it; ``words`` are
    settings of the model by name, ``face_trunk`` a file of weights that a ResNet for faces begins
    with. ``record`` goes into the checkpoint.
    """

    model: str
    out: Path
    epochs: float | None = None
    steps: int | None = None
    small: bool = False
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)
    face_trunk: Path | None = None
    batch: int | None = None
    each: int = 2
    seed: int = 0
    device: str = "auto"
    precision: Precision = "float32"
    accumulate: int = 1
    clip: float | None = None
    rate: float = 1.0
    every: int | None = None
    resume: bool = False
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", absolute(self.out))

    @property
    def folder(self) -> Path:
        """Where everything but the checkpoint goes."""
        return self.out.with_suffix(".training")


def model_class(name: str) -> Any:
    """The model of a paper by its name."""
    if name not in MODELS:
        raise BadRequest(f"There is no model {name!r} to train; there are {', '.join(MODELS)}.")
    return MODELS[name]


def check_request(request: TrainRequest) -> None:
    """Raise BadRequest for what the request alone says is wrong."""
    if request.out.suffix != ".safetensors":
        raise BadRequest(f"--out {printable(request.out)}: name a file that ends in .safetensors.")
    if request.face_trunk is not None:
        read_face_trunk(request.face_trunk)
    if request.resume:
        read_state(request.folder / STATE)
    elif (request.folder / STATE).exists() or request.out.exists():
        raise BadRequest(
            f"{printable(request.out)} or its training is there already; go on with --resume, "
            "name another file, or remove both."
        )
    if request.epochs is not None and request.steps is not None:
        raise BadRequest("--epochs and --steps say the same thing twice; give one of them.")


def device_of(request: TrainRequest) -> torch.device:
    """Where to train; BadRequest where that, or the precision on it, cannot be had."""
    device = pick_device(request.device)
    if request.precision == "float16" and device.type != "cuda":
        raise BadRequest("--precision float16 needs a GPU; ask for bfloat16 or float32.")
    return device


def people_of_batch(request: TrainRequest, model: Any, data: DataSet) -> int:
    """How many people a batch shows, ``each`` items of either modality of every one.

    The paper's batch is made smaller where there are fewer; one that was asked for is not.
    """
    there = [len(np.unique(side.people)) for side in (data.faces, data.voices)]
    if request.batch is None:
        asked = max(2, int(model.schedule().batch) // request.each)
        return min(asked, *there) if data.shared == "gender" else min(asked, max(there))
    people, left_over = divmod(request.batch, request.each)
    if left_over or people < 2:
        raise BadRequest(
            f"--batch {request.batch} is not two or more people of {request.each} items each; "
            "change it or --each."
        )
    if people > max(there):
        raise BadRequest(
            f"--batch {request.batch} is larger than the training set: {people} people of "
            f"{request.each} items each, where there are {max(there)} people; make it "
            f"{max(there) * request.each} or less."
        )
    return people


def course_of(
    request: TrainRequest, model: Any, data: DataSet, batch: int, group: Group
) -> TrainConfig:
    """How long: an epoch shows as many items as the larger modality has."""
    of_a_step = batch * request.accumulate * group.world
    epoch = math.ceil(max(len(data.faces), len(data.voices)) / of_a_step)
    epochs = model.schedule().epochs if request.epochs is None else request.epochs
    steps = max(1, round(epochs * epoch)) if request.steps is None else request.steps
    every = request.every or max(1, min(epoch, steps // _VALIDATIONS))
    return TrainConfig(
        steps, every, request.accumulate, request.clip, request.precision, request.rate
    )


def config_of(
    request: TrainRequest, model: Any, data: DataSet, people: int, course: TrainConfig, group: Group
) -> dict[str, Any]:
    """What must be the same for a training to be resumed."""
    config = {
        "data": _fingerprint(data),
        "model": request.model,
        **{f"--set {k}": value for k, value in dataclasses.asdict(model.settings).items()},
        "--face-trunk": request.face_trunk and _digest(request.face_trunk),
        "seed": request.seed,
        "batch": people * request.each,
        "each": request.each,
        **dataclasses.asdict(course),
        "processes": group.world,
    }
    plain: dict[str, Any] = json.loads(json.dumps(config))  # as it comes back from the file
    return plain


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fingerprint(data: DataSet) -> str:
    digest = hashlib.sha256("\n".join(data.names).encode())
    for side in (data.faces, data.voices):
        for column in (side.rows, side.people, side.labels):
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def require_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise BadRequest, naming the first difference, if a training cannot go on exactly."""
    for key in now:
        if before.get(key) != now[key]:
            there = "other data" if key == "data" else f"{key} {before.get(key)}, not {now[key]}"
            raise BadRequest(
                f"The training of {printable(path.parent)} was started with {there}; resume it "
                "with the command it was started with, or train anew under another name."
            )
