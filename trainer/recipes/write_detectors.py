"""Write the ONNX files of the detectors: ``python -m trainer.recipes.write_detectors``.

The weights are those of the packages facenet-pytorch and silero-vad, which only this and a run
without onnxruntime need.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch import Tensor, nn

from avsearch.media.detectors.mtcnn import SIDES
from avsearch.media.detectors.mtcnn_torch import TorchMtcnn
from avsearch.media.detectors.silero import CONTEXT, FILE, FRAME, HIDDEN
from avsearch.media.detectors.silero_torch import silero_network
from avsearch.media.faces import SMALLEST_FACE_PX
from avsearch.runtime.weights import WEIGHTS
from indexer.errors import printable
from trainer.export_onnx import write_onnx

_SOURCES = {
    "mtcnn": "facenet-pytorch, Copyright (c) 2019 Timothy Esler, MIT License",
    "silero": "silero-vad, Copyright (c) 2020-present Silero Team, MIT License",
}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True)
def main(out: Path) -> None:
    """Write the four files."""
    for path in [*write_mtcnn(out), write_silero(out)]:
        click.echo(printable(path))


def write_mtcnn(folder: Path) -> list[Path]:
    """Write the three networks of MTCNN, and return their paths."""
    networks = TorchMtcnn(SMALLEST_FACE_PX).networks
    parts = ((networks.pnet, 40), (networks.rnet, SIDES[0]), (networks.onet, SIDES[1]))
    return [
        _write_judge(folder / f"mtcnn-{name}.onnx", part, side)
        for name, (part, side) in zip("pro", parts, strict=True)
    ]


def _write_judge(path: Path, network: nn.Module, side: int) -> Path:
    free = {0: "n", 2: "height", 3: "width"} if path.stem == "mtcnn-p" else {0: "n"}
    write_onnx(
        path,
        Judge(network),
        {"pictures": torch.zeros(2, 3, side, side)},
        ["offsets", "probabilities"],
        free={"pictures": free},
        facts={"source": _SOURCES["mtcnn"]},
    )
    return path


class Judge(nn.Module):
    """One network of MTCNN, without the landmarks, which are not used."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return offsets (B, 4, ...) and face probabilities (B, ...) of images (B, 3, h, w)."""
        offsets, *_, probabilities = self.network(pictures)
        return offsets, probabilities[:, 1]


def write_silero(folder: Path) -> Path:
    """Write the network of Silero VAD, and return its path."""
    path = folder / FILE.name
    state = torch.zeros(1, 1, HIDDEN)
    write_onnx(
        path,
        silero_network(),
        {
            "samples": torch.zeros(4 * FRAME),
            "context": torch.zeros(CONTEXT),
            "hidden": state,
            "cell": state.clone(),
        },
        ["probabilities", "next_context", "next_hidden", "next_cell"],
        free={"samples": {0: "samples"}, "probabilities": {0: "frames"}},
        facts={"source": _SOURCES["silero"]},
    )
    return path


if __name__ == "__main__":
    main()
