"""Silero VAD: how likely each 32 ms of a sound are speech. The only importer of silero_vad.

The network and weights of silero-vad (MIT), run over all frames of a block at once where the
package goes frame by frame: the same probabilities, several times faster. The state between
blocks is handed from call to call, so that threads can share one network. Importing this
imports torch.
"""

from __future__ import annotations

import functools
import threading
import warnings
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsearch.media.speech import FRAME

_CONTEXT: Final = 64  # samples of the frame before that each frame sees
_FFT: Final = 256
_BINS: Final = _FFT // 2 + 1
_HIDDEN: Final = 128

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
_loading = threading.Lock()


class State(NamedTuple):
    """What the network carries from one block to the next."""

    context: Tensor  # (64,) the last samples
    hidden: Tensor  # (1, 1, 128)
    cell: Tensor  # (1, 1, 128)


class Silero(nn.Module):
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
        self.memory = nn.LSTM(_HIDDEN, _HIDDEN)
        self.head = nn.Conv1d(_HIDDEN, 1, 1)

    def forward(self, samples: Tensor, state: State) -> tuple[Tensor, State]:
        """Samples (n * 512,) at 16 kHz to probabilities (n,), and the state to go on with."""
        heard = torch.cat([state.context, samples])
        frames = heard.unfold(0, _CONTEXT + FRAME, FRAME).unsqueeze(1)  # (n, 1, 576)
        features = self.encoder(self._spectrum(frames))  # (n, 128, 1)
        steps, (hidden, cell) = self.memory(
            features.transpose(1, 2), (state.hidden, state.cell)
        )  # (n, 1, 128)
        scores = self.head(steps.relu().transpose(1, 2))  # (n, 1, 1)
        return scores.sigmoid().flatten(), State(heard[-_CONTEXT:], hidden, cell)

    def _spectrum(self, frames: Tensor) -> Tensor:
        """(n, 1, 576) to magnitudes (n, 129, 4)."""
        padded = functional.pad(frames, (0, _CONTEXT), mode="reflect")
        waves = functional.conv1d(padded, self.basis, stride=_FFT // 2)
        return (waves[:, :_BINS].square() + waves[:, _BINS:].square()).sqrt()

    @staticmethod
    def start() -> State:
        """The state before the first block."""
        silence = torch.zeros(1, 1, _HIDDEN)
        return State(torch.zeros(_CONTEXT), silence, silence)


def load_silero() -> Silero:
    """The network with the weights of the installed package; loaded once."""
    with _loading:
        return _load()


@functools.cache
def _load() -> Silero:
    weights = _packaged_weights()
    model = Silero()
    model.load_state_dict({ours: weights[f"_model.{theirs}"] for ours, theirs in _NAMES.items()})
    return model.eval()


def _packaged_weights() -> dict[str, Tensor]:
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        # The package reads its own file by torch.jit, which torch has deprecated.
        warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)
        import silero_vad

        weights: dict[str, Tensor] = silero_vad.load_silero_vad().state_dict()
    torch.set_num_threads(threads)  # importing silero_vad sets it to one for the whole process
    return weights
