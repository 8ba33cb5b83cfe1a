"""Calibrating a checkpoint on an index of people who took no part in its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from avsearch.calibration import RECORD
from avsearch.models.checkpoint import put_record
from avsearch.runtime.weights import find_weights, model_record, model_space, people_of
from indexer.errors import BadRequest, ForeignSpace, printable
from indexer.index import Index
from indexer.types import Modality
from trainer.evaluation.calibration import calibrated
from trainer.evaluation.embedding_map import Embeddings
from trainer.evaluation.items import EvalItems, material_of


def calibrate_on_index(index: Index, model: str | None) -> tuple[Path, dict[str, Any]]:
    """Fit the calibrations of a model on an index's items and write them into its checkpoint.

    Those count whom the checkpoint's record calls validation people; where it calls nobody of
    the index so, all whom it does not call trained on. Returns the checkpoint and what was
    written, by direction. Raises ForeignSpace for an index of another model and BadRequest where
    no two people are left.
    """
    path = find_weights(model or index.notes().get("model") or None)
    if model_space(path) != index.space:
        raise ForeignSpace(
            f"The index was not made by {printable(path)}; index the validation people with it."
        )
    record, material = model_record(path), material_of(index)
    kept = _validating(record, material.items.names)
    found = calibrated(*(_side(material, modality, kept) for modality in ("face", "voice")))
    if not found:
        raise BadRequest(
            "The index has no two people outside the model's training with items to compare; "
            "index people for validation."
        )
    put_record(path, {**record, RECORD: found})
    return path, found


def _validating(record: dict[str, Any], names: tuple[str, ...]) -> set[str]:
    """Of these people, by name, those who may be calibrated on."""
    train, validation = (set(people_of(record, side)) for side in ("train", "validation"))
    return set(names) & validation or set(names) - train


def _side(material: EvalItems, modality: Modality, kept: set[str]) -> Embeddings:
    items = material.items
    own = np.flatnonzero(
        [
            each == modality and items.names[who] in kept
            for each, who in zip(items.modalities, items.people.tolist(), strict=True)
        ]
    )
    people = items.people[own]
    return Embeddings(material.scorer.vectors[own], people, people)
