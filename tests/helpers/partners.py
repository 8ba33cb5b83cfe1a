"""One of two processes that train together; tests start it with a folder to write to."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from avsearch.models.layers.trainable import Schedule
from indexer.errors import BadRequest
from tests.helpers.toys import Toy, toy_batch
from tests.helpers.worlds import paired_parts, request, silent
from trainer.training.distributed import Group, joined
from trainer.training.loop import NotFinite, TrainConfig, Trainer
from trainer.training.run import train

TOGETHER = Schedule(epochs=1, batch=1, discriminator_every=2)
VALUES = [[(1.0, 3.0), (2.0, 8.0)], [(5.0, 1.0), (4.0, 0.5)], [(2.0, 2.0), (6.0, 1.0)]]


def messages(group: Group) -> dict[str, Any]:
    """Values to send, of different sizes and kinds."""
    mine = bytes(range(group.rank * 3, 7 + group.rank * 5))
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[0].grad = torch.tensor([1.0, 2.0]) * (1 + group.rank)
    if group.rank:
        parameters[1].grad = torch.tensor([4.0, 6.0])
    group.mean_gradients(parameters)
    flags = torch.tensor([bool(group.rank), True])
    counts = torch.tensor(3 + group.rank)
    halves = torch.full((2, 2), 0.5 + group.rank)
    group.share([flags, counts, halves])
    return {
        "gathered": [list(part) for part in group.gather(mine)],
        "mean": group.mean(torch.tensor([group.rank, 3.0 * group.rank])).tolist(),
        "gradients": [None if p.grad is None else p.grad.tolist() for p in parameters],
        "shared": [flags.tolist(), counts.item(), halves.flatten().tolist()],
    }


def toy(group: Group, values: list[list[tuple[float, ...]]]) -> dict[str, Any]:
    """Steps on this process's half of every batch."""
    model = Toy(TOGETHER)
    if group.rank:  # the first one's weights count
        nn.init.constant_(model.generator, 9.0)
    trainer = Trainer(model, TrainConfig(10, 10), group=group)
    terms = [dict(trainer.train_step([toy_batch(*step[group.rank])]).terms) for step in values]
    return {
        "terms": terms,
        "weights": {name: value.tolist() for name, value in model.state_dict().items()},
    }


def ruined(group: Group) -> str:
    """A NaN that only the second process sees."""
    trainer = Trainer(Toy(TOGETHER), TrainConfig(10, 10), group=group)
    try:
        trainer.train_step([toy_batch(float("nan") if group.rank else 1.0)])
    except NotFinite:
        return "both stop"
    return "this one went on"


def papers(folder: Path, rank: int) -> None:
    """A training at once, and another in two parts; the weights that each process ends with."""
    parts = paired_parts()
    for name, stops in (("whole", ()), ("parted", (9,))):
        out = folder / f"{name}.safetensors"
        for stop in stops:
            _until(stop, lambda out=out: train(request(out), lambda s: parts, silent))
        weights: dict[str, torch.Tensor] = {}
        with _watched(weights):
            train(request(out, resume=bool(stops)), lambda s: parts, silent)
        save_file(weights, folder / f"{name}-{rank}.weights")


class _Stopped(Exception):
    pass


def _until(step: int, begin: Any) -> None:
    turn = Trainer.train_step

    def stop(self: Trainer, *batches: Any) -> Any:
        if self.step == step:
            raise _Stopped
        return turn(self, *batches)

    Trainer.train_step = stop  # type: ignore[method-assign]
    try:
        begin()
    except _Stopped:
        pass
    finally:
        Trainer.train_step = turn  # type: ignore[method-assign]


@dataclasses.dataclass
class _watched:  # noqa: N801 - a context
    weights: dict[str, torch.Tensor]

    def __enter__(self) -> None:
        self._turn = Trainer.train_step
        outer = self

        def look(trainer: Trainer, *batches: Any) -> Any:
            seen = outer._turn(trainer, *batches)
            outer.weights.update(
                {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
            )
            return seen

        Trainer.train_step = look  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        Trainer.train_step = self._turn  # type: ignore[method-assign]


def refused(folder: Path) -> str:
    """A training that is resumed with another seed."""
    try:
        train(
            request(folder / "whole.safetensors", resume=True, seed=3),
            lambda settings: paired_parts(),
            silent,
        )
    except BadRequest as error:
        return str(error)
    return "it was not refused"


def threads_of_groups() -> list[str]:
    """The names of this process's threads that are a group's, once those that end have ended."""
    for _ in range(100):
        tasks = Path("/proc/self/task").glob("*/comm")
        names = [name for task in tasks if (name := _text(task)).startswith("pt_")]
        if not names:
            break
        time.sleep(0.05)
    return names


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # a thread that has just ended
        return ""


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as (group, _):
        found = {
            "world": group.world,
            "messages": messages(group),
            "toy": toy(group, VALUES),
            "ruined": ruined(group),
        }
        papers(folder, group.rank)
        found["refused"] = refused(folder)
    found["left"] = threads_of_groups()
    (folder / f"found-{group.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
