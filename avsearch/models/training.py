"""What a model tells the trainer: its two players, its losses, and its paper's schedule.

The loop knows no paper; everything that a paper decides stands behind these names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from avsearch.models.batch import Batch


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """How a paper trains, in shares of the whole training, so that it can be made shorter.

    ``drops`` are pairs of the share of the training, 0 to 1, from which on all rates are
    multiplied by a factor, and that factor.
    """

    epochs: int  # of the paper
    batch: int  # items of each modality in a step
    critic_every: int = 1  # each such step trains the critic
    critic_alone: bool = False  # whether the generator rests in that step (ADSM, Algorithm 1)
    warmup: float = 0.0  # share of the training in which the rates rise from nought
    drops: tuple[tuple[float, float], ...] = ()

    def factor(self, done: float) -> float:
        """What every rate is multiplied with when this share of the training is done."""
        factor = min(1.0, done / self.warmup) if self.warmup else 1.0
        for share, drop in self.drops:
            if done >= share:
                factor *= drop
        return factor


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """Where in the training a step stands."""

    done: float = 0.0  # share of the training, 0 to 1
    settled: bool = False  # whether the main loss has stopped falling (ADSM's epoch k)


@dataclasses.dataclass(frozen=True, slots=True)
class Players:
    """The optimizers of both players; the rate of each group is its full one.

    Each parameter that requires a gradient is in exactly one of them.
    """

    generator: torch.optim.Optimizer
    critic: torch.optim.Optimizer


class TrainableModel(Protocol):
    """A model of the papers, as the trainer sees it; besides this it is an ``nn.Module``."""

    settings: Any

    def schedule(self) -> Schedule:
        """The paper's."""

    def optimizers(self) -> Players:
        """New optimizers, at the paper's full rates."""

    def encode(self, batch: Batch) -> Any:
        """What both losses need of a batch, so that it is computed once."""

    def critic_loss(self, encoded: Any) -> Tensor:
        """What the critic minimises; no gradient of it reaches the generator."""

    def loss_terms(self, encoded: Any, batch: Batch, stage: Stage) -> Mapping[str, Tensor]:
        """The weighted terms whose sum the generator minimises, by name.

        A term that the batch cannot give, for want of pairs or of attributes, is nought.
        """
