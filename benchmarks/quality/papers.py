"""The five models on people of the synthetic world whom they have never seen.

``python -m benchmarks.ablations maps --out MAPS`` draws the people and makes frozen feature maps of
them, by trunks that know other people; then, one process a model,

``python -m benchmarks.quality.papers train --model NAME --maps MAPS --out RUNS``

trains the small form of a model on 500 people for at most ``--minutes`` with ``--threads``, keeps
the checkpoint that 60 others score best, and writes what it reaches on 100 more to ``NAME.json``.
``python -m benchmarks.quality.papers table RUNS`` prints the table of all such files.

``python -m benchmarks.quality.papers draw --cache FOLDER``, and ``--cache FOLDER`` in place of
``--maps``, train the models with their own trunks on the media. ``--precision bfloat16`` is
faster on processors that multiply it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, cast

import click
import numpy as np
import torch

from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint
from benchmarks import tables
from benchmarks.machine import Machine
from benchmarks.quality.mapped_world import TESTED, TRAINED, VALIDATED, MappedWorld, sides
from benchmarks.quality.unseen import (
    ACCURACY,
    AUC,
    PRECISION,
    Figures,
    Unseen,
    tables_of,
)
from trainer.data.dataset import BatchMaker, DataSet
from trainer.data.load import read_data
from trainer.data.splits import Split, split
from trainer.data.synthetic.dataset import SyntheticSet
from trainer.evaluation.score import Metric
from trainer.training.config import TrainRequest
from trainer.training.loop import TrainConfig, Trainer
from trainer.training.prefetch import BatchPrefetcher
from trainer.training.run import TrainResult, fitted, train
from trainer.training.settings import make_settings

FACE_SIZE = 64  # pixels a side, of all models, so that all share what is drawn
PART = 20  # people drawn by a process at a time
PROBED = 16  # steps by which the rate of training is measured
RESERVE = 0.9  # share of the time that is planned for, validations aside
VALIDATIONS = 25


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained here; tuned on the validation people."""

    steps: int  # at most
    batch: int  # items of each modality
    each: int  # of every person
    rate: float = 1.0  # of the model's own
    clip: float | None = None
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)


PAIRS = {"voice_seconds": "2.5", "candidates": "6"}
RECIPES = {  # on media
    "adsm": Recipe(6000, 96, 2, rate=10.0, words={"voice_seconds": "2"}),
    "dsanet": Recipe(6000, 96, 2, rate=0.2),
    "p2vanet": Recipe(6000, 96, 2, rate=0.2),
    "acienet": Recipe(4000, 64, 2, rate=0.5, words=PAIRS),
    "aicanet": Recipe(4000, 64, 2, rate=0.5, words=PAIRS),
}
MAP_RECIPES = {
    "adsm": Recipe(1500, 96, 2, rate=10.0),
    "dsanet": Recipe(1500, 96, 2, rate=0.2),
    "p2vanet": Recipe(1500, 96, 2, rate=0.2, words={"private": "false"}),
    "acienet": Recipe(800, 64, 2, rate=0.5, words={"candidates": "6"}),
    "aicanet": Recipe(800, 64, 2, rate=0.5, words={"candidates": "6"}),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Sizes:
    """What decides how people are prepared; a voice is kept whole."""

    face_size: int = FACE_SIZE
    voice_seconds: float = 4.0


@dataclasses.dataclass(frozen=True, slots=True)
class Drawn:
    """The people of this benchmark and where they are kept."""

    cache: Path
    world: SyntheticSet
    split: str
    minutes: ClassVar[float] = 0.0  # of making maps

    @classmethod
    def of(cls, cache: Path, takes: int, people: int) -> Drawn:
        """So many people with so many faces and voices each."""
        return cls(cache, SyntheticSet(people=people, takes=takes), sides(people))

    def places(self) -> list[str]:
        """The people in parts, each of which is drawn by one process."""
        ends = range(0, self.world.people, PART)
        return [
            dataclasses.replace(
                self.world, first=start, people=min(PART, self.world.people - start)
            ).spec
            for start in ends
        ]

    def read(self, sizes: Any) -> dict[Split, DataSet]:
        """The people by side."""
        return split(read_data(self.places(), sizes, self.cache), self.split)


Source = Drawn | MappedWorld


@click.group()
def main() -> None:
    """Train the papers' models on the synthetic world and test them on unseen people."""


def _of_people(command: Any) -> Any:
    """The options that say which people are drawn."""
    for option in (
        click.option(
            "--takes", default=8, show_default=True, help="Faces of a person, and voices."
        ),
        click.option("--people", default=TRAINED + VALIDATED + TESTED, show_default=True),
    ):
        command = option(command)
    return command


@main.command()
@_of_people
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--processes", default=2, show_default=True)
def draw(cache: Path, takes: int, people: int, processes: int) -> None:
    """Draw and prepare the people, and say how long it took."""
    drawn = Drawn.of(cache, takes, people)
    started = time.perf_counter()
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(functools.partial(_draw, cache=cache), drawn.places()))
    click.echo(
        f"{people} people with {takes} faces and voices each, drawn in "
        f"{time.perf_counter() - started:.1f} s by {processes} processes"
    )


def _draw(place: str, cache: Path) -> None:
    read_data([place], Sizes(), cache)


@main.command("train")
@_of_people
@click.option("--cache", type=click.Path(path_type=Path), help="Of drawn people.")
@click.option("--maps", type=click.Path(path_type=Path, exists=True), help="In place of media.")
@click.option("--model", "name", type=click.Choice(list(MODELS)), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder.")
@click.option("--minutes", default=18.0, show_default=True, help="Of training, at most.")
@click.option("--threads", default=2, show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32")
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", type=int, help="At most; instead of the recipe's.")
@click.option("--batch", type=int, help="Instead of the recipe's.")
@click.option("--each", type=int, help="Instead of the recipe's.")
@click.option("--rate", type=float, help="Instead of the recipe's.")
@click.option("--set", "words", multiple=True, metavar="KEY=VALUE", help="Besides the recipe's.")
def train_one(
    cache: Path | None,
    maps: Path | None,
    takes: int,
    people: int,
    name: str,
    out: Path,
    minutes: float,
    threads: int,
    precision: Any,
    seed: int,
    words: tuple[str, ...],
    **changes: Any,
) -> None:
    """Train one model, test it, and write NAME.json."""
    torch.set_num_threads(threads)
    source = _source(cache, maps, takes, people)
    recipe = _changed((MAP_RECIPES if maps else RECIPES)[name], changes, words)
    request = _request(name, recipe, out, seed, precision)
    step_s = seconds_a_step(request, source)
    steps = max(1, min(recipe.steps, int(RESERVE * 60 * minutes / step_s)))
    request = dataclasses.replace(request, steps=steps, every=max(1, steps // VALIDATIONS))
    started = time.perf_counter()
    trained = train(request, source.read, lambda _: None)
    assert trained is not None  # there is one process
    told = {
        "threads": threads,
        "precision": precision,
        "minutes": (time.perf_counter() - started) / 60,
        "minutes of maps": source.minutes,
        "seconds_a_step": step_s,
        "recipe": dataclasses.asdict(recipe),
        "takes": source.world.takes,
        "people": dict(trained.people),
        "machine": Machine.here(["torch", "numpy"]).described(),
    }
    (out / f"{name}.json").write_text(json.dumps(told | _tested(trained, source), indent=1))
    click.echo(f"{name}: {steps} steps, {told['minutes']:.1f} min, {trained.scores}")


def _source(cache: Path | None, maps: Path | None, takes: int, people: int) -> Source:
    if (cache is None) == (maps is None):
        raise click.UsageError("give --cache or --maps")
    return Drawn.of(cache, takes, people) if cache else MappedWorld(cast(Path, maps))


def _changed(recipe: Recipe, changes: Mapping[str, Any], words: tuple[str, ...]) -> Recipe:
    given = {key: value for key, value in changes.items() if value is not None}
    more = dict(word.split("=", 1) for word in words)
    return dataclasses.replace(recipe, **given, words={**recipe.words, **more})


def _request(name: str, recipe: Recipe, out: Path, seed: int, precision: Any) -> TrainRequest:
    return TrainRequest(
        model=name,
        out=out / f"{name}.safetensors",
        small=True,
        words={"face_size": str(FACE_SIZE), **recipe.words},
        batch=recipe.batch,
        each=recipe.each,
        rate=recipe.rate,
        clip=recipe.clip,
        seed=seed,
        device="cpu",
        precision=precision,
    )


def seconds_a_step(request: TrainRequest, source: Source) -> float:
    """How long a step takes here and now, with data that comes in."""
    kind = MODELS[request.model]
    settings = make_settings(kind.Settings, request.words, small=True)
    data = source.read(settings)["train"]
    course = TrainConfig(steps=10**6, every=10**6, precision=request.precision)
    trainer = Trainer(kind(fitted(settings, data)), course)
    assert request.batch is not None
    people = request.batch // request.each
    maker = BatchMaker(data, people, request.each, np.random.default_rng(0))
    with BatchPrefetcher.of_device(maker, torch.device("cpu")) as batches:
        took = [_timed(trainer, batches) for _ in range(PROBED)]
    return float(np.mean(took[PROBED // 4 :]))


def _timed(trainer: Trainer, batches: BatchPrefetcher) -> float:
    started = time.perf_counter()
    trainer.turn([batches.next()[1]])
    return time.perf_counter() - started


def _tested(trained: TrainResult, source: Source) -> dict[str, Any]:
    """What the kept checkpoint reaches on the test people, by each way to compare."""
    model: Any = load_checkpoint(trained.checkpoint, MODELS).network
    unseen = Unseen.of(source.read(model.settings)["test"], source.world)
    tables = tables_of(model, unseen.data, torch.device("cpu"))
    rng = np.random.default_rng(0)
    tables["chance"] = rng.random(tables["embedding"].shape, np.float32)
    figures = {way: unseen.judge(table) for way, table in tables.items()}
    return {
        "model": trained.model,
        "steps": trained.steps,
        "best_step": trained.best_step,
        "validation": dict(trained.scores),
        "parameters": sum(each.numel() for each in model.parameters()),
        "best": unseen.best,
        "figures": {way: _plain(found) for way, found in figures.items()},
        "shares": {
            way: {n: unseen.share(n, f.value) for n, f in found.items() if PRECISION not in n}
            for way, found in figures.items()
        },
    }


def _plain(figures: Figures) -> dict[str, list[float]]:
    return {name: [each.value, each.lower, each.upper] for name, each in figures.items()}


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def table(folder: Path) -> None:
    """Print what the files of a folder say."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    click.echo(described(runs))


COLUMNS = (AUC, *(f"{what} {way}" for what in (ACCURACY, PRECISION) for way in ("V-F", "F-V")))


def described(runs: list[dict[str, Any]]) -> str:
    """In Markdown: a row a model and way to compare, then chance and the best possible."""
    first = runs[0]
    heads = ["model", "compared by", *COLUMNS, "least share", "minutes, of maps", "parameters, M"]
    rows = [
        [run["model"], way, *_cells(run, way), *_costs(run, way)]
        for run in runs
        for way in run["figures"]
        if way != "chance"
    ]
    best = [f"{first['best'][name.split()[0]]:.3f}" for name in COLUMNS]
    ends = [
        ["chance", "", *_cells(first, "chance"), "0 %", "", ""],
        ["best possible", "", *best, "100 %", "", ""],
    ]
    return f"{first['machine']}\n\n{tables.table(heads, [*rows, *ends])}"


def _cells(run: Mapping[str, Any], way: str) -> list[str]:
    return [_rounded(Metric(*run["figures"][way][name])) for name in COLUMNS]


def _rounded(figure: Metric) -> str:
    return f"{figure.value:.3f} [{figure.lower:.3f}, {figure.upper:.3f}]"


def _costs(run: Mapping[str, Any], way: str) -> list[str]:
    """The smallest share of the way to the best; the time and the size of a model, said once."""
    share = f"{100 * min(run['shares'][way].values()):.0f} %"
    if way != "embedding":
        return [share, "", ""]
    minutes = f"{run['minutes']:.1f} + {run['minutes of maps']:.1f}"
    return [share, minutes, f"{run['parameters'] / 1e6:.2f}"]


if __name__ == "__main__":
    main()
