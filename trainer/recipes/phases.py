"""What the recipes share: trainings in phases, and embedding a part of a training set."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

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
from trainer.data.pcm import waveform
from trainer.evaluation.embedding_map import Embeddings, label_map, person_map, same_person_auc
from trainer.recipes.in_memory import Side, TrainingSet
from trainer.training.loop import Progress, TrainConfig, Trainer, fit
from trainer.training.prefetch import BatchPrefetcher

_ROWS = 16  # at a time; of 64 windows, activations no longer fit into the caches

Embed = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True, slots=True)
class Phase:
    """A part of a training: input sizes, and a rate that falls from its peak along a cosine."""

    steps: int
    face_size: int  # pixels a side
    voice_seconds: float
    peak_rate: float
    warmup: int = 0  # steps in which the rate rises
    centred: bool = False  # train by the centres
    terms: tuple[str, ...] = ()  # the loss terms that count; all if empty

    def counts(self, term: str) -> bool:
        """Whether a loss term, or the critic called ``adversary``, takes part in this phase."""
        return not self.terms or term in self.terms

    def schedule(self, turns: int) -> Schedule:
        """The same in the loop's words; each ``turns``-th step is the critic's."""
        return Schedule(
            epochs=1,
            batch=1,
            discriminator_every=turns if self.counts("adversary") else 0,
            discriminator_alone=True,
            warmup=self.warmup / self.steps,
            cosine=True,
        )


class Maker(Protocol):
    """What makes batches of a data set in memory."""

    def make(self, face_size: int, voice_seconds: float) -> Batch:
        """The next batch, of these input sizes."""


def train(
    model: ADSM,
    phases: Sequence[Phase],
    batches: Maker,
    validate: Callable[[Phase], Mapping[str, float]],
    watch: Callable[[int, Mapping[str, float], Mapping[str, float]], None],
    *,
    every: int,
    lessons: nn.Module | None = None,
) -> None:
    """Train in phases; leave the model in the best validated state of the last one.

    ``lessons`` are what is learnt besides the paper's terms: a module that gives weighted terms
    by name of what the model encodes and of the batch, and whose parameters learn with it.

    Scores of two phases are not compared: their inputs differ. ``watch`` is told of every
    validation: the step, the last terms, the scores.
    """
    done = 0
    besides = [] if lessons is None else list(lessons.parameters())
    for phase in phases:
        optimizers = Optimizers(
            torch.optim.AdamW([*model.generator_parameters(), *besides], lr=phase.peak_rate),
            torch.optim.AdamW(model.classifier.parameters(), lr=phase.peak_rate),
        )
        trainer = Trainer(
            _InPhase(model, phase, lessons),
            TrainConfig(phase.steps, every),
            schedule=phase.schedule(model.settings.turns),
            optimizers=optimizers,
        )
        keeper = _Keeper(model, watch, done)
        with BatchPrefetcher(_PhaseBatches(batches, phase), depth=1) as ahead:
            fit(trainer, ahead, functools.partial(validate, phase), keeper)
        done += phase.steps
    model.load_state_dict(keeper.best)


class _InPhase(nn.Module):
    """A model as one phase trains it."""

    def __init__(self, model: ADSM, phase: Phase, lessons: nn.Module | None) -> None:
        super().__init__()
        self.model, self.phase, self.lessons = model, phase, lessons

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.model.encode(batch)

    def discriminator_loss(self, encoded: tuple[Tensor, Tensor]) -> Tensor:
        return self.model.discriminator_loss(encoded)

    def loss_terms(
        self, encoded: tuple[Tensor, Tensor], batch: Batch, stage: Stage
    ) -> dict[str, Tensor]:
        stage = dataclasses.replace(stage, settled=self.phase.centred)
        terms = self.model.loss_terms(encoded, batch, stage)
        if self.lessons is not None:
            terms |= self.lessons(encoded, batch)
        return {name: term for name, term in terms.items() if self.phase.counts(name)}


class _PhaseBatches:
    """A maker's batches as the loop takes them; they are made one after the other."""

    def __init__(self, maker: Maker, phase: Phase) -> None:
        self._maker, self._phase = maker, phase

    def plan(self) -> None:
        return None

    def fill(self, plan: None) -> Batch:  # noqa: ARG002 - there is only one plan
        return self._maker.make(self._phase.face_size, self._phase.voice_seconds)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        raise NotImplementedError  # a recipe is not resumed


class _Keeper:
    """Keeps the best state of a phase in memory, and tells of every validation."""

    def __init__(
        self,
        model: ADSM,
        watch: Callable[[int, Mapping[str, float], Mapping[str, float]], None],
        done: int,
    ) -> None:
        self.best: dict[str, Any] = {}
        self._model, self._watch, self._done = model, watch, done
        self._terms: Mapping[str, float] = {}

    def stepped(self, progress: Progress) -> None:
        self._terms = progress.terms

    def validated(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        self._watch(self._done + step, self._terms, scores)
        if best:
            self.best = copy.deepcopy(self._model.state_dict())


def thin(side: Side[Any], each: int, people: int) -> Side[Any]:
    """The first ``each`` items of at most ``people`` people, those evenly spread over all."""
    everyone = np.unique(side.people)
    chosen = everyone[np.linspace(0, len(everyone) - 1, min(people, len(everyone))).astype(int)]
    return side.take(np.concatenate([np.flatnonzero(side.people == p)[:each] for p in chosen]))


@torch.inference_mode()
def embed_set(
    model: ADSM, data: TrainingSet, face_size: int, seconds: float
) -> tuple[Embeddings, Embeddings]:
    """Embeddings of all faces and voices as an index would have them; no augmentation."""
    model.eval()
    faces = in_rows(model.embed_face, [face_pixels(item, face_size) for item in data.faces.items])
    voices = embed_voices(model.embed_voice, data.voices, seconds)
    return (
        Embeddings(faces, data.faces.people, data.faces.labels),
        Embeddings(voices, data.voices.people, data.voices.labels),
    )


def embed_voices(embed: Embed, voices: Side[NDArray[np.int16]], seconds: float) -> Vectors:
    """Of each voice the unit mean of the vectors of its windows."""
    windows = [voice_windows(waveform(item), seconds) for item in voices.items]
    rows = in_rows(embed, [row for own in windows for row in own])
    firsts = np.cumsum([0, *map(len, windows)])[:-1]
    return unit_means(rows, firsts)


def validation_scores(faces: Embeddings, voices: Embeddings, *, paired: bool) -> dict[str, float]:
    """Scores by name; ``score``, their mean, decides which step is kept.

    Retrieval across the modalities by person where people are ``paired``, else by label; and
    within each modality telling one person from another.
    """
    across = person_map if paired else label_map
    scores = {
        "voice_to_face_map": across(voices, faces),
        "face_to_voice_map": across(faces, voices),
        "face_auc": same_person_auc(faces),
        "voice_auc": same_person_auc(voices),
    }
    return scores | {"score": float(np.mean(list(scores.values())))}


class Watch:
    """Prints what each validation saw and keeps the newest model on disk."""

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


def in_rows(embed: Embed, rows: Iterable[NDArray[Any]]) -> Vectors:
    """The vectors (n, dim) of many inputs, some at a time."""
    left = iter(rows)
    parts = []
    while some := list(itertools.islice(left, _ROWS)):
        parts.append(embed(torch.from_numpy(np.stack(some))))
    vectors: Vectors = torch.cat(parts).numpy()
    return vectors
