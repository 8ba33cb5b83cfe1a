"""Files a second through the whole path, beside the bare model.

``python -m benchmarks.speed.indexing --crops DATA/lfw --photos DATA/lfw_full``

Indexes images that are crops already (``avsearch index --faces whole``), and measures the model's
forward pass on decoded batches just before and after. Then it indexes photographs with face
detection, and measures each stage alone, which shows the limiting one.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from avsearch.api import MediaIndex
from avsearch.media import Faces, MediaExtractor, read_image
from avsearch.media.faces import FaceDetector
from avsearch.models import load_torch_model
from avsearch.models.torch_embedder import TorchEmbedder
from avsearch.runtime.threads import on_all_cores
from indexer.types import Media

BARE = 1024  # pictures of a measurement of the bare model
BATCH = 32
ALONE = 200  # pictures of a measurement of one stage


@click.command()
@click.option("--crops", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--photos", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--count", default=5000, show_default=True)
@click.option("--model", default=None)
def main(crops: Path, photos: Path, count: int, model: str | None) -> None:
    """Print both tables."""
    click.echo(f"{os.cpu_count()} cores, torch {torch.__version__} on {torch.get_num_threads()}")
    embedder = load_torch_model(model, "cpu")
    _whole(crops, count, model, embedder)
    _detected(photos, model, embedder)


def _whole(gallery: Path, count: int, model: str | None, embedder: TorchEmbedder) -> None:
    before = _bare_rates(embedder)
    files, rate = _path_rate(gallery, count, model, "whole")
    after = _bare_rates(embedder)
    click.echo(f"crops: {files} files through the whole path, {rate:.1f} a second")
    for way, bare in before.items():
        click.echo(
            f"bare forward on decoded batches, {way}: {bare:.1f} a second before, "
            f"{after[way]:.1f} after; the path has {2 * rate / (bare + after[way]):.2f} of it"
        )


def _detected(gallery: Path, model: str | None, embedder: TorchEmbedder) -> None:
    files, rate = _path_rate(gallery, 10**9, model, "detect")
    click.echo(f"photographs: {files} files with detection, {rate:.1f} a second")
    paths = list(_pictures(gallery))[:ALONE]
    pictures = [read_image(path) for path in paths]
    detector = FaceDetector()
    crops = [media for path in paths for media in _faces(MediaExtractor("detect", detector), path)]
    for name, count, work in (
        ("decoding", len(paths), lambda: [read_image(path) for path in paths]),
        ("detection", len(paths), lambda: [detector.detect(rgb) for rgb in pictures]),
        ("embedding", len(crops), lambda: embedder.embed(crops)),
    ):
        click.echo(f"  {name} alone: {count / _seconds(work):.1f} a second")


def _faces(extractor: MediaExtractor, path: Path) -> list[Media]:
    return list(extractor.extract(path))


def _path_rate(gallery: Path, count: int, model: str | None, faces: Faces) -> tuple[int, float]:
    """Files, and files a second, of indexing that many images of a gallery."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "gallery"
        part.mkdir()
        taken = 0
        for person in sorted(path for path in gallery.iterdir() if path.is_dir()):
            if taken >= count:
                break
            (part / person.name).symlink_to(person.resolve(), target_is_directory=True)
            taken += sum(1 for _ in person.iterdir())
        with MediaIndex(Path(folder) / "i", model=model) as index:
            report = index.add(part, faces=faces)
    return report.added, (report.added + len(report.refused)) / report.seconds


def _bare_rates(embedder: TorchEmbedder) -> dict[str, float]:
    """Images a second of the network alone, on decoded batches."""
    network: Any = embedder.network
    size = network.settings.face_size
    rng = np.random.default_rng(0)
    batches = [
        torch.from_numpy(rng.integers(0, 256, (BATCH, 3, size, size), np.uint8))
        for _ in range(BARE // BATCH)
    ]

    @torch.inference_mode()
    def forward(batch: Tensor) -> None:
        network.embed_face(batch)

    ways: dict[str, Callable[[], object]] = {
        "one batch after the other": lambda: [forward(batch) for batch in batches],
        "a batch a core": lambda: on_all_cores(forward, batches),
    }
    forward(batches[0])
    return {way: BARE / _seconds(work) for way, work in ways.items()}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _pictures(gallery: Path) -> Iterator[Path]:
    yield from sorted(gallery.glob("*/*.jpg"))


if __name__ == "__main__":
    main()
