"""Small paired data of frozen features, in memory and as a file, and what a training left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from avsearch.models.layers.batch import UNKNOWN
from trainer.data.dataset import DataSet, Side
from trainer.data.sources import FeatureSource
from trainer.data.splits import Split, split
from trainer.training.config import STATE, TrainRequest

TINY = {"widths": "8", "dim": "8"}  # a model of features that trains in milliseconds a step


def features(people: int, each: int, *widths: int) -> list[NDArray[np.float32]]:
    """For each width, features (people * each, width) that say noisily whose they are."""
    rng = np.random.default_rng(5)
    hidden = np.repeat(rng.standard_normal((people, 4)), each, axis=0)
    return [
        (hidden @ rng.standard_normal((4, w)) + 0.5 * rng.standard_normal((people * each, w)))
        .astype(np.float32)
        for w in widths
    ]  # fmt: skip


def paired_set(people: int = 20, each: int = 4) -> DataSet:
    """People who have faces (6,) and voices (5,) alike."""
    who = np.repeat(np.arange(people), each)
    sides = [
        Side(
            FeatureSource(values, [f"{modality}{row}" for row in range(len(who))]),
            np.arange(len(who)),
            who,
            who,
            who % 2,
            np.full_like(who, UNKNOWN),
        )
        for modality, values in zip(("face", "voice"), features(people, each, 6, 5), strict=True)
    ]
    return DataSet(sides[0], sides[1], tuple(f"person {n:02d}" for n in range(people)))


def paired_parts(people: int = 20, each: int = 4) -> dict[Split, DataSet]:
    """The same with six people to validate and two to test."""
    return split(paired_set(people, each), "last:6,2")


def write_features(path: Path, people: int = 20, each: int = 4, **left_out: bool) -> Path:
    """The same as a file; ``faces=False`` leaves that modality out."""
    arrays: dict[str, Any] = {}
    for name, values in zip(("face", "voice"), features(people, each, 6, 5), strict=True):
        if left_out.get(f"{name}s", True):
            arrays[f"{name}s"] = values
            arrays[f"{name}_paths"] = [
                f"person {row // each:02d}/{name}{row}" for row in range(len(values))
            ]
    np.savez(path, **arrays)
    return path


def request(out: Path, **changes: Any) -> TrainRequest:
    """A training of 24 steps that validates every 6."""
    return TrainRequest(
        **{"model": "adsm", "out": out, "words": TINY, "steps": 24, "every": 6, "batch": 8}
        | changes
    )


def left_by(out: Path) -> dict[str, Any]:
    """Everything that a training left: its checkpoint, its state, its log."""
    folder = out.with_suffix(".training")
    return {
        "checkpoint": {k: v.tobytes() for k, v in load_file(out).items()} if out.exists() else None,
        "state": {k: v.tobytes() for k, v in load_file(folder / STATE).items()},
        "log": [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()],
    }


def silent(sentence: str) -> None:
    """Take a note and say nothing."""
