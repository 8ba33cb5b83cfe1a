"""What the networks begin with: scales of pixels, cepstra and spectra of voices.

Every function here works on one item at a time or treats each row of a batch alone, so that
no vector depends on its neighbours.
"""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn

from avsearch.models.inputs import SAMPLE_RATE

WINDOW_S = 0.025  # seconds of one analysis window
HOP_S = 0.010  # seconds between two windows
MELS = 64
_LOUDNESS = 0.05  # root mean square every voice is brought to
_SPEECH_LEVEL = 10 ** (-30 / 20)  # root mean square, 30 dB below full scale
_CEPSTRUM_SCALE = 10.0  # brings cepstra to about unit size


def scale_pixels(pixels: Tensor) -> Tensor:
    """uint8 (B, 3, h, w) to float32 in [-1, 1], channels last, which convolutions prefer."""
    scaled = pixels.float().mul_(2 / 255).sub_(1)
    return scaled.contiguous(memory_format=torch.channels_last)


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
        with _full_precision(waves):
            cepstra: Tensor = self.transform(waves * (_LOUDNESS / level))
        return (cepstra - cepstra.mean(2, keepdim=True)) / _CEPSTRUM_SCALE


class Spectrogram(nn.Module):
    """Waveforms (B, samples) to log-magnitude spectrograms (B, 1, 224, frames), 50 frames a second.

    2.5 seconds give the 224 x 125 of DSANet and P2VANet. Each row is brought to mean nought and
    deviation one, so that neither level nor length of its neighbours matters.
    """

    def __init__(self, bins: int = 224, frames_per_s: int = 50) -> None:
        super().__init__()
        n_fft = 2 * (bins - 1)  # 446 samples, 28 ms
        self.hop = SAMPLE_RATE // frames_per_s
        self.transform = torchaudio.transforms.Spectrogram(n_fft, hop_length=self.hop, power=1)
        self.transform.register_buffer("window", self.transform.window, persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """(B, samples) in [-1, 1] to (B, 1, bins, samples // hop)."""
        with _full_precision(waves):
            spectrum = self.transform(waves)
        logs = torch.log(spectrum[..., : waves.shape[1] // self.hop] + 1e-4)
        deviation, mean = torch.std_mean(logs, (1, 2), keepdim=True)
        return ((logs - mean) / (deviation + 1e-4)).unsqueeze(1)


class LogMels(nn.Module):
    """Waveforms (B, samples) to log-mel energies (B, 1, mels, frames), 100 frames a second.

    Windows of 25 ms every 10 ms. Each mel band of each row is normalised over time (instance
    normalisation), as in Wen et al. (CVPR 2021).
    """

    def __init__(self, mels: int = 40) -> None:
        super().__init__()
        self.transform = torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE,
            n_fft=512,
            win_length=round(WINDOW_S * SAMPLE_RATE),
            hop_length=round(HOP_S * SAMPLE_RATE),
            n_mels=mels,
        )

    def forward(self, waves: Tensor) -> Tensor:
        """(B, samples) in [-1, 1] to (B, 1, mels, frames)."""
        with _full_precision(waves):
            logs = torch.log(self.transform(waves) + 1e-6)
        deviation, mean = torch.std_mean(logs, 2, keepdim=True)
        return ((logs - mean) / (deviation + 1e-4)).unsqueeze(1)


class MelPowers(nn.Module):
    """Waveforms (B, samples) to powers in mel bands (B, bands, frames), 100 frames a second.

    Windows of 25 ms every 10 ms, no logarithm, Slaney's mel scale: what the encoder of Wan et al.
    (ICASSP 2018) was published with in Resemblyzer. Each row is brought to 30 dB below full scale.
    """

    def __init__(self, bands: int = 40) -> None:
        super().__init__()
        self.transform = torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE,
            n_fft=round(WINDOW_S * SAMPLE_RATE),
            hop_length=round(HOP_S * SAMPLE_RATE),
            n_mels=bands,
            norm="slaney",
            mel_scale="slaney",
            pad_mode="constant",
        )

    def forward(self, waves: Tensor) -> Tensor:
        """(B, samples) in [-1, 1] to (B, bands, samples // 160)."""
        level = waves.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
        with _full_precision(waves):
            powers: Tensor = self.transform(waves * (_SPEECH_LEVEL / level))
        return powers[..., : waves.shape[1] // round(HOP_S * SAMPLE_RATE)]


def _full_precision(waves: Tensor) -> torch.autocast:
    """Without autocast: the energies of a loud voice are beyond float16, its noise is below it."""
    return torch.autocast(waves.device.type, enabled=False)
