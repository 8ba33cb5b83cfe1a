"""Conversion between 16-bit samples and float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEPS = np.float32(32768)  # 16 bits have one more negative value than positive ones
_LOUDEST = np.float32(32767)


def waveform(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return 16-bit samples as float32 in [-1, 1)."""
    scaled: NDArray[np.float32] = samples.astype(np.float32) / _STEPS
    return scaled


def pcm(wave: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return a wave in 16 bits, clipped to [-1, 1]."""
    samples: NDArray[np.int16] = (np.clip(wave, -1, 1) * _LOUDEST).astype(np.int16)
    return samples
