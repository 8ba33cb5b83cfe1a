from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data import augment

SEEDS = st.integers(0, 2**32 - 1)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Faces.


@settings(max_examples=40)
@given(size=st.sampled_from([16, 32, 80, 128]), seed=SEEDS)
def test_a_face_is_of_the_size_asked_for(size, seed):
    rgb = rng(1).integers(0, 256, (144, 144, 3), dtype=np.uint8)
    before = rgb.copy()
    rgb.flags.writeable = False
    changed = augment.face(rgb, size, rng(seed))
    assert changed.shape == (3, size, size)
    assert changed.dtype == np.uint8
    assert changed.flags.c_contiguous
    np.testing.assert_array_equal(rgb, before)
    np.testing.assert_array_equal(augment.face(rgb, size, rng(seed)), changed)


def test_no_face_comes_twice():
    rgb = rng(1).integers(0, 256, (144, 144, 3), dtype=np.uint8)
    generator = rng()
    seen = {augment.face(rgb, 32, generator).tobytes() for _ in range(20)}
    assert len(seen) == 20


def split_face() -> np.ndarray:
    """Dark left, bright right, and darker above than below."""
    rgb = np.zeros((144, 144, 3), np.uint8)
    rgb[:, 72:] = 100  # which no light makes white
    rgb[72:] += 40
    return rgb


def test_faces_are_mirrored_half_the_time_and_never_upside_down():
    generator = rng()
    changed = [augment.face(split_face(), 32, generator).astype(float) for _ in range(300)]
    mirrored = sum(c[:, :, :12].mean() > c[:, :, -12:].mean() for c in changed)
    assert mirrored == pytest.approx(150, abs=35)
    assert all(c[:, :12].mean() < c[:, -12:].mean() for c in changed)


def test_the_middle_of_a_face_stays_near_the_middle():
    rgb = np.full((144, 144, 3), 127, np.uint8)  # as what lies beyond the picture
    rgb[68:76, 68:76] = 240
    generator = rng()
    places = []
    for _ in range(200):
        bright = augment.face(rgb, 128, generator).astype(float).sum(0)
        places.append(np.argwhere(bright > (bright.max() + np.median(bright)) / 2).mean(0))
    shift = np.abs(np.array(places) - 63.5) / 128  # in shares of the side
    assert shift.max() < 0.07 / 0.75 + 0.02
    assert shift.max() > 0.05


def test_faces_are_cut_to_three_quarters_of_the_side_or_a_little_more():
    rgb = np.full((144, 144, 3), 127, np.uint8)  # as what lies beyond the picture
    rgb[36:108, 36:108] = 240  # half the side
    generator = rng()
    sides = []
    for _ in range(200):
        bright = augment.face(rgb, 128, generator).astype(float).sum(0)
        threshold = (bright.min() + bright.max()) / 2
        sides.append(np.sqrt((bright > threshold).mean()))
    shares = 0.5 / np.array(sides)
    assert shares.min() == pytest.approx(0.75, abs=0.03)
    assert shares.max() == pytest.approx(1.05, abs=0.03)


def test_some_faces_lose_their_colour_and_most_do_not():
    rgb = np.full((144, 144, 3), (200, 120, 40), np.uint8)
    generator = rng()
    grey = 0
    for _ in range(300):
        middle = augment.face(rgb, 16, generator)[:, 8, 8].astype(int)
        assert middle[0] >= middle[1] >= middle[2]  # colours fade or deepen, they do not turn
        grey += middle[0] == middle[2]
    assert grey == pytest.approx(45, abs=25)


# Voices.


@settings(max_examples=40)
@given(n=st.integers(1, 6000), seconds=st.sampled_from([0.05, 0.1, 0.25]), seed=SEEDS)
def test_a_voice_is_of_the_length_asked_for(n, seconds, seed):
    samples = rng(1).integers(-32768, 32768, n).astype(np.int16)
    before = samples.copy()
    samples.flags.writeable = False
    wave = augment.voice(samples, seconds, rng(seed))
    assert wave.shape == (round(seconds * 16000),)
    assert wave.dtype == np.float32
    assert np.isfinite(wave).all()
    np.testing.assert_array_equal(samples, before)
    np.testing.assert_array_equal(augment.voice(samples, seconds, rng(seed)), wave)


def test_silence_stays_silent():
    for seed in range(20):
        assert not augment.voice(np.zeros(4000, np.int16), 0.25, rng(seed)).any()


def test_some_voices_are_left_as_they_are():
    samples = rng(1).integers(-20_000, 20_000, 8000).astype(np.int16)
    windows = np.lib.stride_tricks.sliding_window_view(samples / np.float32(32768), 1600)
    kept, starts = 0, set()
    for seed in range(300):
        wave = augment.voice(samples, 0.1, rng(seed))
        found = np.flatnonzero((windows[:, :4] == wave[:4]).all(1))
        if len(found):  # neither channel nor noise
            np.testing.assert_array_equal(windows[found[0]], wave)
            starts.add(int(found[0]))
            kept += 1
    assert kept == pytest.approx(300 * 0.2 * 0.3, abs=13)
    assert len(starts) > 5  # from anywhere in the recording


def test_a_short_voice_is_repeated_from_a_random_sample_on():
    samples = np.arange(100, dtype=np.int16)
    generator, firsts = rng(), set()
    for _ in range(20):
        stretch = augment.stretch(samples, 250 / 16_000, generator) * 32768
        firsts.add(int(stretch[0]))
        for one, other in itertools.pairwise(stretch.tolist()):
            assert other == (one + 1) % 100
    assert len(firsts) > 10


@settings(max_examples=40)
@given(seed=SEEDS)
def test_a_channel_is_a_gain_of_at_most_10_decibels(seed):
    decibels = 20 * np.log10(augment._channel(801, rng(seed)))
    assert np.abs(decibels).max() < 10.1
    assert np.abs(np.diff(decibels)).max() < 20 / 1000 * 10 + 0.1  # smooth: knots 1 kHz apart


@settings(max_examples=40)
@given(seed=SEEDS, n=st.integers(3200, 6400), level=st.floats(1e-3, 1.0))
def test_a_telephone_leaves_its_band_and_nothing_else(seed, n, level):
    wave = (level * rng(2).standard_normal(n)).astype(np.float32)
    heard = augment._telephoned(wave, rng(seed))
    assert heard.shape == (n,)
    hertz = np.fft.rfftfreq(n // 2 * 2, 1 / 16_000)
    before, after = (np.fft.rfft(each[: n // 2 * 2]) for each in (wave, heard))
    band = (hertz > 450) & (hertz < 2950)
    lost = np.linalg.norm((after - before)[band]) / np.linalg.norm(before[band])
    assert lost < 0.25  # what eight bits cost
    assert np.abs(after[hertz > 4001]).max() < 1e-5 * np.abs(before).max()


@settings(max_examples=10)
@given(seed=SEEDS)
def test_noise_is_around_the_speaker_or_behind_the_telephone(seed):
    samples = rng(1).integers(-20_000, 20_000, 8000).astype(np.int16)
    high = [
        np.abs(np.fft.rfft(augment.voice(samples, 0.5, rng(seed + at), telephone=1.0)))[2100:].max()
        for at in range(40)
    ]
    narrow = sum(each < 1e-2 for each in high)
    assert narrow == pytest.approx(40 * (0.3 + 0.7 / 2), abs=13)


@settings(max_examples=40)
@given(seed=SEEDS, level=st.floats(1e-3, 1.0), decibels=st.floats(-30, 5))
def test_noise_is_brought_to_so_many_decibels_of_the_voice(seed, level, decibels):
    wave = (level * rng(2).standard_normal(4000)).astype(np.float32)
    noise = augment._below(wave, augment._coloured(4000, rng(seed)), decibels)
    found = 20 * np.log10(np.linalg.norm(noise) / np.linalg.norm(wave))
    assert found == pytest.approx(decibels, abs=0.01)


def test_noise_is_never_twice_the_same_and_lies_lower_the_browner_it_is():
    noises = [augment._coloured(4000, rng(seed)) for seed in range(100)]
    assert len({noise.tobytes() for noise in noises}) == 100
    spectra = [np.abs(np.fft.rfft(noise)) for noise in noises]
    tilts = [spectrum[1000:].mean() / spectrum[50:250].mean() for spectrum in spectra]
    assert min(tilts) < 0.3 < 0.8 < max(tilts) < 1.3


def test_a_babble_is_of_some_of_the_others_equally_loud():
    tones = [np.round(a * np.sin(np.arange(16_000) * f)) for a, f in ((9000, 0.3), (90, 0.7))]
    together = augment._babble([tone.astype(np.int16) for tone in tones], 0.5, rng())
    spectrum = np.abs(np.fft.rfft(together))
    first, second = (spectrum[round(f / np.pi * (len(spectrum) - 1))] for f in (0.3, 0.7))
    assert first == pytest.approx(second, rel=0.2)
    assert first > 20 * np.median(spectrum)


def test_voices_are_talked_over_only_where_there_are_others():
    speech = (3000 * np.sin(np.arange(16_000) * 0.2)).astype(np.int16)
    other = (3000 * np.sin(np.arange(16_000) * 1.5)).astype(np.int16)
    at = round(1.5 / np.pi * 4000)

    def heard(others) -> int:
        waves = [augment.voice(speech, 0.5, rng(seed), others=others) for seed in range(60)]
        spectra = [np.abs(np.fft.rfft(wave)) for wave in waves]
        around = [np.r_[each[at - 40 : at - 5], each[at + 5 : at + 40]].max() for each in spectra]
        peaks = [each[at - 2 : at + 3].max() for each in spectra]
        return sum(peak > 5 * noise for peak, noise in zip(peaks, around, strict=True))

    assert heard(()) == 0
    assert heard([other]) > 10


def filtered(wave: np.ndarray, gains: np.ndarray) -> np.ndarray:
    return augment._filtered(wave, torch.from_numpy(augment._response(gains)))


@settings(max_examples=20)
@given(n=st.integers(1, 5000), seed=SEEDS)
def test_a_channel_is_the_convolution_with_its_taps(n, seed):
    wave = rng(seed).standard_normal(n).astype(np.float32)
    gains = augment._channel(513, rng(seed))
    taps = np.roll(np.fft.irfft(gains), 64)[:129] * np.hanning(129)
    wanted = np.convolve(wave, taps)[64 : 64 + n]
    np.testing.assert_allclose(filtered(wave, gains), wanted, atol=2e-5)


@settings(max_examples=20)
@given(seed=SEEDS)
def test_a_channel_changes_the_power_of_a_band_by_its_gain(seed):
    wave = rng(1).standard_normal(160_000).astype(np.float32)
    gains = augment._channel(513, rng(seed))
    ratio = np.abs(np.fft.rfft(filtered(wave, gains))) ** 2
    ratio /= (np.abs(np.fft.rfft(wave)) ** 2).mean()
    for band in range(80, 200, 20):  # 15.6 Hz a bin
        hertz = slice(band * 156, (band + 4) * 156)
        found = 10 * np.log10(ratio[hertz].mean())
        assert found == pytest.approx(20 * np.log10(gains[band : band + 4].mean()), abs=1.5)
