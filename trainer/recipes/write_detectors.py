"""Write the ONNX files of the detectors: ``python -m trainer.recipes.write_detectors``.

The weights are those of the packages facenet-pytorch and silero-vad, which only this needs:
``pip install 'avsearch[recipes]'``.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final

import click
import torch
from facenet_pytorch import MTCNN
from torch import Tensor, nn
from torch.nn import functional

from avsearch.media.detectors.mtcnn import SIDES
from avsearch.media.detectors.silero import CONTEXT, FILE, FRAME, HIDDEN
from avsearch.media.faces import MIN_FACE_PX
from avsearch.runtime.weights import WEIGHTS
from indexer.errors import printable
from trainer.export_onnx import write_onnx

_SOURCES = {
    "mtcnn": "facenet-pytorch, Copyright (c) 2019 Timothy Esler, MIT License",
    "silero": "silero-vad, Copyright (c) 2020-present Silero Team, MIT License",
}
_FFT: Final = 256
_BINS: Final = _FFT // 2 + 1

# our name: the package's
_NAMES: Final = {
    "basis": "stft.forward_basis_buffer",
    **{
        f"encoder.{2 * i}.{part}": f"encoder.{i}.reparam_conv.{part}"
        for i in range(4)
        for part in ("weight", "bias")
    },
    **{
        f"memory.{part}_l0": f"decoder.rnn.{part}"
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    },
    "head.weight": "decoder.decoder.2.weight",
    "head.bias": "decoder.decoder.2.bias",
}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True)
def main(out: Path) -> None:
    """Write the four files."""
    for path in [*write_mtcnn(out), write_silero(out)]:
        click.echo(printable(path))


def write_mtcnn(folder: Path) -> list[Path]:
    """The three networks of MTCNN."""
    networks = MTCNN(keep_all=True, min_face_size=MIN_FACE_PX).eval()
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
    """One network of MTCNN, without the landmarks, which nobody asks for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, h, w) to offsets (B, 4, ...) and probabilities of a face (B, ...)."""
        offsets, *_, probabilities = self.network(pictures)
        return offsets, probabilities[:, 1]


def write_silero(folder: Path) -> Path:
    """The network of Silero VAD."""
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


class SileroNetwork(nn.Module):
    """The network: spectrum, four convolutions, an LSTM over the frames, one probability."""

    basis: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", torch.zeros(2 * _BINS, 1, _FFT))
        self.encoder = nn.Sequential(
            *(nn.Conv1d(_BINS, 128, 3, padding=1), nn.ReLU()),
            *(nn.Conv1d(128, 64, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv1d(64, 64, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv1d(64, 128, 3, padding=1), nn.ReLU()),
        )
        self.memory = nn.LSTM(HIDDEN, HIDDEN)
        self.head = nn.Conv1d(HIDDEN, 1, 1)

    def forward(
        self, samples: Tensor, context: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Samples (n * 512,) at 16 kHz to probabilities (n,); the state comes and goes beside."""
        frames = samples.reshape(-1, FRAME)
        before = torch.cat([context.unsqueeze(0), frames[:-1, -CONTEXT:]])
        heard = torch.cat([before, frames], 1).unsqueeze(1)  # (n, 1, 576)
        features = self.encoder(self._spectrum(heard))  # (n, 128, 1)
        steps, (hidden, cell) = self.memory(features.transpose(1, 2), (hidden, cell))
        scores = self.head(steps.relu().transpose(1, 2))  # (n, 1, 1)
        return scores.sigmoid().flatten(), samples[-CONTEXT:], hidden, cell

    def _spectrum(self, frames: Tensor) -> Tensor:
        """(n, 1, 576) to magnitudes (n, 129, 4)."""
        padded = functional.pad(frames, (0, CONTEXT), mode="reflect")
        waves = functional.conv1d(padded, self.basis, stride=_FFT // 2)
        return (waves[:, :_BINS].square() + waves[:, _BINS:].square()).sqrt()


def silero_network() -> SileroNetwork:
    """The network with the weights of the installed package."""
    weights = _packaged_weights()
    network = SileroNetwork()
    network.load_state_dict({ours: weights[f"_model.{theirs}"] for ours, theirs in _NAMES.items()})
    return network.eval()


def _packaged_weights() -> dict[str, Tensor]:
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        # The package reads its own file by torch.jit, which torch has deprecated.
        warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)
        import silero_vad

        weights: dict[str, Tensor] = silero_vad.load_silero_vad().state_dict()
    torch.set_num_threads(threads)  # importing silero_vad sets it to one for the whole process
    return weights


if __name__ == "__main__":
    main()
