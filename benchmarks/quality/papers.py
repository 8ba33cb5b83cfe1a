"""The five models on people of the synthetic world that they have never seen.

``python -m benchmarks.quality.synthetic_maps --out MAPS`` writes frozen feature maps of people.
Then, in one process per model,

``python -m benchmarks.quality.papers train --model NAME --maps MAPS --out RUNS``

trains the small form of a model on 500 people for at most ``--minutes`` with ``--threads``, keeps
the checkpoint that scores best on 60 others, and writes the figures on 100 more to ``NAME.json``.
``python -m benchmarks.quality.papers table RUNS`` prints the table of these files.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint
from benchmarks import tables
from benchmarks.machine import Machine
from benchmarks.quality.synthetic_maps import MAPS, WORLD
from benchmarks.quality.unseen import ACCURACY, AUC, PRECISION, Unseen, tables_of
from trainer.data.dataset import BatchMaker, DataSet
from trainer.data.load import read_data
from trainer.data.splits import Split, split
from trainer.data.synthetic.dataset import SyntheticSet, parse_synthetic
from trainer.evaluation.score import Metric
from trainer.training.config import TrainRequest
from trainer.training.loop import TrainConfig, Trainer
from trainer.training.prefetch import BatchPrefetcher
from trainer.training.run import TrainResult, fitted, train
from trainer.training.settings import make_settings

TRAINED, VALIDATED, TESTED = 500, 60, 100  # people
PROBED = 16  # steps that measure the speed of training
RESERVE = 0.9  # share of the time for steps; validation takes the rest
VALIDATIONS = 25
COLUMNS = (AUC, *(f"{what} {way}" for what in (ACCURACY, PRECISION) for way in ("V-F", "F-V")))


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """Training settings of a model, tuned on the validation people."""

    steps: int  # at most
    batch: int  # items of each modality, two of every person
    rate: float  # factor of the model's own learning rates
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)


RECIPES = {
    "adsm": Recipe(1500, 96, rate=10.0),
    "dsanet": Recipe(1500, 96, rate=0.2),
    "p2vanet": Recipe(1500, 96, rate=0.2, words={"private": "false"}),
    "acienet": Recipe(800, 64, rate=0.5, words={"candidates": "6"}),
    "aicanet": Recipe(800, 64, rate=0.5, words={"candidates": "6"}),
}


@dataclasses.dataclass(frozen=True, slots=True)
class NoMedia:
    """Sizes of media, which feature maps do not have."""

    face_size: int = 0
    voice_seconds: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class MappedWorld:
    """The feature maps of a folder, their world, and the minutes that it took to make them."""

    folder: Path
    world: SyntheticSet
    minutes: float

    @classmethod
    def of(cls, folder: Path) -> MappedWorld:
        """Read what `benchmarks.quality.synthetic_maps` has written."""
        facts = json.loads((folder / WORLD).read_text())
        return cls(folder, parse_synthetic(facts["world"]), facts["minutes"])

    def read(self, _: object = None) -> dict[Split, DataSet]:
        """Return the people by split; with fewer than 660 the splits shrink alike."""
        data = read_data([self.folder / MAPS], NoMedia(), self.folder)
        whole = TRAINED + VALIDATED + TESTED
        sizes = (max(2, count * len(data.people) // whole) for count in (VALIDATED, TESTED))
        return split(data, "last:{},{}".format(*sizes))


@click.group()
def main() -> None:
    """Train the papers' models on the synthetic world and test them on unseen people."""


@main.command("train")
@click.option("--maps", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--model", "name", type=click.Choice(list(MODELS)), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder.")
@click.option("--minutes", default=18.0, show_default=True, help="Of training, at most.")
@click.option("--threads", default=2, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", type=int, help="At most; the recipe decides otherwise.")
@click.option("--batch", type=int, help="Items of each modality; the recipe decides otherwise.")
def train_one(
    maps: Path,
    name: str,
    out: Path,
    minutes: float,
    threads: int,
    seed: int,
    steps: int | None,
    batch: int | None,
) -> None:
    """Train one model, test it, and write NAME.json."""
    torch.set_num_threads(threads)
    source, recipe = MappedWorld.of(maps), RECIPES[name]
    request = TrainRequest(
        model=name,
        out=out / f"{name}.safetensors",
        small=True,
        words=recipe.words,
        batch=batch or recipe.batch,
        rate=recipe.rate,
        seed=seed,
        device="cpu",
    )
    step_s = _seconds_per_step(request, source.read()["train"])
    most = min(steps or recipe.steps, int(RESERVE * 60 * minutes / step_s))
    request = dataclasses.replace(request, steps=max(1, most), every=max(1, most // VALIDATIONS))
    started = time.perf_counter()
    trained = train(request, source.read, lambda _: None)
    assert trained is not None  # there is one process
    facts = {
        "threads": threads,
        "minutes": (time.perf_counter() - started) / 60,
        "minutes of maps": source.minutes,
        "people": dict(trained.people),
        "machine": Machine.here(["torch", "numpy"]).described(),
    }
    (out / f"{name}.json").write_text(json.dumps(facts | _tested(trained, source), indent=1))
    click.echo(f"{name}: {trained.steps} steps, {facts['minutes']:.1f} min, {trained.scores}")


def _seconds_per_step(request: TrainRequest, data: DataSet) -> float:
    kind = MODELS[request.model]
    settings = make_settings(kind.Settings, request.words, small=True)
    trainer = Trainer(kind(fitted(settings, data)), TrainConfig(steps=10**6, every=10**6))
    assert request.batch is not None
    people = request.batch // request.each
    maker = BatchMaker(data, people, request.each, np.random.default_rng(0))
    taken = []
    with BatchPrefetcher.of_device(maker, torch.device("cpu")) as batches:
        for _ in range(PROBED):
            started = time.perf_counter()
            trainer.turn([batches.next()[1]])
            taken.append(time.perf_counter() - started)
    return float(np.mean(taken[PROBED // 4 :]))


def _tested(trained: TrainResult, source: MappedWorld) -> dict[str, Any]:
    """Return the figures of the kept checkpoint on the test people, for each kind of score."""
    model: Any = load_checkpoint(trained.checkpoint, MODELS).network
    unseen = Unseen.of(source.read()["test"], source.world)
    scores = tables_of(model, unseen.data, torch.device("cpu"))
    scores["chance"] = np.random.default_rng(0).random(scores["embedding"].shape, np.float32)
    figures = {by: unseen.judge(each) for by, each in scores.items()}
    return {
        "model": trained.model,
        "steps": trained.steps,
        "best_step": trained.best_step,
        "validation": dict(trained.scores),
        "parameters": sum(each.numel() for each in model.parameters()),
        "best": unseen.best,
        "figures": {
            by: {name: [each.value, each.lower, each.upper] for name, each in found.items()}
            for by, found in figures.items()
        },
        "shares": {
            by: {n: unseen.share(n, f.value) for n, f in found.items() if PRECISION not in n}
            for by, found in figures.items()
        },
    }


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def table(folder: Path) -> None:
    """Print the files of a folder: a row per model and score, then chance and the best possible."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    first = runs[0]
    heads = ["model", "compared by", *COLUMNS, "least share", "minutes, of maps", "parameters, M"]
    rows = [
        [run["model"], by, *_cells(run, by), *_costs(run, by)]
        for run in runs
        for by in run["figures"]
        if by != "chance"
    ]
    best = [f"{first['best'][name.split()[0]]:.3f}" for name in COLUMNS]
    rows.append(["chance", "", *_cells(first, "chance"), "0 %", "", ""])
    rows.append(["best possible", "", *best, "100 %", "", ""])
    click.echo(f"{first['machine']}\n\n{tables.table(heads, rows)}")


def _cells(run: Mapping[str, Any], by: str) -> list[str]:
    figures = (Metric(*run["figures"][by][name]) for name in COLUMNS)
    return [f"{each.value:.3f} [{each.lower:.3f}, {each.upper:.3f}]" for each in figures]


def _costs(run: Mapping[str, Any], by: str) -> list[str]:
    """The smallest share of the way to the best; time and size in a model's first row only."""
    share = f"{100 * min(run['shares'][by].values()):.0f} %"
    if by != "embedding":
        return [share, "", ""]
    minutes = f"{run['minutes']:.1f} + {run['minutes of maps']:.1f}"
    return [share, minutes, f"{run['parameters'] / 1e6:.2f}"]


if __name__ == "__main__":
    main()
