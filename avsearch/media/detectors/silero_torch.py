"""Silero VAD by torch: the network, and its weights from the package. Only silero_vad's importer.

Run over all frames of a block at once where the package goes frame by frame: the same
probabilities, several times faster. ``trainer.recipes.write_detectors`` makes an ONNX file of it.
"""

from __future__ import annotations

import warnings
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsearch.media.detectors.silero import CONTEXT, FRAME, HIDDEN, Floats, State

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


class TorchSilero:
    """The network run by torch."""

    def __init__(self) -> None:
        self._network = silero_network()

    @torch.inference_mode()
    def __call__(self, samples: Floats, state: State) -> tuple[Floats, State]:
        """As :class:`avsearch.media.detectors.silero.Silero` says."""
        inputs = (torch.from_numpy(each) for each in (samples, *state))
        probabilities, *carried = (output.numpy() for output in self._network(*inputs))
        return probabilities, State(*carried)


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
