"""A model of one number a player, and batches that are numbers, to watch the loop with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from avsearch.models.layers.batch import Batch, BatchSide
from avsearch.models.layers.trainable import Optimizers, Schedule, Stage


def toy_batch(*values: float) -> Batch:
    """Faces that are numbers; voices are left out."""
    inputs = torch.tensor(values, dtype=torch.float32)
    nobody = torch.zeros(len(values), dtype=torch.int64)
    side = BatchSide(inputs, nobody, nobody, nobody, nobody)
    return Batch(side, side)


class Toy(nn.Module):
    """Writes down what it is asked for; the generator's gradient is 33 + 2 critic, times x."""

    def __init__(self, schedule: Schedule, rate: float = 0.01, noise: float = 0.0) -> None:
        super().__init__()
        self.generator = nn.Parameter(torch.tensor(1.0))
        self.discriminator = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("seen", torch.zeros(1))
        self.asked: list[str] = []
        self.stages: list[Stage] = []
        self.graded: list[bool] = []
        self.modes: list[bool] = []
        self._schedule, self._rate, self._noise = schedule, rate, noise

    def schedule(self) -> Schedule:
        return self._schedule

    def optimizers(self) -> Optimizers:
        return Optimizers(
            torch.optim.Adam([self.generator], self._rate)
            if self._noise
            else torch.optim.SGD([self.generator], self._rate),
            torch.optim.SGD([self.discriminator], self._rate, momentum=0.9 if self._noise else 0),
        )

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        self.graded.append(torch.is_grad_enabled())
        self.modes.append(self.training)
        mean = batch.faces.inputs.mean() + self._noise * torch.randn(())
        self.seen += mean.detach()
        return {"two": 2 * self.generator * mean, "three": 3 * self.generator * mean}

    def discriminator_loss(self, encoded: dict[str, Tensor]) -> Tensor:
        self.asked.append("critic")
        return self.discriminator * encoded["two"].detach()

    def loss_terms(
        self, encoded: dict[str, Tensor], batch: Batch, stage: Stage
    ) -> dict[str, Tensor]:
        self.asked.append("generator")
        self.stages.append(stage)
        return {
            "adversary": self.discriminator * encoded["two"],
            "one": encoded["three"],
            "other": 10 * encoded["three"],
        }


class ToyBatches:
    """Batches of one random number, drawn by a generator; or of those given, then ones."""

    def __init__(self, *given: float, seed: int | None = None) -> None:
        self._given = list(given)
        self._rng = None if seed is None else np.random.default_rng(seed)

    def plan(self) -> float:
        if self._rng is not None:
            return float(self._rng.random())
        return self._given.pop(0) if self._given else 1.0

    def fill(self, plan: float) -> Batch:
        return toy_batch(plan)

    def state(self) -> dict[str, Any]:
        return {} if self._rng is None else dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        assert self._rng is not None
        self._rng.bit_generator.state = state
