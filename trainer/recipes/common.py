"""What the recipes share: embedding a part of a training set, and watching a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from avsearch.models.adsm import ADSM
from avsearch.models.checkpoint import save_checkpoint
from avsearch.models.frontends import face_pixels, voice_windows
from trainer.evaluate import Embeddings, label_map, person_map, same_person_auc
from trainer.loop import Progress
from trainer.recipes.resident import Side, TrainingSet

_ROWS = 64


def thin(side: Side[Any], each: int, people: int) -> Side[Any]:
    """The first ``each`` items of at most ``people`` people, those evenly spread over all."""
    everyone = np.unique(side.people)
    chosen = everyone[np.linspace(0, len(everyone) - 1, min(people, len(everyone))).astype(int)]
    return side.take(np.concatenate([np.flatnonzero(side.people == p)[:each] for p in chosen]))


@torch.inference_mode()
def embed_set(
    model: ADSM, data: TrainingSet, face_size: int, seconds: float
) -> tuple[Embeddings, Embeddings]:
    """Embeddings of all faces and, of each voice, its first window; no augmentation."""
    model.eval()
    faces = [face_pixels(item, face_size) for item in data.faces.items]
    voices = [
        voice_windows(item.astype(np.float32) / np.float32(32768), seconds)[0]
        for item in data.voices.items
    ]
    return (
        Embeddings(_embed(model.embed_face, faces), data.faces.people, data.faces.labels),
        Embeddings(_embed(model.embed_voice, voices), data.voices.people, data.voices.labels),
    )


def validation_scores(faces: Embeddings, voices: Embeddings, *, paired: bool) -> dict[str, float]:
    """Scores by name; ``score``, their mean, decides which step is kept.

    Retrieval across the modalities by person where people are ``paired``, else by label; and
    within each modality telling one person from another.
    """
    across = person_map if paired else label_map
    scores = {
        "voice_to_face_map": across(voices, faces).value,
        "face_to_voice_map": across(faces, voices).value,
        "face_auc": same_person_auc(faces),
        "voice_auc": same_person_auc(voices),
    }
    return scores | {"score": float(np.mean(list(scores.values())))}


class Watch:
    """Prints what each validation saw and keeps the newest model on disk."""

    def __init__(self, model: nn.Module, path: Path, record: Mapping[str, Any]) -> None:
        self._model, self._path, self._record = model, path, record

    def __call__(self, progress: Progress) -> None:
        """Report one validation."""
        terms = " ".join(f"{name} {value:.3f}" for name, value in progress.terms.items())
        scores = " ".join(f"{name} {value:.3f}" for name, value in progress.scores.items())
        click.echo(f"step {progress.step}: {terms}; {scores}")
        save_checkpoint(self._path, "adsm", self._model, self._record)


def _embed(embed: Any, rows: list[NDArray[Any]]) -> NDArray[np.float32]:
    parts = [
        embed(torch.from_numpy(np.stack(rows[start : start + _ROWS])))
        for start in range(0, len(rows), _ROWS)
    ]
    vectors: NDArray[np.float32] = torch.cat(parts).numpy()
    return vectors
