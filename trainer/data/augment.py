"""Augmentation of faces and voices, for training only.

All functions draw from the generator they are given. Without a GPU they run on the cores that
train, so their time slows the training.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from avsearch.models.inputs import SAMPLE_RATE
from trainer.data.pcm import waveform

Pixels = NDArray[Any]  # (h, w, 3) uint8, which OpenCV does not tell

_GREY = np.array([0.299, 0.587, 0.114])  # shares of red, green and blue (ITU-R BT.601)

_BLOCK = 1024  # samples that are filtered at a time
_REACH = 64  # samples to either side of one that its filtered value depends on
_HOP = _BLOCK - 2 * _REACH
_CHANNELS = 1024  # filters that voices come through

_MU_LAW = 256  # levels of a telephone (ITU-T G.711)

_TILTS = 8  # kinds of noise, from white to brown
_BANK = 2**18  # samples of each
_TALKERS = 5  # of a babble


def face(
    rgb: NDArray[np.uint8], size: int, rng: np.random.Generator, *, closest: float = 0.75
) -> NDArray[np.uint8]:
    """Turn, crop, mirror and relight a face (h, w, 3), and return it as (3, size, size).

    ``closest`` is the smallest share of the side that a crop shows.
    """
    image = _cut(rgb, size, closest, rng)
    image = cv2.transform(image, _relighting(image, rng))
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5) * size / 128)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _cut(rgb: Pixels, size: int, closest: float, rng: np.random.Generator) -> Pixels:
    """Crop a square of ``closest`` to 105 % of the side, shifted, turned by up to 10 degrees.

    Half of the crops are mirrored. One affine map, so that pixels are interpolated once.
    """
    width = rgb.shape[1]
    side = width * rng.uniform(closest, 1.05)
    centre = width / 2 + rng.uniform(-0.07, 0.07, 2) * width
    angle = rng.uniform(-0.17, 0.17)
    across = side / size * np.array([np.cos(angle), np.sin(angle)])  # a step to the right
    down = np.array([-across[1], across[0]])
    if rng.random() < 0.5:
        across = -across
    first = centre - (across + down) * (size - 1) / 2 - 0.5  # integers are the centres of pixels
    return cv2.warpAffine(
        rgb,
        np.stack([across, down, first], 1),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(127, 127, 127),
    )


def _relighting(rgb: Pixels, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a colour matrix (3, 4) that changes brightness, contrast and saturation.

    Each factor is between 0.6 and 1.4; 15 % of the images lose all colour.
    """
    brightness, contrast, saturation = rng.uniform(0.6, 1.4, 3)
    if rng.random() < 0.15:
        saturation = 0.0
    mean = np.array(cv2.mean(rgb)[:3]) @ _GREY
    mixing = saturation * np.eye(3) + (1 - saturation) * _GREY
    offsets = np.full((3, 1), (1 - contrast) * brightness * mean)
    return np.hstack([contrast * brightness * mixing, offsets])


def voice(
    samples: NDArray[np.int16],
    seconds: float,
    rng: np.random.Generator,
    *,
    telephone: float = 0.1,
    loudest_noise_db: float = -5.0,
    others: Sequence[NDArray[np.int16]] = (),
) -> NDArray[np.float32]:
    """Return a segment of a voice with noise and a random channel, (seconds * 16000,) float32.

    Args:
        samples: 16-bit samples at 16 kHz.
        seconds: The length of the segment.
        rng: The generator.
        telephone: The share of the voices that pass a telephone channel.
        loudest_noise_db: The largest level of the noise relative to the voice; the smallest is
            -30 dB. Half of the noise is added before the channel and half after it.
        others: Voices for babble, which makes up half of the noise where there are any.
    """
    wave = stretch(samples, seconds, rng)
    noisy, around = rng.random() < 0.7, rng.random() < 0.5

    def with_noise(wave: NDArray[np.float32]) -> NDArray[np.float32]:
        talked_over = len(others) > 0 and rng.random() < 0.5
        noise = _babble(others, seconds, rng) if talked_over else _coloured(len(wave), rng)
        return wave + _below(wave, noise, rng.uniform(-30, loudest_noise_db))

    if noisy and around:
        wave = with_noise(wave)
    if rng.random() < 0.8:
        wave = _filtered(wave, _channel_bank()[rng.integers(_CHANNELS)])
    if rng.random() < telephone:
        wave = _telephoned(wave, rng)
    return with_noise(wave) if noisy and not around else wave


def stretch(
    samples: NDArray[np.int16], seconds: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a random segment, float32; a shorter voice is repeated from a random sample on."""
    length = round(seconds * SAMPLE_RATE)
    if len(samples) > length:
        start = rng.integers(len(samples) - length)
        chosen = samples[start : start + length]
    else:
        chosen = np.resize(np.roll(samples, -rng.integers(len(samples))), length)
    return waveform(chosen)


def _channel(bins: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw smooth gains of up to 10 dB over the frequency."""
    hertz = np.linspace(0, SAMPLE_RATE / 2, bins, dtype=np.float32)
    knots = rng.uniform(-10, 10, 9)
    decibels = np.interp(hertz, np.linspace(0, SAMPLE_RATE / 2, 9), knots).astype(np.float32)
    gains: NDArray[np.float32] = np.exp(decibels * np.float32(np.log(10) / 20))
    return gains


def _telephoned(wave: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Pass a wave (n,) through a telephone: 8 kHz, about 300 to 3,400 Hz, 8 bits of mu-law.

    Other frequencies become exactly zero: in a mean-normalised log spectrum, faint ones would show.
    """
    even = len(wave) // 2 * 2
    lowest, highest = rng.uniform(200, 400), rng.uniform(3000, 3800)
    spectrum = np.fft.rfft(wave[:even])[: even // 4 + 1]
    hertz = np.linspace(0, SAMPLE_RATE / 4, len(spectrum))
    spectrum[(hertz < lowest) | (hertz > highest)] = 0
    narrow = torch.from_numpy(np.fft.irfft(spectrum, even // 2).astype(np.float32, copy=False))
    full_scale = narrow.abs().max() / float(rng.uniform(0.1, 1))
    codes = torchaudio.functional.mu_law_encoding(narrow / full_scale.clamp_min(1e-6), _MU_LAW)
    received = torchaudio.functional.mu_law_decoding(codes, _MU_LAW) * full_scale
    wide = np.fft.irfft(np.fft.rfft(received.numpy()), even)
    return np.resize(wide.astype(np.float32, copy=False), len(wave))


def _filtered(wave: NDArray[np.float32], response: Tensor) -> NDArray[np.float32]:
    """Filter a wave (n,) with a response of :func:`_response`, without delay.

    By overlap-save: transforms of short blocks take a fifth of the time of one long transform, and
    torch's a third of NumPy's.
    """
    padded = np.zeros(len(wave) + 2 * _REACH + _HOP, np.float32)
    padded[_REACH : _REACH + len(wave)] = wave
    blocks = torch.fft.rfft(torch.from_numpy(padded).unfold(0, _BLOCK, _HOP))
    filtered: NDArray[np.float32] = torch.fft.irfft(blocks * response).numpy()
    return filtered[:, 2 * _REACH :].ravel()[: len(wave)]


def _response(gains: NDArray[np.float32]) -> NDArray[np.complex64]:
    """The transform (513,) of a filter of 129 taps with these gains (513,), delayed by 64."""
    taps = np.roll(np.fft.irfft(gains), _REACH)[: 2 * _REACH + 1] * np.hanning(2 * _REACH + 1)
    response: NDArray[np.complex64] = np.fft.rfft(taps, _BLOCK).astype(np.complex64)
    return response


@functools.cache
def _channel_bank() -> Tensor:
    """Responses (channels, 513) to draw from, because making one takes longer than applying it."""
    rng = np.random.default_rng(0)
    bins = _BLOCK // 2 + 1
    return torch.from_numpy(np.stack([_response(_channel(bins, rng)) for _ in range(_CHANNELS)]))


def _below(
    wave: NDArray[np.float32], noise: NDArray[np.float32], decibels: float
) -> NDArray[np.float32]:
    """Scale noise (n,) to a level in dB relative to a wave (n,)."""
    ratio = 10 ** (decibels / 20)
    loudness = max(float(np.linalg.norm(noise)), 1e-6)
    return noise * np.float32(ratio * np.linalg.norm(wave) / loudness)


def _coloured(length: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw noise (length,) between white and brown."""
    row = _noise_bank()[rng.integers(_TILTS)]
    start = rng.integers(max(1, _BANK - length))
    return np.resize(row[start : start + length], length)


def _babble(
    others: Sequence[NDArray[np.int16]], seconds: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Mix some of these voices, equally loud."""
    chosen = rng.choice(len(others), min(_TALKERS, len(others)), replace=False)
    voices = [stretch(others[at], seconds, rng) for at in chosen]
    together: NDArray[np.float32] = np.sum(
        [one / max(float(np.linalg.norm(one)), 1e-6) for one in voices], 0, dtype=np.float32
    )
    return together


@functools.cache
def _noise_bank() -> NDArray[np.float32]:
    """Noises (kinds, samples) to cut from, from white to brown; making new ones takes longer."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(_BANK, np.float32))
    spectrum[0] = 0
    hertz = np.fft.rfftfreq(_BANK, 1 / SAMPLE_RATE).clip(1)
    rows = [np.fft.irfft(spectrum * hertz**-tilt) for tilt in np.linspace(0, 1, _TILTS)]
    return np.stack(rows).astype(np.float32)
