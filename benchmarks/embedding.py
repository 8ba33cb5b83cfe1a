"""A model run by torch and by onnxruntime, in full and in small numbers: how fast, how right.

``python -m benchmarks.embedding --faces DATA/lfw --voices DATA/ravdess --voices DATA/nemo`` embeds
items of the people that the checkpoint calls test people, a folder each: pictures as they are,
the first window of sounds. Items a second are those of all cores, a batch a core, decoded already.
Whole numbers of 8 bits are scaled on items of validation people.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from avsearch.media import kind_of, read_image, read_sound
from avsearch.models.inputs import face_pixels, voice_windows
from avsearch.models.onnx_embedder import branch_path
from avsearch.models.registry import media_checkpoint
from avsearch.models.torch_embedder import TorchEmbedder
from avsearch.runtime import onnx_session
from avsearch.runtime.threads import on_all_cores
from avsearch.runtime.weights import find_weights
from benchmarks.machine import Machine
from benchmarks.markdown import table
from benchmarks.measure import Figure
from benchmarks.whole_numbers import write_int8
from indexer.types import MODALITIES, Kind, Modality, Vectors
from trainer.evaluation.bootstrap import PersonBootstrap, interval
from trainer.evaluation.metrics import equal_error_rate

BATCH = 16  # of a core
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
WARMING = 4  # single items before any are timed
KINDS: dict[Modality, Kind] = {"face": "picture", "voice": "sound"}

Way = Callable[[NDArray[Any]], Vectors]  # inputs of one modality (B, ...) to (B, dim)


@dataclasses.dataclass(frozen=True, slots=True)
class Items:
    """Inputs (n, ...) as a network takes them, and whose they are (n,)."""

    inputs: NDArray[Any]
    people: NDArray[np.int64]

    def batches(self) -> list[NDArray[Any]]:
        """As many at a time as a core is given."""
        return [self.inputs[at : at + BATCH] for at in range(0, len(self.inputs), BATCH)]


@click.command()
@click.option("--model", default=None, help="A shipped model's name or a checkpoint file.")
@click.option("--faces", multiple=True, type=FOLDER, help="A gallery, a folder a person.")
@click.option("--voices", multiple=True, type=FOLDER, help="A gallery, a folder a person.")
@click.option("--people", default=100, show_default=True, help="At most, of each side.")
@click.option("--each", default=4, show_default=True, help="Items of a person at most.")
@click.option("--rounds", default=3, show_default=True)
def main(
    model: str | None,
    faces: tuple[Path, ...],
    voices: tuple[Path, ...],
    people: int,
    each: int,
    rounds: int,
) -> None:
    """Print a table for each modality of which galleries were named."""
    path = find_weights(model)
    click.echo(Machine.here(["torch", "onnxruntime", "numpy"]).described())
    for modality, galleries in zip(MODALITIES, (faces, voices), strict=True):
        if galleries:
            bench = Bench(path, modality, galleries, people, each)
            click.echo(f"\n{bench.described()}\n\n{bench.table(rounds)}")


class Bench:
    """One modality of a model, and items of its test and its validation people."""

    def __init__(
        self, path: Path, modality: Modality, galleries: Sequence[Path], people: int, each: int
    ) -> None:
        self.modality: Modality = modality
        self.passes = TorchEmbedder(media_checkpoint(path), torch.device("cpu"))
        self.file = branch_path(path, modality)
        record = media_checkpoint(path).record["people"]
        self.tested, self.others = (
            self._read(galleries, set(record[side]), people, each)
            for side in ("test", "validation")
        )

    def described(self) -> str:
        """What is measured, in words."""
        count = len(np.unique(self.tested.people))
        return f"{len(self.tested.inputs)} {self.modality}s of {count} people never trained on."

    def table(self, rounds: int) -> str:
        """Items a second, cosine to the first way, and the equal error rate, of each way."""
        with tempfile.TemporaryDirectory() as folder:
            ways = self._ways(Path(folder) / "int8.onnx")
            rates = self._rates(ways, rounds)
            vectors = {name: self._vectors(way) for name, way in ways.items()}
        first = next(iter(vectors.values()))
        rows = [
            (name, rates[name], self._cosine(first, found), *self._errors(first, found))
            for name, found in vectors.items()
        ]
        head = ("run by", "items a second", "cosine to the first", "EER", "more than the first")
        return table(head, rows)

    def _ways(self, small: Path) -> dict[str, Way]:
        write_int8(self.file, small, self.others.batches())
        return {
            "torch, float32": self._by_torch,
            "torch, bfloat16": self._by_torch_in_half,
            "onnxruntime, float32": functools.partial(_by_onnx, onnx_session.Session(self.file)),
            "onnxruntime, int8": functools.partial(_by_onnx, onnx_session.Session(small)),
        }

    def _by_torch(self, inputs: NDArray[Any]) -> Vectors:
        return self.passes.run("embed", self.modality, inputs)

    @torch.inference_mode()
    def _by_torch_in_half(self, inputs: NDArray[Any]) -> Vectors:
        embed = getattr(self.passes.network, f"embed_{self.modality}")
        with torch.autocast("cpu", torch.bfloat16):
            vectors: Vectors = embed(torch.from_numpy(inputs)).float().numpy()
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _rates(self, ways: Mapping[str, Way], rounds: int) -> dict[str, str]:
        """In turns, so that a slow moment of the machine hits all of them."""
        batches = self.tested.batches()
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for at in range(1 + rounds):
            for name, way in ways.items():
                started = time.perf_counter()
                on_all_cores(way, batches if at else [self.tested.inputs[:1]] * WARMING)
                if at:
                    taken[name].append(len(self.tested.inputs) / (time.perf_counter() - started))
        return {name: f"{Figure.of(rates):.1f}" for name, rates in taken.items()}

    def _vectors(self, way: Way) -> Vectors:
        return np.concatenate(on_all_cores(way, self.tested.batches()))

    def _cosine(self, one: Vectors, other: Vectors) -> str:
        cosines = (one * other).sum(1)
        return f"{cosines.mean():.5f}, least {cosines.min():.5f}"

    def _errors(self, one: Vectors, other: Vectors) -> tuple[str, str]:
        """The equal error rate in percent, and how many points more it is than the first's."""
        first, second = np.triu_indices(len(self.tested.people), 1)
        people = self.tested.people
        same = people[first] == people[second]
        draws = PersonBootstrap(int(people.max()) + 1)
        rates, drawn = [], []
        for vectors in (one, other):
            scores = (vectors @ vectors.T)[first, second]
            rates.append(equal_error_rate(scores, same))
            drawn.append(draws.pairs(scores, same, people[first], people[second]).eer())
        return _percent(rates[1], drawn[1]), _percent(rates[1] - rates[0], drawn[1] - drawn[0])

    def _read(self, galleries: Sequence[Path], chosen: set[str], people: int, each: int) -> Items:
        """Items of those people of galleries who have two or more, as many people of each."""
        found = [
            list(self._files(one, chosen))[: -(-people // len(galleries))] for one in galleries
        ]
        files = [own[:each] for own in itertools.chain.from_iterable(found)]
        if len(files) < 2:
            raise click.UsageError(
                f"The galleries hold fewer than two people of the checkpoint's test or of its "
                f"validation side who have two {self.modality}s or more; name others too."
            )
        inputs = [self._input(file) for own in files for file in own]
        return Items(np.stack(inputs), np.repeat(np.arange(len(files)), list(map(len, files))))

    def _files(self, gallery: Path, chosen: set[str]) -> Iterator[list[Path]]:
        """The files of each of these people who has two or more."""
        for folder in sorted(one for one in gallery.iterdir() if one.is_dir()):
            files = [f for f in sorted(folder.iterdir()) if kind_of(f) == KINDS[self.modality]]
            if len(files) > 1 and f"{gallery.name}/{folder.name}" in chosen:
                yield files

    def _input(self, file: Path) -> NDArray[Any]:
        if self.modality == "face":
            return face_pixels(read_image(file), self.passes.face_size)
        return voice_windows(read_sound(file), self.passes.voice_seconds)[:1].squeeze(0)


def _by_onnx(session: onnx_session.Session, inputs: NDArray[Any]) -> Vectors:
    return np.asarray(session.run(inputs)[0], np.float32)


def _percent(value: float, drawn: NDArray[np.float64]) -> str:
    low, high = interval(drawn)
    return f"{100 * value:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


if __name__ == "__main__":
    main()
