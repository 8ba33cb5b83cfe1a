"""What stands between decoded media and a network: sizes, scales, cepstra.

Every function here works on one item at a time or treats each row of a batch alone, so that
no vector depends on its neighbours.
"""

from __future__ import annotations

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

SAMPLE_RATE = 16_000  # Hz
WINDOW_S = 0.025  # seconds of one analysis window
HOP_S = 0.010  # seconds between two windows
MELS = 64
_LOUDNESS = 0.05  # root mean square every voice is brought to
_CEPSTRUM_SCALE = 10.0  # brings cepstra to about unit size


def face_pixels(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A face crop (h, w, 3) as (3, size, size) RGB; smaller and larger crops are resampled."""
    if rgb.shape[:2] != (size, size):
        rgb = np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))


def scale_pixels(pixels: Tensor) -> Tensor:
    """uint8 (B, 3, h, w) to float32 in [-1, 1], channels last, which convolutions prefer."""
    scaled = pixels.float().mul_(2 / 255).sub_(1)
    return scaled.contiguous(memory_format=torch.channels_last)


def voice_windows(samples: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    """Cut a voice into windows of one length, (w, seconds * 16000).

    A shorter voice is repeated to fill its window; a longer one becomes as many windows, evenly
    spread, as cover it.
    """
    length = round(seconds * SAMPLE_RATE)
    if len(samples) <= length:
        return np.resize(samples, (1, length))
    starts = np.linspace(0, len(samples) - length, -(-len(samples) // length)).astype(int)
    return np.stack([samples[start : start + length] for start in starts])


class Cepstra(nn.Module):
    """Waveforms (B, samples) to mel-frequency cepstra (B, coefficients, frames).

    25 ms windows every 10 ms. Each row is brought to one loudness first and its mean cepstrum is
    taken away, so that neither the recording level nor a fixed channel reaches the network.
    """

    def __init__(self, coefficients: int) -> None:
        super().__init__()
        # log_mels: the decibel scale of torchaudio clips at 80 dB below the loudest value of the
        # whole batch, and one row would change another.
        self.transform = torchaudio.transforms.MFCC(
            SAMPLE_RATE,
            coefficients,
            log_mels=True,
            melkwargs={
                "n_fft": 512,
                "win_length": round(WINDOW_S * SAMPLE_RATE),
                "hop_length": round(HOP_S * SAMPLE_RATE),
                "n_mels": MELS,
            },
        )

    def forward(self, waves: Tensor) -> Tensor:
        """(B, samples) in [-1, 1] to (B, coefficients, frames)."""
        level = waves.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
        cepstra: Tensor = self.transform(waves * (_LOUDNESS / level))
        return (cepstra - cepstra.mean(2, keepdim=True)) / _CEPSTRUM_SCALE
