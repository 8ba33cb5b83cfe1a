"""The request of a training: its settings from words, its checks, and the loop's configuration."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import typing
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
FROM_DATA = ("classes", "face_features", "voice_features")  # settings that the data decides
_VALIDATIONS = 10  # at least, in a training
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclasses.dataclass(frozen=True, slots=True)
class TrainRequest:
    """The request of a training; the model's paper decides what is None.

    ``batch`` is the number of items of each modality in a batch, ``each`` the items of every
    person in it. ``words`` are settings of the model by name, ``face_trunk`` a file of weights
    that a ResNet for faces begins with. ``record`` goes into the checkpoint.
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
        """The folder of everything but the checkpoint."""
        return self.out.with_suffix(".training")


def model_class(name: str) -> Any:
    """Return the model class of a paper by its name."""
    if name not in MODELS:
        raise BadRequest(f"There is no model {name!r} to train; there are {', '.join(MODELS)}.")
    return MODELS[name]


def make_settings(kind: Any, words: Mapping[str, str], *, small: bool) -> Any:
    """Return settings of a dataclass, the small ones if wanted, with values from words by name.

    Raises:
        BadRequest: A setting is unknown, or a word is no value of its type.
    """
    types = typing.get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind) if f.name not in FROM_DATA]
    changes = {}
    for name, word in words.items():
        if name in FROM_DATA:
            raise BadRequest(f"--set {name}: the data decides it; leave it out.")
        if name not in known:
            raise BadRequest(f"--set {name}: unknown setting; there are {', '.join(known)}.")
        try:
            changes[name] = parse(types[name], word)
        except ValueError as error:
            raise BadRequest(f"--set {name}={word}: {error}") from error
    try:
        return dataclasses.replace(kind.small() if small else kind(), **changes)
    except ValueError as error:  # settings that do not go together
        raise BadRequest(f"--set: {error}") from error


def parse(kind: Any, word: str) -> Any:
    """Return a word as a value of a type: a number, bool, str, Literal, or a tuple of one of them.

    Raises:
        ValueError: The word is no such value; the message says what it should be.
    """
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(parse(inner, part) for part in word.split(",") if part)
    if typing.get_origin(kind) is typing.Literal or kind is bool:
        choices = _BOOLEANS if kind is bool else {str(c): c for c in typing.get_args(kind)}
        word = word.lower() if kind is bool else word
        if word not in choices:
            raise ValueError(f"it is one of {', '.join(choices)}.")
        return choices[word]
    if kind is str:
        return word
    try:
        value = int(word) if kind is int else float(word)
    except ValueError as error:
        raise ValueError("it is a whole number." if kind is int else "it is a number.") from error
    if not math.isfinite(value):
        raise ValueError("it is a finite number.")
    return value


def fit_settings(settings: Any, data: DataSet) -> Any:
    """Return settings with the classes and the feature shapes of the data."""
    decided = {
        "classes": data.classes,
        "face_features": data.faces.source.features,
        "voice_features": data.voices.source.features,
    }
    names = {field.name for field in dataclasses.fields(settings)}
    return dataclasses.replace(settings, **{k: v for k, v in decided.items() if k in names})


def check_request(request: TrainRequest) -> None:
    """Raise BadRequest for a request that is wrong whatever the data."""
    if request.out.suffix != ".safetensors":
        raise BadRequest(f"--out {printable(request.out)}: name a file that ends in .safetensors.")
    if request.face_trunk is not None:
        read_face_trunk(request.face_trunk)
    if request.resume:
        read_state(request.folder / STATE)
    elif (request.folder / STATE).exists() or request.out.exists():
        raise BadRequest(
            f"{printable(request.out)} or its training exists already; continue it with --resume, "
            "name another file, or remove both."
        )
    if request.epochs is not None and request.steps is not None:
        raise BadRequest("--epochs and --steps say the same thing; give one of them.")


def device_of(request: TrainRequest) -> torch.device:
    """Return the device; raise BadRequest where it, or the precision on it, is not available."""
    device = pick_device(request.device)
    if request.precision == "float16" and device.type != "cuda":
        raise BadRequest("--precision float16 needs a GPU; use bfloat16 or float32.")
    return device


def people_of_batch(request: TrainRequest, model: Any, data: DataSet) -> int:
    """Return the number of people in a batch, with ``each`` items of either modality of every one.

    The paper's batch is made smaller where there are fewer people; a requested one is not.
    """
    there = [len(np.unique(side.people)) for side in (data.faces, data.voices)]
    if request.batch is None:
        usual = max(2, int(model.schedule().batch) // request.each)
        return min(usual, *there) if data.shared == "gender" else min(usual, max(there))
    people, rest = divmod(request.batch, request.each)
    if rest or people < 2:
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


def train_config(
    request: TrainRequest, model: Any, data: DataSet, batch: int, group: Group
) -> TrainConfig:
    """Return the loop's configuration; an epoch has as many items as the larger modality."""
    items = batch * request.accumulate * group.world
    epoch = math.ceil(max(len(data.faces), len(data.voices)) / items)
    epochs = model.schedule().epochs if request.epochs is None else request.epochs
    steps = max(1, round(epochs * epoch)) if request.steps is None else request.steps
    every = request.every or max(1, min(epoch, steps // _VALIDATIONS))
    return TrainConfig(
        steps, every, request.accumulate, request.clip, request.precision, request.rate
    )


def resume_key(
    request: TrainRequest, model: Any, data: DataSet, people: int, config: TrainConfig, group: Group
) -> dict[str, Any]:
    """Return the values that must be the same when a training is resumed."""
    key = {
        "data": _fingerprint(data),
        "model": request.model,
        **{f"--set {k}": value for k, value in dataclasses.asdict(model.settings).items()},
        "--face-trunk": request.face_trunk and _sha256(request.face_trunk),
        "seed": request.seed,
        "batch": people * request.each,
        "each": request.each,
        **dataclasses.asdict(config),
        "processes": group.world,
    }
    plain: dict[str, Any] = json.loads(json.dumps(key))  # as it is read from the file
    return plain


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fingerprint(data: DataSet) -> str:
    digest = hashlib.sha256("\n".join(data.names).encode())
    for side in (data.faces, data.voices):
        for column in (side.rows, side.people, side.labels):
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def require_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise BadRequest, naming the first difference, where a training cannot be resumed exactly."""
    for key in now:
        if before.get(key) != now[key]:
            there = "other data" if key == "data" else f"{key} {before.get(key)}, not {now[key]}"
            raise BadRequest(
                f"The training of {printable(path.parent)} was started with {there}; resume it "
                "with the command it was started with, or train under another name."
            )
