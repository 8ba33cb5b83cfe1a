"""Speed of a model by torch and by onnxruntime, and the agreement of their vectors.

``python -m benchmarks.speed.embedding --faces DATA/lfw --voices DATA/ravdess`` embeds items of the
checkpoint's test people: images as they are, the first window of recordings. The rates are those
of all cores, one batch per core, of decoded items.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from avsearch.media import kind_of, read_audio, read_image
from avsearch.models.inputs import face_pixels, voice_windows
from avsearch.models.onnx_embedder import branch_path
from avsearch.models.registry import media_checkpoint
from avsearch.models.torch_embedder import TorchEmbedder
from avsearch.runtime import onnx_session
from avsearch.runtime.threads import on_all_cores
from avsearch.runtime.weights import find_weights
from benchmarks.machine import Machine
from benchmarks.tables import Spread, table
from indexer.types import MODALITIES, Kind, Modality, Vectors

BATCH = 16  # items per core
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
KINDS: dict[Modality, Kind] = {"face": "image", "voice": "audio"}

Runtime = Callable[[NDArray[Any]], Vectors]  # inputs of one modality (B, ...) to (B, dim)


@click.command()
@click.option("--model", default=None, help="Name of a shipped model, or a checkpoint file.")
@click.option("--faces", multiple=True, type=FOLDER, help="A gallery: one folder per person.")
@click.option("--voices", multiple=True, type=FOLDER, help="A gallery: one folder per person.")
@click.option("--people", default=100, show_default=True, help="People of each modality at most.")
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
    """Print one table per modality."""
    path = find_weights(model)
    click.echo(Machine.here(["torch", "onnxruntime", "numpy"]).described())
    passes = TorchEmbedder(media_checkpoint(path), torch.device("cpu"))
    tested = set(media_checkpoint(path).record["people"]["test"])
    for modality, galleries in zip(MODALITIES, (faces, voices), strict=True):
        if not galleries:
            continue
        files = _files(galleries, KINDS[modality], tested, people, each)
        inputs = np.stack([_input(passes, modality, file) for file in files])
        session = onnx_session.Session(branch_path(path, modality))
        runtimes: dict[str, Runtime] = {
            "torch": functools.partial(passes.run, "embed", modality),
            "onnxruntime": functools.partial(_by_onnx, session),
        }
        click.echo(f"\n{len(inputs)} {modality}s of test people.\n\n")
        click.echo(_compared(runtimes, inputs, rounds))


def _files(
    galleries: Sequence[Path], kind: Kind, chosen: set[str], people: int, each: int
) -> list[Path]:
    """Return files of the chosen people, equally many people of every gallery.

    Raises UsageError where nobody is chosen.
    """
    found: list[Path] = []
    for gallery in galleries:
        folders = (one for one in sorted(gallery.iterdir()) if one.is_dir())
        ours = [one for one in folders if f"{gallery.name}/{one.name}" in chosen]
        for folder in ours[: -(-people // len(galleries))]:
            found += [file for file in sorted(folder.iterdir()) if kind_of(file) == kind][:each]
    if not found:
        raise click.UsageError("The galleries hold nobody of the checkpoint's test people.")
    return found


def _input(passes: TorchEmbedder, modality: Modality, file: Path) -> NDArray[Any]:
    if modality == "face":
        return face_pixels(read_image(file), passes.face_size)
    return voice_windows(read_audio(file), passes.voice_seconds)[:1].squeeze(0)


def _by_onnx(session: onnx_session.Session, inputs: NDArray[Any]) -> Vectors:
    return np.asarray(session.run(inputs)[0], np.float32)


def _compared(runtimes: Mapping[str, Runtime], inputs: NDArray[Any], rounds: int) -> str:
    """Return a table of rates, taken in turns, and of cosines to the first runtime's vectors."""
    batches = list(_batches(inputs))
    rates: dict[str, list[float]] = {name: [] for name in runtimes}
    vectors: dict[str, Vectors] = {}
    for number in range(1 + rounds):  # the first round warms up and is not counted
        for name, run in runtimes.items():
            started = time.perf_counter()
            vectors[name] = np.concatenate(on_all_cores(run, batches))
            if number:
                rates[name].append(len(inputs) / (time.perf_counter() - started))
    first = next(iter(vectors.values()))
    cosines = {name: (first * other).sum(1) for name, other in vectors.items()}
    rows = [
        (name, f"{Spread.of(rates[name]):.1f}", f"{each.mean():.5f}, least {each.min():.5f}")
        for name, each in cosines.items()
    ]
    return table(("runtime", "items a second", "cosine to the first"), rows)


def _batches(inputs: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(inputs), BATCH):
        yield inputs[start : start + BATCH]


if __name__ == "__main__":
    main()
