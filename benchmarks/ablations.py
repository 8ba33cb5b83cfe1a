"""The papers' ablations on frozen feature maps of the synthetic world.

``python -m benchmarks.ablations maps --out FOLDER`` draws people, trains a trunk a modality on
other people, and writes the maps, with private attributes for P2VANet. Then

``python -m benchmarks.ablations run --maps FOLDER --out RUNS --device cuda --jobs 6``

trains every variant of `benchmarks.variants` with every seed, several at a time, and writes
``VARIANT-SEED.json`` with what it reaches on 100 unseen people; runs that are there already are
left out. ``python -m benchmarks.ablations table RUNS`` prints the figures, and of each ordering
that a paper reports whether it holds here.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import multiprocessing
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint
from avsearch.models.torch_embedder import pick_device
from benchmarks import markdown
from benchmarks.machine import Machine
from benchmarks.mapped_world import MAPS, MappedWorld
from benchmarks.unseen import ACCURACY, PRECISION, Unseen, tables_of
from benchmarks.variants import ORDERINGS, VARIANTS, Ordering
from trainer.data.synthetic.feature_maps import CROWD, STEPS
from trainer.evaluation.bootstrap import RESAMPLES, Interval, PersonBootstrap
from trainer.training.config import TrainRequest
from trainer.training.run import train

EACH = 2  # items of a person in a batch

Floats = NDArray[np.float64]


@click.group()
def main() -> None:
    """Train the papers' models with parts left out, and compare them."""


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--people", default=660, show_default=True)
@click.option("--takes", default=8, show_default=True, help="Faces of a person, and voices.")
@click.option("--crowd", default=CROWD, show_default=True, help="People the trunks learn from.")
@click.option("--steps", default=STEPS, show_default=True, help="Of training the trunks.")
def maps(out: Path, people: int, takes: int, crowd: int, steps: int) -> None:
    """Write the maps of people and their private attributes."""
    made = MappedWorld.made(out, people, takes, crowd, steps)
    click.echo(f"{out / MAPS} holds {people} people, made in {made.minutes:.1f} min")


# Runs.


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """What all runs have in common."""

    maps: Path
    out: Path
    device: str
    steps: int
    batch: int


@main.command()
@click.option("--maps", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--steps", default=500, show_default=True)
@click.option("--batch", default=64, show_default=True, help="Items of each modality.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--jobs", default=1, show_default=True, help="Runs at a time, of a thread each.")
@click.option("--variant", "chosen", multiple=True, type=click.Choice(list(VARIANTS)))
def run(seeds: int, jobs: int, chosen: tuple[str, ...], **options: Any) -> None:
    """Train and test the variants."""
    course = TrainConfig(**options)
    course.out.mkdir(parents=True, exist_ok=True)
    wanted = [(name, seed) for seed in range(seeds) for name in chosen or VARIANTS]
    missing = [each for each in wanted if not _file(course, *each).exists()]
    work = functools.partial(run_one, course)
    if jobs == 1:
        for name, seed in missing:
            click.echo(work(name, seed))
        return
    spawned = multiprocessing.get_context("spawn")  # a GPU is not shared with a fork
    with ProcessPoolExecutor(jobs, spawned) as pool:
        for line in pool.map(work, *zip(*missing, strict=True)):
            click.echo(line)


def run_one(course: TrainConfig, name: str, seed: int) -> str:
    """Train and test a variant with a seed, leave its file, and say what came of it."""
    torch.set_num_threads(1)
    _forget_unfinished(course, name, seed)
    started = time.perf_counter()
    model = _trained(course, name, seed)
    told = {
        "variant": name,
        "seed": seed,
        "steps": course.steps,
        "seconds": time.perf_counter() - started,
        "device": _device(course.device),
        **_tested(model, course),
    }
    _file(course, name, seed).write_text(json.dumps(told))
    precision = np.mean(told["found"][told["compared"]][PRECISION])
    return f"{name}, seed {seed}: mAP {precision:.3f} in {told['seconds']:.1f} s"


def _checkpoint(course: TrainConfig, name: str, seed: int) -> Path:
    return course.out / "checkpoints" / f"{name}-{seed}.safetensors"


def _forget_unfinished(course: TrainConfig, name: str, seed: int) -> None:
    """Remove what a run that was stopped has left: a training is not begun over another."""
    checkpoint = _checkpoint(course, name, seed)
    checkpoint.unlink(missing_ok=True)
    shutil.rmtree(checkpoint.with_suffix(".training"), ignore_errors=True)


def _file(course: TrainConfig, name: str, seed: int) -> Path:
    return course.out / f"{name}-{seed}.json"


def _device(name: str) -> str:
    device = pick_device(name)
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return Machine.here(["torch", "numpy"]).described()


def _trained(course: TrainConfig, name: str, seed: int) -> Any:
    """The checkpoint of a variant that validation people score best."""
    variant = VARIANTS[name]
    request = TrainRequest(
        model=variant.model,
        out=_checkpoint(course, name, seed),
        small=True,
        words=variant.words,
        steps=course.steps,
        every=max(1, course.steps // 10),
        batch=course.batch,
        each=EACH,
        rate=variant.rate,
        seed=seed,
        device=course.device,
    )
    trained = train(request, MappedWorld(course.maps).read, lambda _: None)
    assert trained is not None  # there is one process
    return load_checkpoint(trained.checkpoint, MODELS).network.to(pick_device(course.device))


def _tested(model: Any, course: TrainConfig) -> dict[str, Any]:
    """What every unseen person's items reach, by each way to compare."""
    there = MappedWorld(course.maps)
    unseen = Unseen.of(there.read(model.settings)["test"], there.world)
    tables = tables_of(model, unseen.data, pick_device(course.device))
    found = {way: unseen.by_person(table) for way, table in tables.items()}
    return {
        "best": unseen.best,
        "parameters": sum(each.numel() for each in model.parameters()),
        "compared": list(tables)[-1],  # as the paper compares
        "found": {way: {k: v.tolist() for k, v in each.items()} for way, each in found.items()},
    }


# The table.


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def table(folder: Path) -> None:
    """Print the figures of all runs, and which orderings hold."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    click.echo(described(runs))


def described(runs: Sequence[dict[str, Any]]) -> str:
    """In Markdown: the figures of every variant, then the orderings."""
    by_name: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for one in runs:
        by_name[one["variant"]].append(one)
    there = {name: own for name, own in by_name.items() if own}
    best = [f"{runs[0]['best'][figure]:.3f}" for figure in (PRECISION, ACCURACY)]
    figures = [row for name, own in there.items() for row in _figures(name, own)]
    orderings = [
        _judged(each, there) for each in ORDERINGS if each.better in there and each.worse in there
    ]
    heads = ["variant", "compared by", "seeds", PRECISION, f"{ACCURACY} accuracy"]
    return "\n\n".join(
        [
            runs[0]["device"],
            markdown.table(heads, [*figures, ["best possible", "", "", *best]]),
            markdown.table(["the paper says", "where", "difference in mAP", "here"], orderings),
        ]
    )


def _figures(name: str, runs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The cells of a variant, a row for each way to compare."""
    return [
        [
            name,
            way,
            str(len(runs)),
            *(_figure(values_of(runs, way, figure)) for figure in (PRECISION, ACCURACY)),
        ]
        for way in runs[0]["found"]
    ]


def values_of(runs: Sequence[dict[str, Any]], way: str, figure: str) -> Floats:
    """A figure of every person with every seed, (seeds, people)."""
    return np.array([one["found"][way][figure] for one in sorted(runs, key=_seed)])


def _seed(one: dict[str, Any]) -> int:
    return int(one["seed"])


def interval(values: Floats) -> Interval:
    """The 95 % interval of the mean of (seeds, people) if others of both had been drawn."""
    seeds, people = (
        PersonBootstrap(count, seed=at).counts for at, count in enumerate(values.shape)
    )
    means = np.einsum("ds,sp,dp->d", seeds, values, people) / values.size
    low, high = np.quantile(means, [0.025, 0.975])
    assert len(means) == RESAMPLES
    return float(low), float(high)


def _judged(ordering: Ordering, runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The cells of an ordering: what was claimed, where, the difference here, the verdict."""
    better, worse = (
        values_of(runs[name], runs[name][0]["compared"], PRECISION)
        for name in (ordering.better, ordering.worse)
    )
    seeds = min(len(better), len(worse))
    apart = better[:seeds] - worse[:seeds]
    claim = f"{ordering.better} > {ordering.worse}"
    return [claim, ordering.table, _figure(apart, signed=True), verdict(interval(apart))]


def verdict(difference: Interval) -> str:
    """What the interval of a difference says of the claim that it is above nought."""
    low, high = difference
    if low > 0:
        return "holds"
    return "the other way round" if high < 0 else "cannot be told"


def _figure(values: Floats, *, signed: bool = False) -> str:
    low, high = interval(values)
    sign = "+" if signed else ""
    return f"{values.mean():{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


if __name__ == "__main__":
    main()
