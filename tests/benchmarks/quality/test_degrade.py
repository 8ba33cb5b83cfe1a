from __future__ import annotations

import numpy as np
import pytest

from avsearch.media import SAMPLE_RATE
from benchmarks.quality import degrade
from tests.helpers.making import tone
from tests.helpers.tiny import voice_noise

VOICE = voice_noise(np.random.default_rng(0), 4 * SAMPLE_RATE)
OTHERS = [voice_noise(np.random.default_rng(seed), 2 * SAMPLE_RATE) for seed in (1, 2, 3)]


def power(samples):
    return float(np.mean(np.square(samples.astype(float))))


@pytest.mark.parametrize("way", degrade.WAYS)
def test_what_is_done_is_decided_by_the_seed_and_leaves_the_voice_as_it_was(way):
    before = VOICE.copy()
    one, again = (degrade.WAYS[way](VOICE, OTHERS, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(VOICE, before)
    assert one.dtype == np.float32
    assert not np.array_equal(one, VOICE)


@pytest.mark.parametrize("others", [OTHERS, []])
@pytest.mark.parametrize("seed", range(4))  # coloured noise and babble
def test_noise_is_ten_decibels_below_the_voice(seed, others):
    found = degrade.in_noise(VOICE, others, np.random.default_rng(seed))
    assert len(found) == len(VOICE)
    ratio = power(VOICE) / power(found - VOICE)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.01)


def test_noise_lies_between_white_and_brown():
    tilts = []
    for seed in range(30):
        spectrum = np.abs(np.fft.rfft(degrade.coloured(2**16, np.random.default_rng(seed))))
        hertz = np.fft.rfftfreq(2**16, 1 / SAMPLE_RATE)
        low, high = (spectrum[(hertz > f) & (hertz < 1.2 * f)].mean() for f in (100, 6400))
        tilts.append(np.log2(low / high) / 6)  # six octaves apart
    assert -0.05 < min(tilts) < 0.25
    assert 0.75 < max(tilts) < 1.05


def test_a_babble_of_one_is_that_voice_from_some_sample_on():
    found = degrade.babble(len(OTHERS[0]), OTHERS[:1], np.random.default_rng(0))
    level = np.sqrt(power(found) / power(OTHERS[0]))
    np.testing.assert_allclose(np.sort(found / level), np.sort(OTHERS[0]), atol=1e-6)


def test_three_seconds_are_cut_out_and_a_shorter_voice_stays():
    rng = np.random.default_rng(0)
    found = degrade.shortened(VOICE, (), rng)
    assert len(found) == 3 * SAMPLE_RATE
    at = next(at for at in range(len(VOICE)) if VOICE[at] == found[0])
    np.testing.assert_array_equal(found, VOICE[at : at + len(found)])
    np.testing.assert_array_equal(degrade.shortened(OTHERS[0], (), rng), OTHERS[0])


@pytest.mark.parametrize(
    ("hertz", "heard"), [(100, False), (1000, True), (3000, True), (5000, False)]
)
def test_a_telephone_passes_its_band_and_nothing_else(hertz, heard):
    mixed = tone(1000, SAMPLE_RATE, level=0.2) + tone(hertz, SAMPLE_RATE, level=0.2)
    found = degrade.by_telephone(mixed, (), np.random.default_rng(0))
    assert len(found) == len(mixed)
    spectrum = np.abs(np.fft.rfft(found))  # a bin a hertz
    assert (spectrum[hertz] > 0.3 * spectrum.max()) == heard
    assert (spectrum[4001:] < 1e-6 * spectrum.max()).all()


def test_eight_bits_of_the_mu_law_leave_noise_some_38_decibels_below():
    voice = sum(tone(hertz, SAMPLE_RATE, level=0.1) for hertz in (437, 911, 1523, 2221, 3001))
    found = degrade.by_telephone(voice, (), np.random.default_rng(0))
    gain = found @ voice / (voice @ voice)
    ratio = power(gain * voice) / power(found - gain * voice)
    assert 36 < 10 * np.log10(ratio) < 42


def test_all_three_is_short_and_in_the_band():
    found = degrade.poorly(VOICE, OTHERS, np.random.default_rng(0))
    assert len(found) == 3 * SAMPLE_RATE
    spectrum = np.abs(np.fft.rfft(found))
    assert (spectrum[3 * 4000 + 1 :] < 1e-6 * spectrum.max()).all()
