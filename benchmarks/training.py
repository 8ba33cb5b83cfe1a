"""Training steps a second with data that comes in, beside the same steps on one batch in memory.

``python -m benchmarks.training features`` makes a feature file of the size of VoxCeleb1 (137,060
faces of 512 values, 149,354 voices of 192, 1,225 people; random vectors), and trains from it.
``python -m benchmarks.training media`` trains on the prepared pictures and sounds of people of
the synthetic world, with augmentation, at the sizes of each model's small settings.

Blocks of steps of both kinds take turns, so that what else the machine does meets both alike; a
rate is the median over the blocks. An epoch shows as many faces as there are.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from avsearch.models import MODELS
from trainer.ahead import Ahead
from trainer.data.reading import read_data
from trainer.data.sets import BatchMaker, DataSet
from trainer.data.splits import split
from trainer.loop import Course, Trainer

FACES, FACE_VALUES = 137_060, 512
VOICES, VOICE_VALUES = 149_354, 192
PEOPLE = 1_225
EACH = 2  # items of a person in a batch


@click.group()
def main() -> None:
    """Time the training."""
    torch.manual_seed(0)
    click.echo(f"{os.cpu_count()} cores, torch {torch.__version__} on {torch.get_num_threads()}")


@main.command()
@click.option("--model", "models", multiple=True, default=tuple(MODELS), show_default=True)
@click.option("--batch", default=96, show_default=True, help="Items of each modality.")
@click.option("--steps", default=60, show_default=True, help="Of a block.")
@click.option("--blocks", default=7, show_default=True)
def features(models: tuple[str, ...], batch: int, steps: int, blocks: int) -> None:
    """Frozen features of the size of VoxCeleb1."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npz"
        write_vectors(path)
        for name in models:
            small = MODELS[name].Settings.small(
                face_features=(FACE_VALUES,), voice_features=(VOICE_VALUES,), classes=PEOPLE
            )
            started = time.perf_counter()
            data = split(read_data([path], small, Path(folder)), "hash:0.01,0.01")["train"]
            click.echo(f"read and checked in {time.perf_counter() - started:.1f} s")
            report(name, small, data, batch, steps, blocks)


@main.command()
@click.option("--model", "models", multiple=True, default=tuple(MODELS), show_default=True)
@click.option("--people", default=100, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), help="Keep prepared inputs here.")
@click.option("--batch", default=48, show_default=True, help="Items of each modality.")
@click.option("--steps", default=5, show_default=True, help="Of a block.")
@click.option("--blocks", default=7, show_default=True)
def media(
    models: tuple[str, ...], people: int, cache: Path | None, batch: int, steps: int, blocks: int
) -> None:
    """Pictures and sounds of the synthetic world."""
    with tempfile.TemporaryDirectory() as folder:
        for name in models:
            small = MODELS[name].Settings.small(classes=people)
            data = read_data([f"synthetic:people={people}"], small, cache or Path(folder))
            part = split(data, "last:2,0")["train"]
            report(name, small, part, batch, steps, blocks)


def write_vectors(path: Path) -> None:
    """A feature file of random vectors whose people are spread evenly."""
    rng = np.random.default_rng(0)
    who = [f"person{number:04d}" for number in range(PEOPLE)]
    np.savez(
        path,
        faces=rng.standard_normal((FACES, FACE_VALUES), dtype=np.float32),
        face_paths=[f"{who[at % PEOPLE]}/{at}.jpg" for at in range(FACES)],
        voices=rng.standard_normal((VOICES, VOICE_VALUES), dtype=np.float32),
        voice_paths=[f"{who[at % PEOPLE]}/{at}.wav" for at in range(VOICES)],
    )


def report(name: str, settings: Any, data: DataSet, batch: int, steps: int, blocks: int) -> None:
    """Print the rates of one model on one set."""
    maker = BatchMaker(data, batch // EACH, EACH, np.random.default_rng(0))
    trainer = Trainer(MODELS[name](settings), Course(steps=10**6, every=10**6))
    held = maker.make()
    with Ahead(maker) as batches:
        trainer.turn([held])
        coming, resident = alternate(
            lambda: trainer.turn([batches.next()[1]]), lambda: trainer.turn([held]), steps, blocks
        )
    epoch = -(-len(data.faces) // batch)
    click.echo(
        f"{name}: batches of {batch}+{batch}: {coming:.1f} steps a second with data coming in, "
        f"{resident:.1f} on one batch in memory: {coming / resident:.2f}; "
        f"{60 * coming / epoch:.2f} epochs a minute; a batch is made in {made_ms(maker):.2f} ms"
    )


def alternate(
    first: Callable[[], object], second: Callable[[], object], steps: int, blocks: int
) -> tuple[float, float]:
    """The median rate of each, in calls a second, over blocks that take turns."""
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(blocks):
        for step, found in zip((first, second), rates, strict=True):
            started = time.perf_counter()
            for _ in range(steps):
                step()
            found.append(steps / (time.perf_counter() - started))
    return float(np.median(rates[0])), float(np.median(rates[1]))


def made_ms(maker: BatchMaker, count: int = 20) -> float:
    """Milliseconds of processor time that one batch takes to make."""
    started = time.process_time()
    for _ in range(count):
        maker.make()
    return (time.process_time() - started) / count * 1e3


if __name__ == "__main__":
    main()
