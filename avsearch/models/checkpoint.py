"""Trained models on disk: one safetensors file with the settings and the record inside.

No pickle is ever read: a checkpoint is numbers and JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from avsearch.runtime.weights import WEIGHTS_HASH, hash_parts
from indexer.errors import BadRequest, printable
from indexer.runtime.atomic import replacing, require_readable
from indexer.types import Metric, Space

FORMAT = "avsearch-1"
_KEYS = {"model", "settings", "record"}


class Network(Protocol):
    """A model of a paper whose embeddings can be indexed."""

    settings: Any

    def embed_face(self, faces: Tensor) -> Tensor:
        """Return unit vectors (B, dim) of faces (B, 3, size, size) uint8."""

    def embed_voice(self, voices: Tensor) -> Tensor:
        """Return unit vectors (B, dim) of voices (B, samples) float32."""

    def eval(self) -> Self:
        """Switch to evaluation mode."""

    def to(self, device: torch.device) -> Self:
        """Move to a device."""


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model read from a file."""

    network: nn.Module
    space: Space
    record: dict[str, Any]  # the training: data, command, and the people of each split


def save_checkpoint(
    path: Path, name: str, network: nn.Module, record: Mapping[str, Any], *, half: bool = True
) -> None:
    """Write a model, its settings and its record, whole or not at all.

    Args:
        path: The file.
        name: The model's name, such as "adsm".
        network: The network; its ``settings`` are a dataclass.
        record: What the checkpoint says about its training, as JSON.
        half: Store parameters as float16.
    """
    parameters = {key for key, _ in network.named_parameters()}
    tensors = {
        key: value.detach()
        .cpu()
        .contiguous()
        .to(torch.float16 if half and key in parameters else value.dtype)
        for key, value in network.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "model": name,
        "settings": json.dumps(dataclasses.asdict(cast(Any, network).settings)),
        "record": json.dumps(dict(record)),
    }
    _write(path, tensors, metadata)


def put_record(path: Path, record: Mapping[str, Any]) -> None:
    """Replace the record of a checkpoint; weights, settings and space stay the same.

    Raises:
        BadRequest: The file cannot be read.
    """
    tensors, metadata = _read(path)
    _write(path, tensors, {**metadata, "record": json.dumps(dict(record))})


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a checkpoint; a hash that its metadata already has is not computed again."""
    digest = metadata.get(WEIGHTS_HASH) or weights_hash(tensors, metadata["settings"])
    with replacing(path) as partial:
        save_file(tensors, partial, {**metadata, WEIGHTS_HASH: digest})


def load_checkpoint(
    path: Path, models: Mapping[str, Any], *, metric: Metric = "cosine"
) -> Checkpoint:
    """Return the model of a file, its parameters as float32.

    Args:
        path: The file.
        models: The known models by name.
        metric: The metric of its space.

    Raises:
        BadRequest: The file is missing, is not an avsearch checkpoint, is cut short or changed,
            or does not fit the model it names.
    """
    tensors, metadata = _read(path)
    if metadata.get("format") != FORMAT or not metadata.keys() >= _KEYS:
        raise BadRequest(
            f"{printable(path)} is not an avsearch checkpoint; train one or name another file."
        )
    name = metadata["model"]
    if name not in models:
        raise BadRequest(
            f"{printable(path)} holds a model called {name!r}, which this version does not know."
        )
    try:
        record: dict[str, Any] = dict(json.loads(metadata["record"]))
        network: nn.Module = models[name](_settings(models[name].Settings, metadata["settings"]))
        network.load_state_dict(
            {
                key: value.float() if value.is_floating_point() else value
                for key, value in tensors.items()
            }
        )
    except (RuntimeError, TypeError, ValueError) as error:  # settings or tensors of another version
        raise BadRequest(
            f"{printable(path)} does not fit the model {name!r} of this version; train it again."
        ) from error
    digest = weights_hash(tensors, metadata["settings"])
    if metadata.get(WEIGHTS_HASH, digest) != digest:
        raise BadRequest(
            f"{printable(path)} holds other weights than it says, so it was changed or damaged; "
            "copy it again, or train it again."
        )
    space = Space(name, digest, cast(Any, network).settings.dim, metric)
    return Checkpoint(network.eval(), space, record)


def weights_hash(tensors: Mapping[str, Tensor], settings: str) -> str:
    """Return the hash of weights in memory, as :func:`avsearch.runtime.weights.hash_parts`."""
    values = ((key, tensors[key]) for key in sorted(tensors))
    parts = (
        (key, str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes())
        for key, value in values
    )
    return hash_parts(parts, settings)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise BadRequest(f"There is no checkpoint {printable(path)}; check the name.")
    require_readable(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadRequest(
            f"{printable(path)} is not a safetensors file, or is cut short ({error}); "
            "copy it or train it again."
        ) from error


def _settings(kind: type[Any], text: str) -> Any:
    values = dict(json.loads(text))
    return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
