"""What a model tells the trainer: its two players, its losses, and its paper's schedule.

The loop knows no paper; everything that a paper decides stands behind these names.
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
    """How a paper trains, in shares of the whole training, so that it can be made shorter.

    ``drops`` are pairs of the share of the training, 0 to 1, from which on all rates are
    multiplied by a factor, and that factor; with ``cosine`` the rates fall besides, along half a
    cosine to a fiftieth of the full ones. The training has settled when, after the warm-up, the
    term called ``watched`` has not fallen by the share ``tolerance`` in ``patience`` epochs of the
    paper's. With ``restarts`` the rates are then full again, and the drops follow as they did
    after the warm-up.
    """

    epochs: int  # of the paper
    batch: int  # items of each modality in a step
    discriminator_every: int = 1  # each such step trains the critic, none if 0
    discriminator_alone: bool = (
        False  # whether the generator rests in that step (ADSM, Algorithm 1)
    )
    warmup: float = 0.0  # share of the training in which the rates rise from nought
    drops: tuple[tuple[float, float], ...] = ()
    cosine: bool = False
    watched: str = ""  # a loss term; without one the training never settles
    patience: int = 3
    tolerance: float = 0.01
    restarts: bool = False

    def factor(self, done: float, settled_at: float | None = None) -> float:
        """What every rate is multiplied with when this share of the training is done.

        ``settled_at`` is the share at which it settled, if it has.
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
    """Where in the training a step stands."""

    done: float = 0.0  # share of the training, 0 to 1
    settled: bool = False  # whether the watched term has stopped falling (ADSM's epoch k)


@dataclasses.dataclass(frozen=True, slots=True)
class Optimizers:
    """The optimizers of both players; the rate of each group is its full one.

    Each parameter that requires a gradient is in exactly one of them.
    """

    generator: torch.optim.Optimizer
    discriminator: torch.optim.Optimizer


class TrainableModel(Protocol):
    """A model of the papers, as the trainer sees it; besides this it is an ``nn.Module``."""

    settings: Any

    def schedule(self) -> Schedule:
        """The paper's."""

    def optimizers(self) -> Optimizers:
        """New optimizers, at the paper's full rates."""

    def encode(self, batch: Batch) -> Any:
        """What both losses need of a batch, so that it is computed once."""

    def discriminator_loss(self, encoded: Any) -> Tensor:
        """What the critic minimises; no gradient of it reaches the generator."""

    def loss_terms(self, encoded: Any, batch: Batch, stage: Stage) -> Mapping[str, Tensor]:
        """The weighted terms whose sum the generator minimises, by name.

        A term that the batch cannot give, for want of pairs or of attributes, is nought.
        """
