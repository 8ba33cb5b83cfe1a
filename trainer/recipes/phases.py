"""Training in phases, and the embeddings and scores that choose a recipe's checkpoint."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avsearch.models.checkpoint import save_checkpoint
from avsearch.models.embed_media import unit_means
from avsearch.models.inputs import face_pixels, voice_windows
from avsearch.models.layers.batch import Batch
from avsearch.models.layers.trainable import Optimizers, Schedule, Stage
from avsearch.models.papers.adsm import ADSM
from indexer.types import Vectors
from trainer.data.dataset import DataSet, Side
from trainer.data.pcm import waveform
from trainer.data.sources import decoded
from trainer.evaluation.embedding_map import Embeddings, label_map, person_map, same_person_auc
from trainer.training.loop import Progress, TrainConfig, Trainer, fit
from trainer.training.prefetch import Batches, BatchPrefetcher

_ROWS = 16  # inputs of one forward pass; the activations of 64 no longer fit into the caches

Embed = Callable[[Tensor], Tensor]
OnValidation = Callable[[int, Mapping[str, float], Mapping[str, float]], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Phase:
    """A part of a training: its input sizes, and a rate that falls from a peak along a cosine."""

    steps: int
    face_size: int  # pixels a side
    voice_seconds: float
    peak_rate: float
    warmup: int = 0  # steps in which the rate rises
    centred: bool = False  # train with the class centres
    terms: tuple[str, ...] = ()  # the loss terms of this phase; all if empty

    def counts(self, term: str) -> bool:
        """Return True for a loss term, or the ``adversary``, that takes part in this phase."""
        return not self.terms or term in self.terms

    def schedule(self, turns: int) -> Schedule:
        """Return the schedule of the loop; every ``turns``-th step trains the discriminator."""
        return Schedule(
            epochs=1,
            batch=1,
            discriminator_every=turns if self.counts("adversary") else 0,
            discriminator_alone=True,
            warmup=self.warmup / self.steps,
            cosine=True,
        )


def train(
    model: ADSM,
    phases: Sequence[Phase],
    batches_of: Callable[[Phase], Batches],
    validate: Callable[[Phase], Mapping[str, float]],
    on_validation: OnValidation,
    *,
    every: int,
    auxiliary_losses: nn.Module | None = None,
) -> None:
    """Train in phases; leave the model in the best validated state of the last one.

    Scores of two phases are not compared, because their inputs differ.

    Args:
        model: The model.
        phases: The phases.
        batches_of: Gives the batches of a phase.
        validate: Gives the validation scores, ``score`` among them.
        on_validation: Called with the step, the last loss terms, and the scores.
        every: Steps between two validations.
        auxiliary_losses: Loss terms besides the paper's: a module that gives weighted terms by
            name from the encoded batch and the batch; its parameters are trained too.
    """
    done = 0
    extra = [] if auxiliary_losses is None else list(auxiliary_losses.parameters())
    for phase in phases:
        optimizers = Optimizers(
            torch.optim.AdamW([*model.generator_parameters(), *extra], lr=phase.peak_rate),
            torch.optim.AdamW(model.classifier.parameters(), lr=phase.peak_rate),
        )
        trainer = Trainer(
            _InPhase(model, phase, auxiliary_losses),
            TrainConfig(phase.steps, every),
            schedule=phase.schedule(model.settings.turns),
            optimizers=optimizers,
        )
        best = _BestState(model, on_validation, done)
        with BatchPrefetcher.for_device(batches_of(phase), trainer.device) as batches:
            fit(trainer, batches, functools.partial(validate, phase), best)
        done += phase.steps
    model.load_state_dict(best.state)


class _InPhase(nn.Module):
    """A model with the loss terms of one phase."""

    def __init__(self, model: ADSM, phase: Phase, auxiliary_losses: nn.Module | None) -> None:
        super().__init__()
        self.model, self.phase, self.auxiliary_losses = model, phase, auxiliary_losses

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.model.encode(batch)

    def discriminator_loss(self, encoded: tuple[Tensor, Tensor]) -> Tensor:
        return self.model.discriminator_loss(encoded)

    def loss_terms(
        self, encoded: tuple[Tensor, Tensor], batch: Batch, stage: Stage
    ) -> dict[str, Tensor]:
        stage = dataclasses.replace(stage, settled=self.phase.centred)
        terms = self.model.loss_terms(encoded, batch, stage)
        if self.auxiliary_losses is not None:
            terms |= self.auxiliary_losses(encoded, batch)
        return {name: term for name, term in terms.items() if self.phase.counts(name)}


class _BestState:
    """A callback that keeps the best state of a phase in memory, and reports every validation."""

    def __init__(self, model: ADSM, on_validation: OnValidation, done: int) -> None:
        self.state: dict[str, Any] = {}
        self._model, self._on_validation, self._done = model, on_validation, done
        self._terms: Mapping[str, float] = {}

    def on_step(self, progress: Progress) -> None:
        self._terms = progress.terms

    def on_validation(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        self._on_validation(self._done + step, self._terms, scores)
        if best:
            self.state = copy.deepcopy(self._model.state_dict())


def thin(side: Side, each: int, people: int) -> Side:
    """Return the first ``each`` items of at most ``people`` people, evenly spread over all."""
    everyone = np.unique(side.people)
    chosen = everyone[np.linspace(0, len(everyone) - 1, min(people, len(everyone))).astype(int)]
    return side.take(np.concatenate([np.flatnonzero(side.people == p)[:each] for p in chosen]))


@torch.inference_mode()
def embed_set(
    model: ADSM, data: DataSet, face_size: int, seconds: float
) -> tuple[Embeddings, Embeddings]:
    """Embed all faces and voices as an index does, without augmentation."""
    model.eval()
    faces = embed_inputs(
        model.embed_face, (face_pixels(face, face_size) for face in decoded(data.faces))
    )
    voices = embed_voices(model.embed_voice, data.voices, seconds)
    return (
        Embeddings(faces, data.faces.people, data.faces.labels),
        Embeddings(voices, data.voices.people, data.voices.labels),
    )


def embed_voices(embed: Embed, voices: Side, seconds: float) -> Vectors:
    """Return for each voice the unit mean of the vectors of its windows."""
    windows = [voice_windows(waveform(voice), seconds) for voice in decoded(voices)]
    rows = embed_inputs(embed, itertools.chain.from_iterable(windows))
    firsts = np.cumsum([0, *map(len, windows)])[:-1]
    return unit_means(rows, firsts)


def embed_inputs(embed: Embed, inputs: Iterable[NDArray[Any]]) -> Vectors:
    """Return the vectors (n, dim) of many inputs, computed in small batches."""
    left = iter(inputs)
    parts = []
    while batch := list(itertools.islice(left, _ROWS)):
        parts.append(embed(torch.from_numpy(np.stack(batch))))
    vectors: Vectors = torch.cat(parts).numpy()
    return vectors


def validation_scores(faces: Embeddings, voices: Embeddings, *, paired: bool) -> dict[str, float]:
    """Return scores by name; their mean, ``score``, chooses the checkpoint.

    They are the mean average precision across the modalities, by person where people are
    ``paired`` and by label elsewhere, and the verification AUC within each modality.
    """
    across = person_map if paired else label_map
    scores = {
        "voice_to_face_map": across(voices, faces),
        "face_to_voice_map": across(faces, voices),
        "face_auc": same_person_auc(faces),
        "voice_auc": same_person_auc(voices),
    }
    return scores | {"score": float(np.mean(list(scores.values())))}


class ValidationLog:
    """Prints every validation, and writes the newest model to disk."""

    def __init__(self, model: nn.Module, path: Path, record: Mapping[str, Any]) -> None:
        self._model, self._path, self._record = model, path, record

    def __call__(self, step: int, terms: Mapping[str, float], scores: Mapping[str, float]) -> None:
        """Report one validation."""
        shown = [
            " ".join(f"{name} {value:.3f}" for name, value in part.items())
            for part in (terms, scores)
        ]
        click.echo(f"step {step}: {'; '.join(shown)}")
        save_checkpoint(self._path, "adsm", self._model, self._record)
