"""Front ends of the networks: scaled pixels, cepstra and spectra of voices.

Each row of a batch is treated alone, so no vector depends on its batch.
"""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.compliance.kaldi import get_mel_banks

from avsearch.models.inputs import SAMPLE_RATE

WINDOW_S = 0.025  # seconds of one analysis window
HOP_S = 0.010  # seconds between two windows
MELS = 64
_LOUDNESS = 0.05  # root mean square of every voice
_MARGIN = 56  # samples on each side by which a transform is longer than 25 ms
_SPEECH_LEVEL = 10 ** (-26 / 20)  # root mean square, 26 dB below full scale
_LEAST_POWER = 2**-23  # Kaldi's: the float32 epsilon
_CEPSTRUM_SCALE = 10.0  # brings cepstra to about unit size


def scale_pixels(pixels: Tensor) -> Tensor:
    """Return pixels uint8 (B, 3, h, w) as float32 in [-1, 1], channels last for speed."""
    scaled = pixels.float().mul_(2 / 255).sub_(1)
    return scaled.contiguous(memory_format=torch.channels_last)


def _mels(bands: int) -> dict[str, int]:
    """Return the settings of mel spectrograms in windows of 25 ms every 10 ms."""
    return {
        "n_fft": 512,
        "win_length": round(WINDOW_S * SAMPLE_RATE),
        "hop_length": round(HOP_S * SAMPLE_RATE),
        "n_mels": bands,
    }


class Cepstra(nn.Module):
    """Mel-frequency cepstra of waveforms, in windows of 25 ms every 10 ms.

    Each row is scaled to one loudness and its mean cepstrum is subtracted, so that neither the
    recording level nor a fixed channel reaches the network.
    """

    def __init__(self, coefficients: int) -> None:
        super().__init__()
        # log_mels, because the decibel scale of torchaudio clips at 80 dB below the loudest value
        # of the whole batch, so one row would change another.
        self.transform = torchaudio.transforms.MFCC(
            SAMPLE_RATE,
            coefficients,
            log_mels=True,
            melkwargs=_mels(MELS),
        )

    def forward(self, waves: Tensor) -> Tensor:
        """Return cepstra (B, coefficients, frames) of waveforms (B, samples) in [-1, 1]."""
        level = waves.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
        with _full_precision(waves):
            cepstra: Tensor = self.transform(waves * (_LOUDNESS / level))
        return (cepstra - cepstra.mean(2, keepdim=True)) / _CEPSTRUM_SCALE


class Spectrogram(nn.Module):
    """Log-magnitude spectrograms of waveforms, 50 frames a second.

    2.5 seconds give the 224 x 125 of DSANet and P2VANet. Each row is standardised by itself, so
    neither its level nor the other rows matter.
    """

    def __init__(self, bins: int = 224, frames_per_s: int = 50) -> None:
        super().__init__()
        n_fft = 2 * (bins - 1)  # 446 samples, 28 ms
        self.hop = SAMPLE_RATE // frames_per_s
        self.transform = torchaudio.transforms.Spectrogram(n_fft, hop_length=self.hop, power=1)
        self.transform.register_buffer("window", self.transform.window, persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Return (B, 1, bins, samples // hop) of waveforms (B, samples) in [-1, 1]."""
        with _full_precision(waves):
            spectrum = self.transform(waves)
        logs = torch.log(spectrum[..., : waves.shape[1] // self.hop] + 1e-4)
        deviation, mean = torch.std_mean(logs, (1, 2), keepdim=True)
        return ((logs - mean) / (deviation + 1e-4)).unsqueeze(1)


class LogMels(nn.Module):
    """Log-mel energies of waveforms, in windows of 25 ms every 10 ms.

    Each mel band of each row is normalised over time (instance normalisation), as in Wen et al.
    (CVPR 2021).
    """

    def __init__(self, mels: int = 40) -> None:
        super().__init__()
        self.transform = torchaudio.transforms.MelSpectrogram(SAMPLE_RATE, **_mels(mels))

    def forward(self, waves: Tensor) -> Tensor:
        """Return (B, 1, mels, frames) of waveforms (B, samples) in [-1, 1]."""
        with _full_precision(waves):
            logs = torch.log(self.transform(waves) + 1e-6)
        deviation, mean = torch.std_mean(logs, 2, keepdim=True)
        return ((logs - mean) / (deviation + 1e-4)).unsqueeze(1)


class FilterBanks(nn.Module):
    """Log mel filter banks of waveforms as in Kaldi, 100 frames a second.

    Most published speaker encoders use them: pre-emphasis, Hann windows of 25 ms to the power of
    0.85, filters that are triangles in mel from 20 Hz to 8 kHz. Each row is scaled to 26 dB below
    full scale and the mean of each band is subtracted, so that neither the level nor a fixed
    channel reaches the network. Kaldi subtracts the mean of each window; here it is that of the
    row.
    """

    def __init__(self, bands: int = 80) -> None:
        super().__init__()
        self.transform = torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE, **_mels(bands), center=False
        )
        window = torch.hann_window(self.transform.win_length, periodic=False) ** 0.85
        self.transform.spectrogram.register_buffer("window", window, persistent=False)
        triangles, _ = get_mel_banks(bands, 512, SAMPLE_RATE, 20.0, 0.0, 100.0, -500.0, 1.0)
        banks = functional.pad(triangles, (0, 1)).T.contiguous()
        self.transform.mel_scale.register_buffer("fb", banks, persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Return (B, bands, (samples - 240) // 160) of waveforms (B, samples) in [-1, 1]."""
        waves = waves - waves.mean(1, keepdim=True)
        level = waves.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
        waves = waves * (_SPEECH_LEVEL / level)
        raised = functional.pad(waves[:, 1:] - 0.97 * waves[:, :-1], (_MARGIN + 1, _MARGIN))
        with _full_precision(waves):
            logs = torch.log(self.transform(raised).clamp_min(_LEAST_POWER))
        return logs - logs.mean(2, keepdim=True)


def _full_precision(waves: Tensor) -> torch.autocast:
    """Turn autocast off: a loud voice's energies and its noise are outside the float16 range."""
    return torch.autocast(waves.device.type, enabled=False)
