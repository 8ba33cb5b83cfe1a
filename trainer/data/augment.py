"""Random changes that leave a face the same face and a voice the same voice.

Used in training only. Every function draws from the generator it is given. They run in threads
beside the model, so what they cost is what a training is slower by where no core is idle.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from avsearch.models.inputs import SAMPLE_RATE

_GREY = np.array([0.299, 0.587, 0.114])  # shares of red, green and blue (ITU-R BT.601)

_BLOCK = 1024  # samples that are filtered at a time
_REACH = 64  # samples to either side of one that its filtered value depends on
_HOP = _BLOCK - 2 * _REACH

_MU_LAW = 256  # levels of a telephone (ITU-T G.711)

_TILTS = 8  # kinds of noise, from white to brown
_BANK = 2**18  # samples of each
_TALKERS = 5  # of a babble


def face(
    rgb: NDArray[np.uint8], size: int, rng: np.random.Generator, *, closest: float = 0.75
) -> NDArray[np.uint8]:
    """A face (h, w, 3) turned, cut, mirrored and relit, as (3, size, size).

    ``closest`` is the smallest share of the side that is seen.
    """
    picture = _cut(Image.fromarray(rgb), size, closest, rng)
    picture = picture.convert("RGB", _relighting(picture, rng))
    if rng.random() < 0.15:
        picture = picture.filter(
            ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.5)) * size / 128)
        )
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def _cut(picture: Image.Image, size: int, closest: float, rng: np.random.Generator) -> Image.Image:
    """A square of ``closest`` to 105 % of the side, shifted, turned up to 10 degrees, or mirrored.

    One affine map of pixels, so that they are interpolated once.
    """
    side = picture.width * rng.uniform(closest, 1.05)
    slack = picture.width * 0.07
    centre = picture.width / 2 + rng.uniform(-slack, slack, 2)
    angle = rng.uniform(-0.17, 0.17)
    across = side / size * np.array([np.cos(angle), np.sin(angle)])  # a step to the right
    down = np.array([-across[1], across[0]])
    if rng.random() < 0.5:
        across = -across
    corner = centre - (across + down) * size / 2
    return picture.transform(
        (size, size),
        Image.Transform.AFFINE,
        (across[0], down[0], corner[0], across[1], down[1], corner[1]),
        Image.Resampling.BILINEAR,
        fillcolor=(127, 127, 127),
    )


def _relighting(picture: Image.Image, rng: np.random.Generator) -> tuple[float, ...]:
    """Other brightness, contrast and saturation as one matrix (3, 4) of colours, row by row.

    Each is between 0.6 and 1.4 of what it was; 15 % of the pictures lose all colour.
    """
    brightness, contrast, saturation = rng.uniform(0.6, 1.4, 3)
    if rng.random() < 0.15:
        saturation = 0.0
    mean = np.array(picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))) @ _GREY
    mixing = saturation * np.eye(3) + (1 - saturation) * _GREY
    offsets = np.full((3, 1), (1 - contrast) * brightness * mean)
    matrix = np.hstack([contrast * brightness * mixing, offsets])
    return tuple(matrix.ravel().tolist())


def voice(
    samples: NDArray[np.int16],
    seconds: float,
    rng: np.random.Generator,
    *,
    telephone: float = 0.1,
    loudest_noise_db: float = -5.0,
    others: Sequence[NDArray[np.int16]] = (),
) -> NDArray[np.float32]:
    """A stretch of a voice with noise through a random channel, (seconds * 16000,) float32.

    ``telephone`` is the share of the voices that come through one; noise is between 30 dB below
    the voice and ``loudest_noise_db``, around the speaker as often as added behind the channel.
    Half of the noise is a babble of ``others``, where there are.
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
        wave = _filtered(wave, _channel(_BLOCK // 2 + 1, rng))
    if rng.random() < telephone:
        wave = _telephoned(wave, rng)
    return with_noise(wave) if noisy and not around else wave


def stretch(
    samples: NDArray[np.int16], seconds: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A random stretch as it is, float32; a shorter voice is repeated from a random sample on."""
    length = round(seconds * SAMPLE_RATE)
    if len(samples) > length:
        start = rng.integers(len(samples) - length)
        chosen = samples[start : start + length]
    else:
        chosen = np.resize(np.roll(samples, -rng.integers(len(samples))), length)
    return chosen.astype(np.float32) * np.float32(1 / 32768)


def _channel(bins: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth random gains of up to 10 dB over frequency."""
    hertz = np.linspace(0, SAMPLE_RATE / 2, bins, dtype=np.float32)
    knots = rng.uniform(-10, 10, 9)
    decibels = np.interp(hertz, np.linspace(0, SAMPLE_RATE / 2, 9), knots).astype(np.float32)
    gains: NDArray[np.float32] = np.exp(decibels * np.float32(np.log(10) / 20))
    return gains


def _telephoned(wave: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A wave (n,) at 8 kHz between about 300 and 3,400 Hz, in 8 bits of mu-law, and back.

    What lies outside is nought and not merely faint: a logarithm with its mean taken away would
    show the faint as well as the loud.
    """
    even = len(wave) // 2 * 2
    lowest, highest = rng.uniform(200, 400), rng.uniform(3000, 3800)
    spectrum = torch.fft.rfft(torch.from_numpy(wave[:even]))[: even // 4 + 1]
    hertz = torch.linspace(0, SAMPLE_RATE / 4, len(spectrum))
    spectrum[(hertz < lowest) | (hertz > highest)] = 0
    narrow = torch.fft.irfft(spectrum, even // 2)
    full_scale = narrow.abs().max() / float(rng.uniform(0.1, 1))
    codes = torchaudio.functional.mu_law_encoding(narrow / full_scale.clamp_min(1e-6), _MU_LAW)
    heard = torchaudio.functional.mu_law_decoding(codes, _MU_LAW) * full_scale
    wide: NDArray[np.float32] = torch.fft.irfft(torch.fft.rfft(heard), even).numpy()
    return np.resize(wide, len(wave))


def _filtered(wave: NDArray[np.float32], gains: NDArray[np.float32]) -> NDArray[np.float32]:
    """A wave (n,) with its frequencies multiplied by gains (513,), without delay.

    The gains as a filter of 129 taps, applied by overlap-save: transforms of short blocks take a
    fifth of the time of one long transform, and torch's a third of NumPy's.
    """
    taps = np.roll(np.fft.irfft(gains), _REACH)[: 2 * _REACH + 1] * _window()
    response = torch.fft.rfft(torch.from_numpy(taps.astype(np.float32)), _BLOCK)
    padded = torch.from_numpy(np.pad(wave, (_REACH, _REACH + _HOP)))
    blocks = torch.fft.rfft(padded.unfold(0, _BLOCK, _HOP))
    filtered: NDArray[np.float32] = torch.fft.irfft(blocks * response).numpy()
    return filtered[:, 2 * _REACH :].ravel()[: len(wave)]


@functools.cache
def _window() -> NDArray[np.float64]:
    return np.hanning(2 * _REACH + 1)


def _below(
    wave: NDArray[np.float32], noise: NDArray[np.float32], decibels: float
) -> NDArray[np.float32]:
    """Noise (n,) brought to so many decibels above a wave (n,); below it where negative."""
    ratio = 10 ** (decibels / 20)
    loudness = max(float(np.linalg.norm(noise)), 1e-6)
    return noise * np.float32(ratio * np.linalg.norm(wave) / loudness)


def _coloured(length: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise (length,) between white and brown."""
    row = _noise_bank()[rng.integers(_TILTS)]
    start = rng.integers(max(1, _BANK - length))
    return np.resize(row[start : start + length], length)


def _babble(
    others: Sequence[NDArray[np.int16]], seconds: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Some of these voices at a time, equally loud."""
    chosen = rng.choice(len(others), min(_TALKERS, len(others)), replace=False)
    voices = [stretch(others[at], seconds, rng) for at in chosen]
    together: NDArray[np.float32] = np.sum(
        [one / max(float(np.linalg.norm(one)), 1e-6) for one in voices], 0, dtype=np.float32
    )
    return together


@functools.cache
def _noise_bank() -> NDArray[np.float32]:
    """Noises (kinds, samples) to cut from, from white to brown: drawing one anew takes longer."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(_BANK, np.float32))
    spectrum[0] = 0
    hertz = np.fft.rfftfreq(_BANK, 1 / SAMPLE_RATE).clip(1)
    rows = [np.fft.irfft(spectrum * hertz**-tilt) for tilt in np.linspace(0, 1, _TILTS)]
    return np.stack(rows).astype(np.float32)
