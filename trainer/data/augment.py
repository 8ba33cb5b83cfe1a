"""Random changes that leave a face the same face and a voice the same voice.

Used in training only. Every function draws from the generator it is given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from avsearch.models.frontends import SAMPLE_RATE


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
    if rng.random() < 0.8:
        wave = _channel(wave, rng)
    if rng.random() < 0.7:
        wave = _noisy(wave, rng)
    return wave


def _stretch(
    samples: NDArray[np.int16], length: int, rng: np.random.Generator
) -> NDArray[np.int16]:
    """A random stretch; a shorter voice is repeated from a random sample on."""
    if len(samples) > length:
        start = rng.integers(len(samples) - length)
        return samples[start : start + length]
    return np.resize(np.roll(samples, -rng.integers(len(samples))), length)


def _channel(wave: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A smooth random gain of up to 10 dB over frequency, and now and then a telephone's band."""
    spectrum = np.fft.rfft(wave)
    hertz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    knots = rng.uniform(-10, 10, 9)
    decibels = np.interp(hertz, np.linspace(0, SAMPLE_RATE / 2, 9), knots)
    if rng.random() < 0.2:
        decibels -= 60 * ((hertz < 300) | (hertz > 3400))
    return np.fft.irfft(spectrum * 10 ** (decibels / 20), len(wave)).astype(np.float32)


def _noisy(wave: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise between white and brown at 5 to 30 dB below the voice."""
    spectrum = np.fft.rfft(rng.standard_normal(len(wave), dtype=np.float32))
    spectrum /= np.arange(1, len(spectrum) + 1) ** rng.uniform(0, 1)
    noise = np.fft.irfft(spectrum, len(wave))
    ratio = 10 ** (-rng.uniform(5, 30) / 20)
    level = np.linalg.norm(wave) / np.maximum(np.linalg.norm(noise), 1e-6)
    return np.asarray(wave + ratio * level * noise, np.float32)
