"""The one two-player loop; it knows no paper.

A model says what its critic and its generator minimise; the loop takes turns, keeps the rates,
validates, and keeps the best state by the validation score.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from avsearch.models.batch import Batch


class Trainable(Protocol):
    """What the loop asks of a model."""

    settings: Any

    def train(self, mode: bool = True) -> Any:  # noqa: FBT001, FBT002 - torch's signature
        """Turn training behaviour on."""

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of a batch."""

    def critic_loss(self, encoded: tuple[Tensor, Tensor]) -> Tensor:
        """What the critic minimises."""

    def loss_terms(
        self, encoded: tuple[Tensor, Tensor], batch: Batch, *, centred: bool
    ) -> dict[str, Tensor]:
        """What the generator minimises, by name."""

    def state_dict(self) -> dict[str, Any]:
        """Weights by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Set the weights."""


@dataclasses.dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training: input sizes, and a rate that falls from its peak along a cosine."""

    steps: int
    face_size: int  # pixels a side
    voice_seconds: float
    peak_rate: float
    warmup: int = 0  # steps in which the rate rises
    centred: bool = False  # train by the centres, where the model has them
    terms: tuple[str, ...] = ()  # the loss terms that count; all if empty

    def counts(self, term: str) -> bool:
        """Whether a loss term, or the critic called ``adversary``, takes part in this phase."""
        return not self.terms or term in self.terms

    def rate(self, step: int) -> float:
        """The learning rate of a step of this phase."""
        if step < self.warmup:
            return self.peak_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.peak_rate * (0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2)


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """What one validation saw: the step, the loss terms of the last batch, the scores."""

    step: int
    terms: Mapping[str, float]
    scores: Mapping[str, float]


def train(
    model: Trainable,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    phases: Sequence[Phase],
    make_batch: Callable[[int, float], Batch],
    validate: Callable[[Phase], Mapping[str, float]],
    *,
    every: int,
    report: Callable[[Progress], None],
) -> None:
    """Train in turns; leave the model in the best validated state of the last phase.

    ``validate`` gives scores by name for the input sizes of a phase; the one called ``score``
    decides, larger is better. Scores of two phases are not compared: their inputs differ. Each
    ``settings.turns``-th step trains the critic, all others the generator (ADSM, Algorithm 1).
    """
    total = sum(phase.steps for phase in phases)
    step, best = 0, model.state_dict()
    bar = tqdm(total=total, unit="step", disable=None)
    for phase in phases:
        best_score = -math.inf
        for place in range(phase.steps):
            _set_rate(optimizers, phase.rate(place))
            batch = make_batch(phase.face_size, phase.voice_seconds)
            model.train()
            terms = _turn(model, optimizers, batch, phase, step)
            step += 1
            bar.update()
            if step % every == 0 or place == phase.steps - 1:
                scores = validate(phase)
                report(Progress(step, terms, scores))
                if scores["score"] > best_score:
                    best, best_score = copy.deepcopy(model.state_dict()), scores["score"]
    bar.close()
    model.load_state_dict(best)


def _turn(
    model: Trainable,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    batch: Batch,
    phase: Phase,
    step: int,
) -> dict[str, float]:
    """One step of whichever player's turn it is; its loss terms by name.

    The critic has no turn while the adversary does not count.
    """
    generator, critic = optimizers
    if phase.counts("adversary") and step % model.settings.turns == 0:
        with torch.no_grad():
            encoded = model.encode(batch)
        terms, optimizer = {"critic": model.critic_loss(encoded)}, critic
    else:
        every_term = model.loss_terms(model.encode(batch), batch, centred=phase.centred)
        terms = {name: term for name, term in every_term.items() if phase.counts(name)}
        optimizer = generator
    optimizer.zero_grad()
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return {name: term.item() for name, term in terms.items()}


def _set_rate(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
