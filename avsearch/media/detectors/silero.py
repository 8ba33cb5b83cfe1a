"""Silero VAD, run by onnxruntime: the probability of speech in each 32 ms of audio.

The network and weights of silero-vad (MIT License). The caller holds the state between blocks, so
that threads can share one network.
"""

from __future__ import annotations

import functools
import threading
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsearch.runtime.onnx_session import Session
from avsearch.runtime.weights import WEIGHTS
from indexer.runtime import optional_libraries

FRAME: Final = 512  # samples, 32 ms; the only frame length of the network
CONTEXT: Final = 64  # samples of the previous frame that the network sees with each frame
HIDDEN: Final = 128  # values of the LSTM's state
FILE: Final = WEIGHTS / "silero.onnx"

Floats = NDArray[np.float32]
_loading = threading.Lock()


class SileroState(NamedTuple):
    """The state that the network carries from one block to the next."""

    context: Floats  # (64,) the last samples
    hidden: Floats  # (1, 1, 128)
    cell: Floats  # (1, 1, 128)

    @classmethod
    def start(cls) -> SileroState:
        """Return the state before the first block."""
        zeros = np.zeros((1, 1, HIDDEN), np.float32)
        return cls(np.zeros(CONTEXT, np.float32), zeros, zeros)


class Silero:
    """The voice activity network; threads may share it."""

    def __init__(self) -> None:
        optional_libraries.load("onnxruntime", "Finding speech", "search")
        self._session = Session(FILE, gpu=True)

    def __call__(self, samples: Floats, state: SileroState) -> tuple[Floats, SileroState]:
        """Return probabilities (n,) of (n * 512,) samples at 16 kHz, and the next state."""
        probabilities, *carried = self._session.run(samples, *state)
        return probabilities, SileroState(*carried)


def load_silero() -> Silero:
    """Return the network, loaded once.

    Raises:
        LibraryUnusable: onnxruntime is not installed or does not load.
    """
    with _loading:
        return _load()


_load = functools.cache(Silero)
