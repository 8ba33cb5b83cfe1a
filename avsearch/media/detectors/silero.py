"""Silero VAD: how likely each 32 ms of a sound are speech, by onnxruntime or by torch.

The network and weights of silero-vad (MIT). The state between blocks is handed from call to call,
so that threads can share one network.
"""

from __future__ import annotations

import functools
import threading
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from avsearch.runtime import onnx_session
from avsearch.runtime.weights import WEIGHTS
from indexer.errors import BadRequest

FRAME: Final = 512  # samples, 32 ms; the network knows no other
CONTEXT: Final = 64  # samples of the frame before that each frame sees
HIDDEN: Final = 128  # values of its memory
FILE: Final = WEIGHTS / "silero.onnx"

Floats = NDArray[np.float32]
_loading = threading.Lock()


class State(NamedTuple):
    """What the network carries from one block to the next."""

    context: Floats  # (64,) the last samples
    hidden: Floats  # (1, 1, 128)
    cell: Floats  # (1, 1, 128)

    @classmethod
    def start(cls) -> State:
        """The state before the first block."""
        silence = np.zeros((1, 1, HIDDEN), np.float32)
        return cls(np.zeros(CONTEXT, np.float32), silence, silence)


class Silero(Protocol):
    """The network, whoever runs it."""

    def __call__(self, samples: Floats, state: State) -> tuple[Floats, State]:
        """Samples (n * 512,) at 16 kHz to probabilities (n,), and the state to go on with."""


class OnnxSilero:
    """The network run by onnxruntime, on the core of the thread that asks."""

    def __init__(self) -> None:
        self._session = onnx_session.Session(FILE)

    def __call__(self, samples: Floats, state: State) -> tuple[Floats, State]:
        """As :class:`Silero` says."""
        probabilities, *carried = self._session.run(samples, *state)
        return probabilities, State(*carried)


def load_silero() -> Silero:
    """The network, loaded once; BadRequest where nothing that could run it is installed."""
    with _loading:
        return _load()


@functools.cache
def _load() -> Silero:
    if onnx_session.is_installed():
        return OnnxSilero()
    if not (onnx_session.can_import("torch") and onnx_session.can_import("silero_vad")):
        raise BadRequest(
            "Finding speech needs onnxruntime, which is not installed: "
            "pip install 'avsearch[search]'."
        )
    from avsearch.media.detectors.silero_torch import TorchSilero

    return TorchSilero()
