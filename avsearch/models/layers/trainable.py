"""The interface between a model and the trainer: optimizers, losses, and the paper's schedule.

The training loop knows no paper; everything specific to a paper is behind these names.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from avsearch.models.layers.batch import Batch


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """A paper's schedule, in shares of the whole training, so that it can be shortened.

    Attributes:
        epochs: The paper's epochs.
        batch: Items of each modality in a step.
        discriminator_every: Every so many steps train the discriminator; none if 0.
        discriminator_alone: The generator rests in such a step (ADSM, Algorithm 1).
        warmup: The share of the training in which the rates rise from zero.
        drops: Pairs of a share of the training, 0 to 1, and the factor of all rates from there.
        cosine: The rates also fall along half a cosine, to a fiftieth.
        watched: A loss term. The training has settled when, after the warm-up, this term has not
            fallen by the share ``tolerance`` in ``patience`` of the paper's epochs. Without a
            term it never settles.
        restarts: The rates are full again when the training has settled, and the drops follow as
            after the warm-up.
    """

    epochs: int
    batch: int
    discriminator_every: int = 1
    discriminator_alone: bool = False
    warmup: float = 0.0
    drops: tuple[tuple[float, float], ...] = ()
    cosine: bool = False
    watched: str = ""
    patience: int = 3
    tolerance: float = 0.01
    restarts: bool = False

    def factor(self, done: float, settled_at: float | None = None) -> float:
        """Return the factor of every rate when the share ``done`` of the training is done.

        ``settled_at`` is the share at which the training settled, if it has.
        """
        if self.restarts and settled_at is not None:
            done = self.warmup + done - settled_at
        factor = min(1.0, done / self.warmup) if self.warmup else 1.0
        if self.cosine:
            falling = max(0.0, done - self.warmup) / (1 - self.warmup)
            factor *= 0.02 + 0.98 * (1 + math.cos(math.pi * falling)) / 2
        for share, drop in self.drops:
            if done >= share:
                factor *= drop
        return factor


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """The position of a step in the training."""

    done: float = 0.0  # share of the training, 0 to 1
    settled: bool = False  # the watched term has stopped falling (ADSM's epoch k)


@dataclasses.dataclass(frozen=True, slots=True)
class Optimizers:
    """The optimizers of the generator and the discriminator, at their full rates.

    Each parameter that requires a gradient is in exactly one of them.
    """

    generator: torch.optim.Optimizer
    discriminator: torch.optim.Optimizer


class TrainableModel(Protocol):
    """The interface of a paper's model for the trainer; the model is also an ``nn.Module``."""

    settings: Any

    def schedule(self) -> Schedule:
        """Return the paper's schedule."""

    def optimizers(self) -> Optimizers:
        """Return new optimizers, at the paper's full rates."""

    def encode(self, batch: Batch) -> Any:
        """Return the inputs of both losses, computed once for a batch."""

    def discriminator_loss(self, encoded: Any) -> Tensor:
        """Return the discriminator's loss, without a gradient for the generator."""

    def loss_terms(self, encoded: Any, batch: Batch, stage: Stage) -> Mapping[str, Tensor]:
        """Return the weighted terms whose sum the generator minimises, by name.

        A term is zero if the batch has no pairs or attributes for it.
        """
