"""Degraded voices: in noise, cut short, sent by telephone.

Every function takes float32 (n,) samples at 16 kHz, which it does not change, and draws from the
generator it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from avsearch.media import SAMPLE_RATE

Samples = NDArray[np.float32]
Rng = np.random.Generator
Way = Callable[[Samples, Sequence[Samples], Rng], Samples]

SNR_DB = 10.0
SHORT_S = 3.0
BAND_HZ = 300.0, 3400.0
TALKERS = 6  # of a babble
_LOWEST_HZ = 20.0  # below, brown noise would have nearly all of its energy
_MU = 255.0  # of the mu-law of ITU-T G.711
_LEVELS = 127.0  # of either sign
_PEAK = 0.5  # at which a telephone's quantiser is driven


def in_noise(samples: Samples, others: Sequence[Samples], rng: Rng) -> Samples:
    """Return the voice with noise 10 dB below it: coloured noise, or a babble of ``others``."""
    length = len(samples)
    if len(others) and rng.random() < 0.5:
        return with_noise(samples, babble(length, others, rng))
    return with_noise(samples, coloured(length, rng))


def shortened(samples: Samples, others: Sequence[Samples], rng: Rng) -> Samples:  # noqa: ARG001
    """Return three seconds from a random start; a shorter voice as it is."""
    length = round(SHORT_S * SAMPLE_RATE)
    start = int(rng.integers(max(0, len(samples) - length) + 1))
    return samples[start : start + length].copy()


def by_telephone(samples: Samples, others: Sequence[Samples], rng: Rng) -> Samples:  # noqa: ARG001
    """Return the band of 300 to 3,400 Hz, sent at 8 kHz in 8-bit mu-law, at 16 kHz again."""
    samples = samples[: len(samples) // 2 * 2]
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    spectrum[(hertz < BAND_HZ[0]) | (hertz > BAND_HZ[1])] = 0
    narrow = np.fft.irfft(spectrum, len(samples))[::2]  # nothing above 4 kHz is left to fold
    heard = np.fft.rfft(_quantised(narrow * _PEAK / max(np.abs(narrow).max(), 1e-9)))
    wide = np.zeros(len(spectrum), complex)
    wide[: len(heard)] = heard
    return (2 * np.fft.irfft(wide, len(samples))).astype(np.float32)


def poorly(samples: Samples, others: Sequence[Samples], rng: Rng) -> Samples:
    """Return three seconds, in noise, by telephone."""
    for way in (shortened, in_noise, by_telephone):
        samples = way(samples, others, rng)
    return samples


WAYS: dict[str, Way] = {
    "in noise": in_noise,
    "3 seconds": shortened,
    "telephone": by_telephone,
    "all three": poorly,
}


def with_noise(samples: Samples, noise: Samples, ratio_db: float = SNR_DB) -> Samples:
    """Return a voice with noise (n,) that many decibels below it."""
    level = 10 ** (-ratio_db / 20) * _loudness(samples) / _loudness(noise)
    return samples + np.float32(level) * noise


def coloured(length: int, rng: Rng) -> Samples:
    """Return noise (length,) with a spectrum between those of white and of brown noise."""
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE).clip(_LOWEST_HZ)
    spectrum = np.fft.rfft(rng.standard_normal(length)) * hertz ** -rng.uniform(0, 1)
    spectrum[0] = 0
    return np.fft.irfft(spectrum, length).astype(np.float32)


def babble(length: int, voices: Sequence[Samples], rng: Rng) -> Samples:
    """Return several of these voices (length,), equally loud, each from a random start."""
    chosen = rng.choice(len(voices), min(TALKERS, len(voices)), replace=False)
    talking = [
        np.resize(np.roll(voices[at], -int(rng.integers(len(voices[at])))), length)
        / _loudness(voices[at])
        for at in chosen
    ]
    together: Samples = np.sum(talking, 0, dtype=np.float32)
    return together


def _loudness(samples: Samples) -> np.float32:
    """Root mean square, at least that of silence."""
    return np.float32(max(np.sqrt(np.mean(np.square(samples))), 1e-6))


def _quantised(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Samples in [-1, 1] after 8-bit mu-law quantization."""
    squeezed = np.log1p(_MU * np.abs(samples)) / np.log1p(_MU)
    steps = np.round(_LEVELS * squeezed) / _LEVELS
    told: NDArray[np.float64] = np.sign(samples) * np.expm1(steps * np.log1p(_MU)) / _MU
    return told
