"""Find checkpoint files, and read their space and record without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from indexer.errors import BadRequest
from indexer.runtime.atomic import absolute
from indexer.types import Metric, Space
from indexer.unicode_names import normalised

WEIGHTS = absolute(__file__).parents[1] / "weights"
DEFAULT = "adsm"
WEIGHTS_HASH = "weights_sha256"  # the metadata key for the hash of a file's own weights

# The name, torch's name of the type, shape and bytes of a tensor.
Part = tuple[str, str, tuple[int, ...], bytes]


def find_weights(name: str | Path | None, kind: str = "model") -> Path:
    """Return the absolute path of a checkpoint.

    Args:
        name: A shipped model's name or a file; None is the default model.
        kind: The kind of model, for the message.

    Raises:
        BadRequest: There is no such model.
    """
    name = DEFAULT if name is None else name
    shipped = {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}
    if str(name) in shipped:
        return shipped[str(name)]
    path = Path(name)
    if path.suffix or path.exists():
        return absolute(path)
    of_kind = shipped if kind == "model" else {}
    known = f"shipped are {', '.join(of_kind)}, or" if of_kind else "none is shipped;"
    raise BadRequest(f"There is no {kind} {str(name)!r}; {known} name a checkpoint file.")


def model_address(name: str | Path | None) -> str:
    """Return a name that finds a model from any working folder; empty for the default."""
    if name is None:
        return ""
    path = find_weights(name)
    return path.stem if path.parent == WEIGHTS else str(path)


def model_space(path: Path, *, metric: Metric = "cosine") -> Space | None:
    """Return the space of a checkpoint file, or None if it cannot be read.

    The hash in the file's metadata is verified only when the weights are loaded; without one the
    weights are hashed here.
    """
    try:
        with safe_open(path, framework="np") as file:
            facts = file.metadata()
            digest = facts.get(WEIGHTS_HASH)
            if not digest:
                arrays = ((key, file.get_tensor(key)) for key in sorted(file.keys()))
                parts = ((k, f"torch.{a.dtype}", a.shape, a.tobytes()) for k, a in arrays)
                digest = hash_parts(parts, facts["settings"])
        return Space(facts["model"], digest, int(json.loads(facts["settings"])["dim"]), metric)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


def model_record(path: Path) -> dict[str, Any]:
    """Return the record of a checkpoint file; empty if it cannot be read."""
    try:
        with safe_open(path, framework="np") as file:
            return dict(json.loads(file.metadata()["record"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return {}


def people_of(record: Mapping[str, Any], side: str) -> list[str]:
    """Return the people of a split, by a checkpoint's record, without the galleries' names."""
    people = record.get("people", {})
    names = people.get(side, []) if isinstance(people, dict) else []
    return [normalised(str(name).rpartition("/")[2]) for name in names]


def hash_parts(parts: Iterable[Part], settings: str) -> str:
    """Return the SHA-256 of the weights, by name, and of the settings, as JSON.

    The record is left out, so a correction there does not change the space.
    """
    digest = hashlib.sha256(json.dumps(json.loads(settings), sort_keys=True).encode())
    for key, kind, shape, content in parts:
        digest.update(f"{key} {kind} {tuple(shape)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
