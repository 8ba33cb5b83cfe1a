"""The one two-player loop; it knows no paper.

A model says what its critic and its generator minimise and how its paper trains them; the loop
takes turns, keeps the rates, notices when the training has settled, and validates.
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
DISCRIMINATOR = "critic"  # the name its loss has among the terms


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """How long a training is, and how its steps are taken.

    ``every`` steps there is a validation. ``accumulate`` batches make a step. ``clip`` is the
    largest norm of a player's gradient. ``rate`` multiplies all learning rates.
    """

    steps: int
    every: int
    accumulate: int = 1
    clip: float | None = None
    precision: Precision = "float32"
    rate: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """What one step saw; ``terms`` are the weighted losses, the critic's among them."""

    step: int  # done by now
    done: float  # share of the training
    rate: float  # of the generator's first group
    terms: Mapping[str, float]
    settled: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Best:
    """The step whose validation was the best so far, and its scores."""

    step: int
    scores: Mapping[str, float]


class NotFinite(Exception):
    """A loss or a weight is NaN or infinite; the batches that made it so, and the terms."""

    def __init__(self, step: int, plans: Sequence[Any], terms: Mapping[str, float]) -> None:
        super().__init__(step, plans, terms)
        self.step, self.plans, self.terms = step, plans, terms

    def __str__(self) -> str:
        return f"step {self.step} is not finite"


class Callback(Protocol):
    """What is told of a training."""

    def stepped(self, progress: Progress) -> None:
        """A step was taken."""

    def validated(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        """The model was validated; ``best`` says that it has never been better."""


class PlateauDetector:
    """Notices when a loss has stopped falling, by its means over the epochs of a paper."""

    def __init__(self, schedule: Schedule, steps: int) -> None:
        self._schedule = schedule
        self._window = max(1, round(steps / schedule.epochs))
        self._warm = schedule.warmup * steps
        self._sum, self._count, self._waited, self._lowest = 0.0, 0, 0, math.inf

    def observe(self, step: int, terms: Mapping[str, float]) -> bool:
        """Take in the terms of a step; whether the loss has stopped falling."""
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
        """What it remembers, as JSON takes it."""
        lowest = None if math.isinf(self._lowest) else self._lowest
        return [self._sum, self._count, self._waited, lowest]

    def restore(self, state: list[Any]) -> None:
        """Remember what :meth:`state` gave."""
        self._sum, self._count, self._waited, lowest = state
        self._lowest = math.inf if lowest is None else lowest


class Trainer:
    """A model in training: everything that a step changes, and the step.

    ``schedule`` and ``players`` are the model's own where they are not given.
    """

    def __init__(
        self,
        model: nn.Module,
        course: TrainConfig,
        *,
        schedule: Schedule | None = None,
        optimizers: Optimizers | None = None,
        device: torch.device | None = None,
        group: Group = ALONE,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.model = model.to(self.device)
        self.course, self.group = course, group
        trainable = cast(TrainableModel, self.model)
        self.schedule = schedule or trainable.schedule()
        self.optimizers = optimizers or trainable.optimizers()
        self.step = 0
        self.settled_at: float | None = None
        self.best: Best | None = None
        self._settling = PlateauDetector(self.schedule, course.steps)
        self._held = {
            player: [p for each in player.param_groups for p in each["params"]]
            for player in self._both
        }
        self._rates = {
            player: [each["lr"] for each in player.param_groups] for player in self._both
        }
        self._scaler = torch.GradScaler(self.device.type, enabled=course.precision == "float16")
        group.share(self.model.state_dict().values())

    @property
    def _both(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        return self.optimizers.generator, self.optimizers.discriminator

    # One step.

    def turn(self, batches: Sequence[Batch], plans: Sequence[Any] = ()) -> Progress:
        """One step of the players whose turn it is, on the mean loss of these batches.

        Raises NotFinite, the weights being as before, where a loss is.
        """
        self._set_rates()
        self.group.share(self.model.buffers())
        self.model.train()
        playing = self._playing()
        for player in playing:
            player.zero_grad()
        terms = self._mean([self._backward(batch, playing, len(batches)) for batch in batches])
        if not all(map(math.isfinite, terms.values())):
            raise NotFinite(self.step + 1, plans, terms)
        moved = [self._move(player) for player in playing]
        if any(moved):
            self._scaler.update()
        return self._advance(terms)

    def _playing(self) -> list[torch.optim.Optimizer]:
        every = self.schedule.discriminator_every
        critics = every > 0 and self.step % every == 0
        if critics and self.schedule.discriminator_alone:
            return [self.optimizers.discriminator]
        return [*self._both] if critics else [self.optimizers.generator]

    def _backward(
        self, batch: Batch, playing: list[torch.optim.Optimizer], batches: int
    ) -> dict[str, Tensor]:
        """The gradient of each player's own loss for its own parameters; the terms by name."""
        batch = batch.to(self.device)
        model = cast(TrainableModel, self.model)
        learns = self.optimizers.generator in playing
        with contextlib.nullcontext() if learns else torch.no_grad(), self._autocast():
            encoded = model.encode(batch)
        encoded = in_float32(encoded)
        terms: dict[str, Tensor] = {}
        if learns:
            terms |= model.loss_terms(encoded, batch, self._stage)
            self._differentiate(list(terms.values()), self.optimizers.generator, batches)
        if self.optimizers.discriminator in playing:
            terms[DISCRIMINATOR] = model.discriminator_loss(encoded)
            self._differentiate([terms[DISCRIMINATOR]], self.optimizers.discriminator, batches)
        return terms

    def _autocast(self) -> torch.autocast:
        kind = getattr(torch, self.course.precision)
        return torch.autocast(self.device.type, kind, enabled=kind != torch.float32)

    def _differentiate(
        self, losses: list[Tensor], player: torch.optim.Optimizer, batches: int
    ) -> None:
        loss = torch.stack(losses).sum() / batches
        if not loss.requires_grad:  # the batch gave this player nothing to learn from
            return
        self._scaler.scale(loss).backward(inputs=self._held[player])  # type: ignore[no-untyped-call]

    def _move(self, player: torch.optim.Optimizer) -> bool:
        """Take a player's step; False where the batches gave it nothing to learn from."""
        self.group.mean_gradients(self._held[player])
        if all(parameter.grad is None for parameter in self._held[player]):
            return False
        if self.course.clip is not None:
            self._scaler.unscale_(player)
            nn.utils.clip_grad_norm_(self._held[player], self.course.clip)
        self._scaler.step(player)
        return True

    def _mean(self, seen: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """Terms by name, the mean over the batches of a step and over the processes."""
        names = list(seen[0])
        rows = [torch.stack([terms[name].detach().float() for name in names]) for terms in seen]
        means = self.group.mean(torch.stack(rows).mean(0)).tolist()
        return dict(zip(names, means, strict=True))

    # Where the training stands.

    @property
    def done(self) -> float:
        """Share of the training that is done, 0 to 1."""
        return self.step / self.course.steps

    @property
    def _stage(self) -> Stage:
        return Stage(self.done, settled=self.settled_at is not None)

    def _set_rates(self) -> None:
        factor = self.course.rate * self.schedule.factor(self.done, self.settled_at)
        for player, rates in self._rates.items():
            for group, rate in zip(player.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def _advance(self, terms: dict[str, float]) -> Progress:
        rate = self.optimizers.generator.param_groups[0]["lr"]
        self.step += 1
        if self.settled_at is None and self._settling.observe(self.step, terms):
            self.settled_at = self.done
        return Progress(self.step, self.done, rate, terms, self.settled_at is not None)

    def judge(self, scores: Mapping[str, float]) -> bool:
        """Whether these scores of the present step are the best so far; they are kept if so."""
        if self.best is not None and not scores["score"] > self.best.scores["score"]:
            return False
        self.best = Best(self.step, scores)
        return True

    def sound(self, values: Iterable[Tensor]) -> bool:
        """Whether these weights or statistics are finite, in all processes."""
        values = [value for value in values if value.is_floating_point()]
        finite = torch.stack([v.isfinite().all() for v in values]).all()
        return self.group.mean(finite.float().reshape(1)).item() == 1

    # On disk.

    def state(self) -> State:
        """Everything that the next step depends on, but for batches and random numbers."""
        parts = {
            "generator": optimizer_state(self.optimizers.generator, "generator"),
            "critic": optimizer_state(self.optimizers.discriminator, "critic"),
        }
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        for part in parts.values():
            tensors |= part.tensors
        return State(
            tensors,
            {
                "step": self.step,
                "settled_at": self.settled_at,
                "settling": self._settling.state(),
                "best": None if self.best is None else dataclasses.asdict(self.best),
                "scaler": self._scaler.state_dict(),
                "players": {name: part.values for name, part in parts.items()},
            },
        )

    def restore(self, state: State) -> None:
        """Go on where :meth:`state` was asked."""
        weights = {
            key.removeprefix("model."): value
            for key, value in state.tensors.items()
            if key.startswith("model.")
        }
        self.model.load_state_dict(weights)
        for name, player in (
            ("generator", self.optimizers.generator),
            ("critic", self.optimizers.discriminator),
        ):
            own = State(state.tensors, state.values["players"][name])
            restore_optimizer(player, name, own)
        self.step, self.settled_at = state.values["step"], state.values["settled_at"]
        self._settling.restore(state.values["settling"])
        best = state.values["best"]
        self.best = None if best is None else Best(**best)
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state.values["scaler"])


def fit(
    trainer: Trainer,
    batches: BatchPrefetcher,
    validate: Callable[[], Mapping[str, float]],
    watcher: Callback,
) -> None:
    """Train to the end of the course.

    ``validate`` gives scores by name; the one called ``score`` decides, larger is better, and of
    equals the first is the best. Only the first process of a group validates. Raises NotFinite.
    """
    course = trainer.course
    before: Sequence[Any] = ()
    while trainer.step < course.steps:
        plans, made = zip(*(batches.next() for _ in range(course.accumulate)), strict=True)
        try:
            progress = trainer.turn(made, plans)
        except NotFinite as error:
            if not trainer.sound(trainer.model.parameters()):  # the step before made them so
                error.plans = before
            raise
        before = plans
        watcher.stepped(progress)
        if trainer.step % course.every == 0 or trainer.step == course.steps:
            if not trainer.sound(trainer.model.state_dict().values()):
                raise NotFinite(trainer.step, plans, progress.terms)
            scores = validate() if trainer.group.first else {"score": -math.inf}
            watcher.validated(trainer.step, scores, best=trainer.judge(scores))


def in_float32(encoded: Any) -> Any:
    """The tensors inside tuples, lists, mappings and dataclasses as float32, where they are less.

    The losses are computed so, whatever the networks were.
    """
    if isinstance(encoded, Tensor):
        half = encoded.dtype in (torch.float16, torch.bfloat16)
        return encoded.float() if half else encoded
    if isinstance(encoded, Mapping):
        return {key: in_float32(value) for key, value in encoded.items()}
    if isinstance(encoded, tuple) and hasattr(encoded, "_fields"):
        return type(encoded)(*map(in_float32, encoded))
    if isinstance(encoded, list | tuple):
        return type(encoded)(map(in_float32, encoded))
    if dataclasses.is_dataclass(encoded) and not isinstance(encoded, type):
        fields: Iterable[dataclasses.Field[Any]] = dataclasses.fields(encoded)
        return dataclasses.replace(
            encoded, **{field.name: in_float32(getattr(encoded, field.name)) for field in fields}
        )
    return encoded
