"""Random changes that leave a face the same face and a voice the same voice.

Used in training only. Every function draws from the generator it is given.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from avsearch.models.frontends import SAMPLE_RATE

_BANK = 2**20  # bins


def face(rgb: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A face (h, w, 3) turned, cut, mirrored and relit, as (3, size, size)."""
    picture = Image.fromarray(rgb)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = _cut(picture, size, rng)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhance(picture).enhance(float(rng.uniform(0.6, 1.4)))
    if rng.random() < 0.15:
        picture = picture.convert("L").convert("RGB")
    if rng.random() < 0.15:
        picture = picture.filter(
            ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.5)) * size / 128)
        )
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def _cut(picture: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """A square of 75 to 105 % of the side, shifted and turned up to 10 degrees."""
    side = picture.width * rng.uniform(0.75, 1.05)
    slack = picture.width * 0.07
    centre = picture.width / 2 + rng.uniform(-slack, slack, 2)
    angle = rng.uniform(-0.17, 0.17)
    cos, sin = side / size * np.cos(angle), side / size * np.sin(angle)
    left = centre[0] - (cos * size - sin * size) / 2
    top = centre[1] - (sin * size + cos * size) / 2
    return picture.transform(
        (size, size),
        Image.Transform.AFFINE,
        (cos, -sin, left, sin, cos, top),
        Image.Resampling.BILINEAR,
        fillcolor=(127, 127, 127),
    )


def voice(
    samples: NDArray[np.int16], seconds: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A stretch of a voice through a random channel with noise, (seconds * 16000,) float32."""
    length = round(seconds * SAMPLE_RATE)
    wave = _stretch(samples, length, rng).astype(np.float32) / np.float32(32768)
    has_channel, has_noise = rng.random() < 0.8, rng.random() < 0.7
    if not (has_channel or has_noise):
        return wave
    spectrum = np.fft.rfft(wave).astype(np.complex64, copy=False)
    if has_channel:
        spectrum *= _channel(len(spectrum), rng)
    if has_noise:
        spectrum += _noise(spectrum, rng)
    return np.fft.irfft(spectrum, length).astype(np.float32)


def _stretch(
    samples: NDArray[np.int16], length: int, rng: np.random.Generator
) -> NDArray[np.int16]:
    """A random stretch; a shorter voice is repeated from a random sample on."""
    if len(samples) > length:
        start = rng.integers(len(samples) - length)
        return samples[start : start + length]
    return np.resize(np.roll(samples, -rng.integers(len(samples))), length)


def _channel(bins: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth random gains of up to 10 dB over frequency, and now and then a telephone's band."""
    hertz = np.linspace(0, SAMPLE_RATE / 2, bins, dtype=np.float32)
    knots = rng.uniform(-10, 10, 9)
    decibels = np.interp(hertz, np.linspace(0, SAMPLE_RATE / 2, 9), knots).astype(np.float32)
    if rng.random() < 0.2:
        decibels -= 60 * ((hertz < 300) | (hertz > 3400))
    gains: NDArray[np.float32] = np.exp(decibels * np.float32(np.log(10) / 20))
    return gains


def _noise(spectrum: NDArray[np.complex64], rng: np.random.Generator) -> NDArray[np.complex64]:
    """The spectrum of noise between white and brown at 5 to 30 dB below a voice."""
    bins = len(spectrum)
    start = rng.integers(_BANK - bins) if bins < _BANK else 0
    noise = np.resize(_noise_bank()[start : start + bins], bins)
    noise *= np.exp(-np.float32(rng.uniform(0, 1)) * np.log(np.arange(1, bins + 1, dtype="f4")))
    noise[0] = 0  # no offset, which would be counted twice below
    ratio = 10 ** (-rng.uniform(5, 30) / 20)
    level = np.linalg.norm(spectrum) / np.linalg.norm(noise)
    return noise * np.float32(ratio * level)


@functools.cache
def _noise_bank() -> NDArray[np.complex64]:
    """Complex normal numbers to cut spectra of noise from: drawing them takes longer than FFTs."""
    parts = np.random.default_rng(0).standard_normal((_BANK, 2), dtype=np.float32)
    return parts.view(np.complex64)[:, 0]
