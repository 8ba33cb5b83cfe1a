"""The state of a training on disk, from which it continues exactly: safetensors and JSON.

One file holds every number that a step reads or changes: the weights, both optimizers, the random
number generators, the state of the batches, and the best score so far.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from indexer.errors import BadRequest, printable
from indexer.runtime.atomic import replacing, require_readable

FORMAT = "avsearch-training-1"


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """Tensors by name, and other values as JSON takes them."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def write_state(path: Path, state: State) -> None:
    """Write a state whole or not at all, and flush it to the disk."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.tensors.items()}
    with replacing(path) as partial:
        save_file(tensors, partial, {"format": FORMAT, "values": json.dumps(state.values)})
        with partial.open("rb") as file:
            os.fsync(file.fileno())


def read_state(path: Path) -> State:
    """Read a state; raise BadRequest where it is missing, cut short, or another file."""
    if not path.is_file():
        raise BadRequest(
            f"There is no training to resume: {printable(path)} is not there; "
            "start it without --resume."
        )
    require_readable(path)
    unusable = (
        f"{printable(path)} is cut short, or is not the state of a training; "
        "remove its folder and train again."
    )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadRequest(unusable) from error
    if metadata.get("format") != FORMAT:
        raise BadRequest(unusable)
    return State(tensors, dict(json.loads(metadata["values"])))


def random_state(device: torch.device) -> list[str]:
    """Return the states of torch's random generators as text: of the CPU, and of a GPU."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return [base64.b64encode(state.numpy().tobytes()).decode() for state in states]


def restore_random_state(texts: list[str], device: torch.device) -> None:
    """Set torch's random generators to states from :func:`random_state`."""
    states = [
        torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8) for text in texts
    ]
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


def optimizer_state(optimizer: torch.optim.Optimizer, name: str) -> State:
    """Return an optimizer's state, with each tensor under ``name.parameter.quantity``."""
    whole = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for parameter, quantities in whole["state"].items():
        for quantity, value in quantities.items():
            key = f"{name}.{parameter}.{quantity}"
            (tensors if isinstance(value, Tensor) else rest)[key] = value
    return State(tensors, {"groups": whole["param_groups"], "rest": rest})


def restore_optimizer(optimizer: torch.optim.Optimizer, name: str, state: State) -> None:
    """Set an optimizer to a state from :func:`optimizer_state`, among other tensors."""
    slots: dict[int, dict[str, Any]] = {}
    for key, value in {**state.tensors, **state.values["rest"]}.items():
        owner, _, rest = key.partition(".")
        if owner == name:
            parameter, _, quantity = rest.partition(".")
            slots.setdefault(int(parameter), {})[quantity] = value
    groups = [
        {key: tuple(value) if key == "betas" else value for key, value in group.items()}
        for group in state.values["groups"]
    ]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
