"""The training loop of a generator and a discriminator; it knows no paper.

A model gives the losses of its generator and its discriminator, and its paper's schedule. The loop
takes the steps, sets the learning rates, detects plateaus, and validates.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn

from avsearch.models.layers.batch import Batch
from avsearch.models.layers.trainable import Optimizers, Schedule, Stage, TrainableModel
from trainer.training.distributed import ALONE, Group
from trainer.training.prefetch import BatchPrefetcher
from trainer.training.resume import State, optimizer_state, restore_optimizer

Precision = Literal["float32", "bfloat16", "float16"]
DISCRIMINATOR = "critic"  # its name in logs and training states, which older ones have too


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """The length of a training, and how its steps are taken."""

    steps: int
    every: int  # steps between two validations
    accumulate: int = 1  # batches of a step
    clip: float | None = None  # largest norm of an optimizer's gradient
    precision: Precision = "float32"
    rate: float = 1.0  # factor of all learning rates


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """The state after a step; ``terms`` are the weighted losses, the discriminator's among them."""

    step: int  # steps done
    done: float  # share of the training
    rate: float  # learning rate of the generator's first group
    terms: Mapping[str, float]
    settled: bool  # a plateau was reached


@dataclasses.dataclass(frozen=True, slots=True)
class Best:
    """The step with the best validation, and its scores."""

    step: int
    scores: Mapping[str, float]


class NotFinite(Exception):
    """A loss or a weight is NaN or infinite; holds the batches of the step, and the terms."""

    def __init__(self, step: int, plans: Sequence[Any], terms: Mapping[str, float]) -> None:
        super().__init__(step, plans, terms)
        self.step, self.plans, self.terms = step, plans, terms

    def __str__(self) -> str:
        return f"step {self.step} is not finite"


class Callback(Protocol):
    """Receives the events of a training."""

    def on_step(self, progress: Progress) -> None:
        """Receive the state after a step."""

    def on_validation(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        """Receive validation scores; ``best`` says that they are the best so far."""


class PlateauDetector:
    """Detects that a loss has stopped falling, by its means over the epochs of a paper."""

    def __init__(self, schedule: Schedule, steps: int) -> None:
        self._schedule = schedule
        self._window = max(1, round(steps / schedule.epochs))
        self._warm = schedule.warmup * steps
        self._sum, self._count, self._waited, self._lowest = 0.0, 0, 0, math.inf

    def observe(self, step: int, terms: Mapping[str, float]) -> bool:
        """Add the terms of a step; return True where the loss has stopped falling."""
        loss = terms.get(self._schedule.watched)
        if loss is None or step < self._warm:
            return False
        self._sum, self._count = self._sum + loss, self._count + 1
        if self._count < self._window:
            return False
        mean, self._sum, self._count = self._sum / self._count, 0.0, 0
        fallen = mean < self._lowest - self._schedule.tolerance * abs(self._lowest)
        if fallen or math.isinf(self._lowest):
            self._lowest, self._waited = mean, 0
        else:
            self._waited += 1
        return self._waited >= self._schedule.patience

    def state(self) -> list[float | None]:
        """Return the state as JSON takes it."""
        lowest = None if math.isinf(self._lowest) else self._lowest
        return [self._sum, self._count, self._waited, lowest]

    def restore(self, state: list[Any]) -> None:
        """Continue from a :meth:`state`."""
        self._sum, self._count, self._waited, lowest = state
        self._lowest = math.inf if lowest is None else lowest


class Trainer:
    """A model in training, with everything that a step changes.

    ``schedule`` and ``optimizers`` are the model's own unless they are given.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        *,
        schedule: Schedule | None = None,
        optimizers: Optimizers | None = None,
        device: torch.device | None = None,
        group: Group = ALONE,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.model = model.to(self.device)
        self.config, self.group = config, group
        trainable = cast(TrainableModel, self.model)
        self.schedule = schedule or trainable.schedule()
        self.optimizers = optimizers or trainable.optimizers()
        self.step = 0
        self.settled_at: float | None = None
        self.best: Best | None = None
        self._plateau = PlateauDetector(self.schedule, config.steps)
        both = (self.optimizers.generator, self.optimizers.discriminator)
        self._parameters = {
            each: [p for group in each.param_groups for p in group["params"]] for each in both
        }
        self._rates = {each: [group["lr"] for group in each.param_groups] for each in both}
        self._scaler = torch.GradScaler(self.device.type, enabled=config.precision == "float16")
        group.share(self.model.state_dict().values())

    # One step.

    def train_step(self, batches: Sequence[Batch], plans: Sequence[Any] = ()) -> Progress:
        """Take a step on the mean loss of these batches.

        Raises:
            NotFinite: A loss is not finite; the weights are unchanged.
        """
        factor = self.config.rate * self.schedule.factor(self.done, self.settled_at)
        for optimizer, rates in self._rates.items():
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        self.group.share(self.model.buffers())
        self.model.train()
        active = self._active()
        for optimizer in active:
            optimizer.zero_grad()
        terms = self._mean([self._backward(batch, active, len(batches)) for batch in batches])
        if not all(map(math.isfinite, terms.values())):
            raise NotFinite(self.step + 1, plans, terms)
        moved = [self._update(optimizer) for optimizer in active]
        if any(moved):
            self._scaler.update()
        rate = self.optimizers.generator.param_groups[0]["lr"]
        self.step += 1
        if self.settled_at is None and self._plateau.observe(self.step, terms):
            self.settled_at = self.done
        return Progress(self.step, self.done, rate, terms, self.settled_at is not None)

    def _active(self) -> list[torch.optim.Optimizer]:
        """The optimizers that take part in this step."""
        every = self.schedule.discriminator_every
        if every == 0 or self.step % every:
            return [self.optimizers.generator]
        if self.schedule.discriminator_alone:
            return [self.optimizers.discriminator]
        return [self.optimizers.generator, self.optimizers.discriminator]

    def _backward(
        self, batch: Batch, active: list[torch.optim.Optimizer], batches: int
    ) -> dict[str, Tensor]:
        """Compute the gradient of each active loss for its own parameters; return the terms."""
        batch = batch.to(self.device)
        model = cast(TrainableModel, self.model)
        generator, discriminator = self.optimizers.generator, self.optimizers.discriminator
        precision = getattr(torch, self.config.precision)
        autocast = torch.autocast(self.device.type, precision, enabled=precision != torch.float32)
        with contextlib.nullcontext() if generator in active else torch.no_grad(), autocast:
            encoded = model.encode(batch)
        encoded = to_float32(encoded)
        terms: dict[str, Tensor] = {}
        if generator in active:
            stage = Stage(self.done, settled=self.settled_at is not None)
            terms |= model.loss_terms(encoded, batch, stage)
            self._differentiate(list(terms.values()), generator, batches)
        if discriminator in active:
            terms[DISCRIMINATOR] = model.discriminator_loss(encoded)
            self._differentiate([terms[DISCRIMINATOR]], discriminator, batches)
        return terms

    def _differentiate(
        self, losses: list[Tensor], optimizer: torch.optim.Optimizer, batches: int
    ) -> None:
        loss = torch.stack(losses).sum() / batches
        if not loss.requires_grad:  # the batch has nothing to learn from
            return
        inputs = self._parameters[optimizer]
        self._scaler.scale(loss).backward(inputs=inputs)  # type: ignore[no-untyped-call]

    def _update(self, optimizer: torch.optim.Optimizer) -> bool:
        """Take an optimizer's step; return False where no batch gave it a gradient."""
        parameters = self._parameters[optimizer]
        self.group.mean_gradients(parameters)
        if all(parameter.grad is None for parameter in parameters):
            return False
        if self.config.clip is not None:
            self._scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, self.config.clip)
        self._scaler.step(optimizer)
        return True

    def _mean(self, seen: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """The mean of the terms over the batches of a step and over the processes."""
        names = list(seen[0])
        rows = [torch.stack([terms[name].detach().float() for name in names]) for terms in seen]
        means = self.group.mean(torch.stack(rows).mean(0)).tolist()
        return dict(zip(names, means, strict=True))

    # The state of the training.

    @property
    def done(self) -> float:
        """The share of the training that is done, 0 to 1."""
        return self.step / self.config.steps

    def is_best(self, scores: Mapping[str, float]) -> bool:
        """Return True, and keep the scores, where this step's are the best so far."""
        if self.best is not None and not scores["score"] > self.best.scores["score"]:
            return False
        self.best = Best(self.step, scores)
        return True

    def all_finite(self, values: Iterable[Tensor]) -> bool:
        """Return True where these weights or statistics are finite in all processes."""
        values = [value for value in values if value.is_floating_point()]
        finite = torch.stack([v.isfinite().all() for v in values]).all()
        return self.group.mean(finite.float().reshape(1)).item() == 1

    def state(self) -> State:
        """Return everything the next step depends on, except batches and random numbers."""
        parts = {
            name: optimizer_state(optimizer, name) for name, optimizer in self._named_optimizers()
        }
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        for part in parts.values():
            tensors |= part.tensors
        return State(
            tensors,
            {
                "step": self.step,
                "settled_at": self.settled_at,
                "settling": self._plateau.state(),
                "best": None if self.best is None else dataclasses.asdict(self.best),
                "scaler": self._scaler.state_dict(),
                "players": {name: part.values for name, part in parts.items()},
            },
        )

    def restore(self, state: State) -> None:
        """Continue from a :meth:`state`."""
        weights = {
            key.removeprefix("model."): value
            for key, value in state.tensors.items()
            if key.startswith("model.")
        }
        self.model.load_state_dict(weights)
        for name, optimizer in self._named_optimizers():
            own = State(state.tensors, state.values["players"][name])
            restore_optimizer(optimizer, name, own)
        self.step, self.settled_at = state.values["step"], state.values["settled_at"]
        self._plateau.restore(state.values["settling"])
        best = state.values["best"]
        self.best = None if best is None else Best(**best)
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state.values["scaler"])

    def _named_optimizers(self) -> list[tuple[str, torch.optim.Optimizer]]:
        return [
            ("generator", self.optimizers.generator),
            (DISCRIMINATOR, self.optimizers.discriminator),
        ]


def fit(
    trainer: Trainer,
    batches: BatchPrefetcher,
    validate: Callable[[], Mapping[str, float]],
    callback: Callback,
) -> None:
    """Train until the last step.

    Args:
        trainer: The model in training.
        batches: Its batches.
        validate: Gives scores by name; ``score`` chooses the best step, larger is better, and the
            first of equal ones counts. Only the first process of a group validates.
        callback: Receives every step and validation.

    Raises:
        NotFinite: A loss or a weight is NaN or infinite.
    """
    config = trainer.config
    before: Sequence[Any] = ()
    while trainer.step < config.steps:
        plans, made = zip(*(batches.next() for _ in range(config.accumulate)), strict=True)
        try:
            progress = trainer.train_step(made, plans)
        except NotFinite as error:
            if not trainer.all_finite(trainer.model.parameters()):  # the step before made them so
                error.plans = before
            raise
        before = plans
        callback.on_step(progress)
        if trainer.step % config.every == 0 or trainer.step == config.steps:
            if not trainer.all_finite(trainer.model.state_dict().values()):
                raise NotFinite(trainer.step, plans, progress.terms)
            scores = validate() if trainer.group.first else {"score": -math.inf}
            callback.on_validation(trainer.step, scores, best=trainer.is_best(scores))


def to_float32(encoded: Any) -> Any:
    """Return half-precision tensors inside tuples, lists, mappings and dataclasses as float32.

    Losses are computed in float32, whatever the precision of the networks.
    """
    if isinstance(encoded, Tensor):
        half = encoded.dtype in (torch.float16, torch.bfloat16)
        return encoded.float() if half else encoded
    if isinstance(encoded, Mapping):
        return {key: to_float32(value) for key, value in encoded.items()}
    if isinstance(encoded, tuple) and hasattr(encoded, "_fields"):
        return type(encoded)(*map(to_float32, encoded))
    if isinstance(encoded, list | tuple):
        return type(encoded)(map(to_float32, encoded))
    if dataclasses.is_dataclass(encoded) and not isinstance(encoded, type):
        fields: Iterable[dataclasses.Field[Any]] = dataclasses.fields(encoded)
        return dataclasses.replace(
            encoded, **{field.name: to_float32(getattr(encoded, field.name)) for field in fields}
        )
    return encoded
