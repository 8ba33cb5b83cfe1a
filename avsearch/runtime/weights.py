"""Where trained models lie, and the space of one, told from its file without torch."""

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
WEIGHTS_HASH = "weights_sha256"  # where a checkpoint file says the hash of its own weights

Part = tuple[
    str, str, tuple[int, ...], bytes
]  # a tensor's name, type as torch says it, shape, bytes


def find_weights(name: str | Path | None, kind: str = "model") -> Path:
    """The checkpoint file of a shipped model's name, or the file itself; an absolute path."""
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
    """How to find a model again from any working folder; empty for the default."""
    if name is None:
        return ""
    path = find_weights(name)
    return path.stem if path.parent == WEIGHTS else str(path)


def model_space(path: Path, *, metric: Metric = "cosine") -> Space | None:
    """The space of a checkpoint file, the one its loading gives.

    None where that cannot be told: loading it says what is wrong. What the file says of its
    weights is believed here, and proved when they are loaded; where it says nothing they are read.
    """
    try:
        with safe_open(path, framework="np") as file:
            facts = file.metadata()
            digest = facts.get(WEIGHTS_HASH) or _hash_of(file, facts["settings"])
        return Space(facts["model"], digest, int(json.loads(facts["settings"])["dim"]), metric)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _hash_of(file: Any, settings: str) -> str:
    arrays = ((key, file.get_tensor(key)) for key in sorted(file.keys()))
    return hash_parts(((k, f"torch.{a.dtype}", a.shape, a.tobytes()) for k, a in arrays), settings)


def model_record(path: Path) -> dict[str, Any]:
    """The record of a checkpoint file; empty where there is none to be read."""
    try:
        with safe_open(path, framework="np") as file:
            return dict(json.loads(file.metadata()["record"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return {}


def people_of(record: Mapping[str, Any], side: str) -> list[str]:
    """People of a side of a checkpoint's data; names of galleries before a slash are dropped."""
    people = record.get("people", {})
    names = people.get(side, []) if isinstance(people, dict) else []
    return [normalised(str(name).rpartition("/")[2]) for name in names]


def hash_parts(parts: Iterable[Part], settings: str) -> str:
    """SHA-256 of the weights, by name, and of the settings that say how to use them, as JSON.

    The record has no part in it, so that a correction there does not change the space.
    """
    digest = hashlib.sha256(json.dumps(json.loads(settings), sort_keys=True).encode())
    for key, kind, shape, content in parts:
        digest.update(f"{key} {kind} {tuple(shape)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
