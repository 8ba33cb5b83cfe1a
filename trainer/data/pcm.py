"""Samples of 16 bits, as voices are kept, and as float32 again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEPS = np.float32(32768)  # below nought, where 16 bits have one more than above it
_LOUDEST = np.float32(32767)


def waveform(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Samples of 16 bits as float32 in [-1, 1)."""
    scaled: NDArray[np.float32] = samples.astype(np.float32) / _STEPS
    return scaled


def pcm(wave: NDArray[np.float32]) -> NDArray[np.int16]:
    """A wave in 16 bits; what lies outside [-1, 1] is clipped."""
    samples: NDArray[np.int16] = (np.clip(wave, -1, 1) * _LOUDEST).astype(np.int16)
    return samples
