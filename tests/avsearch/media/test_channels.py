"""Several channels to one: their mean, unless that hides a voice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from avsearch.media import MediaExtractor, load_media, read_audio, stream_audio
from avsearch.media.audio import stream_waveform
from avsearch.media.channels import mean_hides_voice, mix_channels
from avsearch.media.samples import SAMPLE_RATE
from tests.helpers.making import tone, write_wav

Samples = NDArray[np.float32]
RNG = np.random.default_rng(0)


@pytest.fixture
def voice(sentence: Samples) -> Samples:
    """Twelve seconds of speech, with pauses."""
    return np.resize(sentence, 12 * SAMPLE_RATE).astype(np.float32)


def noise(level: float, seconds: float = 12) -> Samples:
    return RNG.normal(0, level, round(seconds * SAMPLE_RATE)).astype(np.float32)


def music(seconds: float = 12) -> Samples:
    """Plucked notes, four a second."""
    sound = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    fading = np.exp(-np.arange(SAMPLE_RATE) / 3000)
    for number in range(round(4 * (seconds - 1))):
        at = number * SAMPLE_RATE // 4
        sound[at : at + SAMPLE_RATE] += tone(220 * 2 ** RNG.uniform(0, 2), SAMPLE_RATE) * fading
    return sound


def stereo(*channels: Samples) -> Samples:
    return np.stack(channels, axis=1).astype(np.float32)


def likeness(samples: Samples, voice: Samples) -> float:
    """Correlation with a voice, whatever its level and sign."""
    return abs(float(np.corrcoef(samples[: len(voice)], voice)[0, 1]))


def ordinary(voice: Samples) -> dict[str, Samples]:
    room = [RNG.normal(0, 1, 2000) * np.exp(-np.arange(2000) / 400) for _ in range(2)]
    wide = [np.convolve(voice, each)[: len(voice)] / 10 for each in room]
    return {
        "twice the same": stereo(voice, voice),
        "further left": stereo(voice, 0.4 * voice),
        "one channel silent": stereo(voice, 0 * voice),
        "a little later on the right": stereo(voice, np.roll(voice, 300)),
        "in a room": stereo(*wide),
        "with noise": stereo(voice + noise(0.002), voice + noise(0.002)),
        "with music": stereo(voice + 0.02 * music(), voice + 0.02 * music()),
        "only noise": stereo(noise(0.01), noise(0.01)),
        "nothing": stereo(0 * voice, 0 * voice),
    }


def hidden(voice: Samples) -> dict[str, Samples]:
    loud = tone(1000, SAMPLE_RATE, 12)
    hum = tone(50, SAMPLE_RATE, 12) + 0.3 * tone(150, SAMPLE_RATE, 12)
    tune = 0.2 * music()
    return {
        "opposite": stereo(voice, -voice),
        "opposite, not quite": stereo(voice + noise(0.002), -0.97 * voice + noise(0.002)),
        "opposite, with hum": stereo(voice + hum, -voice + hum),
        "opposite, with music": stereo(voice + tune, -voice + tune),
        "a tone": stereo(loud, voice),
        "a quiet tone": stereo(0.1 * loud, voice),
        "a loud tone, a quiet voice": stereo(loud, 0.01 * voice),
        "noise": stereo(voice, noise(0.2)),
        "music": stereo(0.5 * music(), voice),
        "in the middle of six": stereo(
            0.3 * music(), 0.3 * music(), voice, 0.1 * hum, 0.2 * music(), 0.2 * music()
        ),
    }


KINDS = [list(kind(np.zeros(12 * SAMPLE_RATE, np.float32))) for kind in (ordinary, hidden)]


@pytest.mark.parametrize("name", KINDS[0])
def test_an_ordinary_recording_is_averaged(tmp_path: Path, voice: Samples, name: str) -> None:
    samples = ordinary(voice)[name]
    notes: list[str] = []
    path = write_wav(tmp_path / "a.wav", samples)
    heard = np.concatenate(list(stream_audio(path, on_note=notes.append)))
    np.testing.assert_array_equal(heard, samples.mean(axis=1, dtype=np.float64).astype(np.float32))
    assert notes == []
    assert not mean_hides_voice(SAMPLE_RATE, samples[: 10 * SAMPLE_RATE])  # and costs nothing


def test_who_speaks_left_and_who_speaks_right_are_both_heard(
    tmp_path: Path, voice: Samples
) -> None:
    """Two speakers in turn, each with a microphone that has some noise."""
    left_speaks = np.arange(len(voice)) // (3 * SAMPLE_RATE) % 2 == 0
    both = [np.where(left_speaks == left, voice, 0) + noise(3e-4) for left in (True, False)]
    heard = read_audio(write_wav(tmp_path / "a.wav", stereo(*both)))
    assert likeness(heard, voice) > 0.97


@pytest.mark.parametrize("name", KINDS[1])
def test_a_voice_is_heard_that_the_mean_hides(tmp_path: Path, voice: Samples, name: str) -> None:
    samples = hidden(voice)[name]
    notes: list[str] = []
    path = write_wav(tmp_path / "a.wav", samples)
    heard = np.concatenate(list(stream_audio(path, on_note=notes.append)))
    assert likeness(heard, voice) > 0.95
    assert len(notes) == 1
    assert "the mean of its channels would hide a voice" in notes[0]


@pytest.mark.parametrize("name", KINDS[1])
def test_what_was_heard_is_heard_again(
    tmp_path: Path, extractor: MediaExtractor, voice: Samples, name: str
) -> None:
    path = write_wav(tmp_path / "a.wav", hidden(voice)[name])
    items = list(extractor.extract(path))
    assert items
    for item in items:
        again = load_media(dataclasses.replace(item, data=None))
        np.testing.assert_array_equal(again, item.data)


def test_a_change_between_two_ways_is_not_heard_as_a_click(voice: Samples) -> None:
    silent, hum = 0 * voice, 0.3 * tone(100, SAMPLE_RATE, 12)
    sound = np.concatenate([stereo(hum, silent), stereo(hum, voice)])
    (before, *_), *rest = [(block,) for _, block in mix_channels([(SAMPLE_RATE, sound)])]
    heard = np.concatenate([before, *(block for (block,) in rest)])
    assert np.abs(np.diff(heard)).max() < 1.5 * np.abs(np.diff(sound, axis=0)).max()


@pytest.mark.parametrize("size", [1000, 16_000, 1_000_000])
def test_the_cuts_of_the_blocks_change_nothing(voice: Samples, size: int) -> None:
    sound = stereo(0.3 * music(), voice)
    whole = np.concatenate([block for _, block in mix_channels([(SAMPLE_RATE, sound)])])
    cut = [(SAMPLE_RATE, sound[at : at + size]) for at in range(0, len(sound), size)]
    np.testing.assert_array_equal(np.concatenate([block for _, block in mix_channels(cut)]), whole)


def test_samples_in_memory_are_heard_as_those_of_a_file(tmp_path: Path, voice: Samples) -> None:
    sound = stereo(voice, -voice)
    blocks = stream_waveform(Path("a"), sound.T, SAMPLE_RATE)
    np.testing.assert_array_equal(
        np.concatenate(list(blocks)), read_audio(write_wav(tmp_path / "a.wav", sound))
    )
