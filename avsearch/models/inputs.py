"""Inputs of a network from decoded media: a face of its size, windows of a voice. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SAMPLE_RATE = 16_000  # Hz


def face_pixels(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return a face crop (h, w, 3), resampled to (3, size, size) RGB."""
    if rgb.shape[:2] != (size, size):
        rgb = np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))


def voice_windows(samples: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    """Return windows of a voice, all of one length: (w, seconds * 16000).

    A shorter voice is repeated to fill its window; a longer one gives as many windows, evenly
    spaced, as cover it.
    """
    length = round(seconds * SAMPLE_RATE)
    if len(samples) <= length:
        return np.resize(samples, (1, length))
    starts = np.linspace(0, len(samples) - length, -(-len(samples) // length)).astype(int)
    return np.stack([samples[start : start + length] for start in starts])
