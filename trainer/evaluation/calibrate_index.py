"""Calibration of a checkpoint on an index of people who took no part in its training."""

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
from trainer.evaluation.items import index_items


def calibrate_on_index(index: Index, model: str | None) -> tuple[Path, dict[str, Any]]:
    """Fit the calibrations of a model on an index's items and write them into its checkpoint.

    The items of the validation people of the checkpoint's record count; where the index has none
    of them, the items of all people outside the training split.

    Returns:
        The checkpoint, and what was written, by direction.

    Raises:
        ForeignSpace: The index was made by another model.
        BadRequest: Fewer than two people are left.
    """
    path = find_weights(model or index.notes().get("model") or None)
    if model_space(path) != index.space:
        raise ForeignSpace(
            f"The index was not made by {printable(path)}; index the validation people with it."
        )
    record, evaluated = model_record(path), index_items(index)
    items = evaluated.items
    train, validation = (set(people_of(record, side)) for side in ("train", "validation"))
    chosen = set(items.names) & validation or set(items.names) - train

    def embeddings(modality: Modality) -> Embeddings:
        own = np.flatnonzero(
            [
                each == modality and items.names[who] in chosen
                for each, who in zip(items.modalities, items.people.tolist(), strict=True)
            ]
        )
        people = items.people[own]
        return Embeddings(evaluated.scorer.vectors[own], people, people)

    found = calibrated(embeddings("face"), embeddings("voice"))
    if not found:
        raise BadRequest(
            "The index has no two people outside the model's training with items to compare; "
            "index people for validation."
        )
    put_record(path, {**record, RECORD: found})
    return path, found
