"""Training steps a second with data that comes in, beside the same steps on one batch in memory.

``python -m benchmarks.training features`` makes a feature file of the size of VoxCeleb1 (137,060
faces of 512 values, 149,354 voices of 192, 1,225 people; random vectors), and trains from it.
``python -m benchmarks.training media`` trains on the prepared pictures and sounds of people of
the synthetic world, with augmentation, at the sizes of each model's small settings, or the papers'
with ``--size paper``. ``python -m benchmarks.training steps`` takes steps on one random batch of
the paper's size alone. All take ``--device cuda`` and ``--precision bfloat16``.

Blocks of steps of both kinds take turns, so that what else the machine does meets both alike. Rates
are medians over the blocks with the least and the most, and so is the share that one is of the
other in neighbouring blocks. An epoch shows as many faces as there are. Batches are made several at
a time, one a core: take a number of steps that this divides, so that every block makes its own.
"""

from __future__ import annotations

import dataclasses
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
from avsearch.models.layers.batch import Batch, BatchSide
from avsearch.runtime.threads import on_one_core
from benchmarks.measure import Figure
from benchmarks.models import noise, precision_option
from trainer.data.dataset import BatchMaker, DataSet
from trainer.data.load import read_data
from trainer.data.splits import split
from trainer.training.loop import Precision, TrainConfig, Trainer
from trainer.training.prefetch import BatchPrefetcher
from trainer.training.run import fitted

FACES, FACE_VALUES = 137_060, 512
VOICES, VOICE_VALUES = 149_354, 192
PEOPLE = 1_225
EACH = 2  # items of a person in a batch
SIZES = click.Choice(["small", "paper"])

device_option = click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")


@click.group()
def main() -> None:
    """Time the training."""
    torch.manual_seed(0)
    click.echo(f"{os.cpu_count()} cores, torch {torch.__version__} on {torch.get_num_threads()}")
    if torch.cuda.is_available():
        click.echo(torch.cuda.get_device_name())


@main.command()
@click.option("--model", "models", multiple=True, default=tuple(MODELS), show_default=True)
@click.option("--batch", default=96, show_default=True, help="Items of each modality.")
@click.option("--steps", default=60, show_default=True, help="Of a block.")
@click.option("--blocks", default=7, show_default=True)
@device_option
@precision_option
def features(
    models: tuple[str, ...],
    batch: int,
    steps: int,
    blocks: int,
    device: str,
    precisions: tuple[Precision, ...],
) -> None:
    """Frozen features of the size of VoxCeleb1."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npz"
        write_vectors(path)
        for name in models:
            small = MODELS[name].Settings.small()
            started = time.perf_counter()
            data = split(read_data([path], small, Path(folder)), "hash:0.01,0.01")["train"]
            click.echo(f"read and checked in {time.perf_counter() - started:.1f} s")
            for precision in precisions:
                timed = Timed(name, fitted(small, data), torch.device(device), precision)
                timed.report(data, batch, steps, blocks)


@main.command()
@click.option("--model", "models", multiple=True, default=tuple(MODELS), show_default=True)
@click.option("--people", default=100, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), help="Keep prepared inputs here.")
@click.option("--size", type=SIZES, default="small", show_default=True)
@click.option("--batch", default=48, show_default=True, help="Items of each modality.")
@click.option("--steps", default=5, show_default=True, help="Of a block.")
@click.option("--blocks", default=7, show_default=True)
@device_option
@precision_option
def media(
    models: tuple[str, ...],
    people: int,
    cache: Path | None,
    size: str,
    batch: int,
    steps: int,
    blocks: int,
    device: str,
    precisions: tuple[Precision, ...],
) -> None:
    """Pictures and sounds of the synthetic world."""
    with tempfile.TemporaryDirectory() as folder:
        for name in models:
            settings = settings_of(name, size)
            data = read_data([f"synthetic:people={people}"], settings, cache or Path(folder))
            part = split(data, "last:2,0")["train"]
            for precision in precisions:
                timed = Timed(name, fitted(settings, part), torch.device(device), precision)
                timed.report(part, batch, steps, blocks)


@main.command()
@click.option("--model", "models", multiple=True, default=tuple(MODELS), show_default=True)
@click.option("--size", type=SIZES, default="paper", show_default=True)
@click.option("--batch", type=int, help="Items of each modality.  [default: the paper's]")
@click.option("--steps", default=10, show_default=True, help="Of a block.")
@click.option("--blocks", default=5, show_default=True)
@device_option
@precision_option
def steps(
    models: tuple[str, ...],
    size: str,
    batch: int | None,
    steps: int,
    blocks: int,
    device: str,
    precisions: tuple[Precision, ...],
) -> None:
    """One random batch in memory."""
    for name in models:
        settings = settings_of(name, size)
        for precision in precisions:
            Timed(name, settings, torch.device(device), precision).report_steps(
                batch, steps, blocks
            )


def settings_of(name: str, size: str) -> Any:
    """The settings of a model."""
    kind = MODELS[name].Settings
    return kind.small() if size == "small" else kind()


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


def noise_batch(settings: Any, items: int) -> Batch:
    """A batch of random pictures and sounds of the sizes that a model takes."""
    who = torch.arange(items) // EACH
    labels = who % 2  # as many classes as settings have that no data decided
    inputs = (noise(settings, side, items) for side in ("face", "voice"))
    return Batch(*(BatchSide(each, labels, who, who % 2, who % 3) for each in inputs))


@dataclasses.dataclass(frozen=True, slots=True)
class Timed:
    """A fresh model in training on a device, and its rates."""

    name: str
    settings: Any
    device: torch.device
    precision: Precision

    def trainer(self) -> Trainer:
        """A new training that never ends."""
        course = TrainConfig(steps=10**6, every=10**6, precision=self.precision)
        return Trainer(MODELS[self.name](self.settings), course, device=self.device)

    def report(self, data: DataSet, batch: int, steps: int, blocks: int) -> None:
        """Print the rates on one set, beside those on one batch of it."""
        maker = BatchMaker(data, batch // EACH, EACH, np.random.default_rng(0))
        trainer, held = self.trainer(), maker.make().to(self.device)
        with BatchPrefetcher.of_device(maker, self.device) as batches:
            trainer.turn([held])
            taken = rates(
                steps,
                blocks,
                lambda: trainer.turn([batches.next()[1]]),
                lambda: trainer.turn([held]),
            )
        coming, resident = map(Figure.of, taken)
        share = Figure.of([one / other for one, other in zip(*taken, strict=True)])
        epochs = 60 * coming.median / -(-len(data.faces) // batch)
        click.echo(
            f"{self}: batches of {batch}+{batch}: {coming:.1f} steps a second with data coming "
            f"in, {resident:.1f} on one batch in memory, a share of {share:.2f}; "
            f"{epochs:.2f} epochs a minute; "
            f"a batch is made in {on_one_core(made_ms, maker):.2f} ms"
        )

    def report_steps(self, batch: int | None, steps: int, blocks: int) -> None:
        """Print the rate on one random batch, and the memory of a GPU that it takes."""
        trainer = self.trainer()
        items = batch or trainer.schedule.batch
        held = noise_batch(self.settings, items).to(self.device)
        for _ in range(3):  # what is chosen and compiled at first
            trainer.turn([held])
        (taken,) = rates(steps, blocks, lambda: trainer.turn([held]))
        rate = Figure.of(taken).median
        click.echo(
            f"{self}: batches of {items}+{items}: {rate:.2f} steps, {rate * items:.0f} faces and "
            f"as many voices a second{self._memory()}"
        )

    def _memory(self) -> str:
        if self.device.type != "cuda":
            return ""
        peak = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
        return f"; at most {peak:.1f} GiB of GPU memory"

    def __str__(self) -> str:
        return f"{self.name}, {self.device.type}, {self.precision}"


def rates(steps: int, blocks: int, *kinds: Callable[[], object]) -> list[list[float]]:
    """The rates of each kind of step, a second, over blocks of steps that take turns."""
    found: list[list[float]] = [[] for _ in kinds]
    for _ in range(blocks):
        for step, own in zip(kinds, found, strict=True):
            started = time.perf_counter()
            for _ in range(steps):
                step()
            own.append(steps / (time.perf_counter() - started))
    return found


def made_ms(maker: BatchMaker, count: int = 20) -> float:
    """Milliseconds of processor time that one batch takes to make."""
    started = time.process_time()
    for _ in range(count):
        maker.make()
    return (time.process_time() - started) / count * 1e3


if __name__ == "__main__":
    main()
