from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from avsearch.models.inputs import face_pixels, voice_windows
from avsearch.models.layers.frontends import Cepstra, scale_pixels
from tests.helpers.tiny import voice_noise

RNG = np.random.default_rng(0)


# Faces.


def test_a_face_of_the_right_size_is_only_turned_to_channels_first():
    rgb = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pixels = face_pixels(rgb, 32)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    for channel in range(3):
        np.testing.assert_array_equal(pixels[channel], rgb[:, :, channel])


@pytest.mark.parametrize("shape", [(64, 64), (20, 20), (40, 25), (32, 33)])
def test_faces_of_other_sizes_are_resampled(shape):
    rgb = np.empty((*shape, 3), np.uint8)
    rgb[:] = (200, 100, 0)
    rgb[: shape[0] // 2] = (10, 20, 250)
    pixels = face_pixels(rgb, 32)
    assert pixels.shape == (3, 32, 32)
    np.testing.assert_allclose(pixels[:, 2, 16], (10, 20, 250), atol=1)
    np.testing.assert_allclose(pixels[:, -3, 16], (200, 100, 0), atol=1)


def test_a_face_is_not_changed_in_place_and_may_be_read_only():
    rgb = np.asarray(Image.new("RGB", (32, 32), (1, 2, 3)))  # over Pillow's memory: read-only
    face_pixels(rgb, 32)
    face_pixels(rgb, 16)
    assert (rgb == (1, 2, 3)).all()


def test_pixels_are_scaled_to_minus_one_to_one():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    scaled = scale_pixels(pixels)
    assert scaled.dtype == torch.float32
    assert scaled.shape == (2, 3, 16, 16)
    for value in (0, 51, 255):
        at = scaled[1, 2, value // 16, value % 16].item()
        assert at == pytest.approx(value / 127.5 - 1, abs=1e-6)


# Windows of a voice.


@settings(max_examples=50)
@given(n=st.integers(1, 1000), length=st.integers(1, 300))
def test_windows_cover_a_voice_and_repeat_a_short_one(n, length):
    samples = np.arange(n, dtype=np.float32)
    windows = voice_windows(samples, length / 16000)
    assert windows.dtype == np.float32
    assert windows.shape == (max(1, math.ceil(n / length)), length)
    if n <= length:
        assert windows[0].tolist() == [samples[i % n] for i in range(length)]
    else:
        for window in windows:  # each a stretch of the voice as it is
            assert (np.diff(window) == 1).all()
        assert set(windows.ravel().tolist()) == set(samples.tolist())


def test_windows_are_evenly_spread():
    windows = voice_windows(np.arange(2500, dtype=np.float32), 1000 / 16000)
    assert windows[:, 0].tolist() == [0, 750, 1500]


# Cepstra.


def plain_cepstra(wave: np.ndarray, coefficients: int) -> np.ndarray:
    """(coefficients, frames) by the textbook: frames, power, 64 mels, log, cosines."""
    wave = wave.astype(np.float64)
    wave = wave * 0.05 / np.sqrt((wave**2).mean())
    padded = np.pad(wave, 256, mode="reflect")
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / 400) for i in range(400)]  # 25 ms
    window = np.concatenate([np.zeros(56), hann, np.zeros(56)])
    edges = np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 66)
    hertz = [700 * (10 ** (mel / 2595) - 1) for mel in edges]
    columns = []
    for frame in range(1 + len(wave) // 160):  # 10 ms
        power = np.abs(np.fft.rfft(padded[frame * 160 : frame * 160 + 512] * window)) ** 2
        logs = []
        for left, top, right in zip(hertz, hertz[1:], hertz[2:], strict=False):
            energy = 0.0
            for k, value in enumerate(power):
                f = k * 16000 / 512
                energy += value * max(
                    0.0, min((f - left) / (top - left), (right - f) / (right - top))
                )
            logs.append(math.log(energy + 1e-6))
        columns.append(
            [
                math.sqrt((1 if q == 0 else 2) / 64)
                * sum(v * math.cos(math.pi / 64 * (m + 0.5) * q) for m, v in enumerate(logs))
                for q in range(coefficients)
            ]
        )
    cepstra = np.array(columns).T
    return (cepstra - cepstra.mean(1, keepdims=True)) / 10


def test_cepstra_are_those_of_the_textbook():
    wave = voice_noise(np.random.default_rng(1), 1600)
    found = Cepstra(20)(torch.from_numpy(wave)[None])[0].numpy()
    assert found.shape == (20, 11)
    np.testing.assert_allclose(found, plain_cepstra(wave, 20), atol=1e-4)


@pytest.mark.parametrize("factor", [1e-3, 0.1, 20.0])
def test_the_recording_level_does_not_matter(factor):
    wave = torch.from_numpy(voice_noise(np.random.default_rng(2), 4000))[None]
    cepstra = Cepstra(20)
    torch.testing.assert_close(cepstra(wave * factor), cepstra(wave), atol=1e-3, rtol=0)


def test_cepstra_have_no_mean_over_time():
    waves = torch.from_numpy(voice_noise(np.random.default_rng(3), 8000)).reshape(2, 4000)
    means = Cepstra(20)(waves).mean(2)
    torch.testing.assert_close(means, torch.zeros(2, 20), atol=1e-5, rtol=0)


def test_a_fixed_channel_hardly_matters():
    rng = np.random.default_rng(4)
    wave = voice_noise(rng, 16000).astype(np.float64)
    spectrum = np.fft.rfft(wave)
    gain = 10 ** (np.linspace(-6, 6, len(spectrum)) / 20)  # a treble boost
    other = np.fft.irfft(spectrum * gain, len(wave))
    unlike = voice_noise(rng, 16000).astype(np.float64)
    waves = torch.from_numpy(np.stack([wave, other, unlike]).astype(np.float32))
    found = Cepstra(20)(waves)
    assert (found[0] - found[1]).square().mean() < 0.05 * (found[0] - found[2]).square().mean()


@pytest.mark.parametrize("wave", [torch.zeros(1, 4000), torch.full((1, 4000), 0.5)])
def test_silence_gives_finite_cepstra(wave):
    assert Cepstra(20)(wave).isfinite().all()


def test_no_row_changes_another():
    rng = np.random.default_rng(5)
    quiet = torch.from_numpy(voice_noise(rng, 4000, level=1e-3))
    loud = torch.from_numpy(voice_noise(rng, 4000, level=1e3))
    cepstra = Cepstra(20)
    alone, together = cepstra(quiet[None])[0], cepstra(torch.stack([loud, quiet]))[1]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
