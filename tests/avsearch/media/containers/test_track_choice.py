"""The choice among several tracks of a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from avsearch.media import MediaExtractor, load_media, read_audio, stream_audio
from avsearch.media.vad import find_speech
from avsearch.media.video import read_frame, sample_frames
from tests.helpers.making import garble, record, tone

Samples = NDArray[np.float32]
MARK = av.stream.Disposition
RATE = 48_000


@pytest.fixture
def voice(sentence: Samples) -> Samples:
    return sentence.repeat(3).astype(np.float32)


@pytest.fixture
def other(test_data: Path) -> Samples:
    """Somebody else, about as long."""
    return read_audio(min((test_data / "ravdess" / "Actor_02").glob("*.ogg"))).repeat(3)


def taken(path: Path) -> tuple[Samples, list[str]]:
    notes: list[str] = []
    return np.concatenate(list(stream_audio(path, on_note=notes.append))), notes


def is_of(samples: Samples, voice: Samples) -> bool:
    """Return True if samples at 16 kHz are a voice at 48 kHz, perhaps a little later."""
    length = 1 << 18
    spectra = [np.fft.rfft(each, length) for each in (samples, voice[1::3])]
    alike = np.fft.irfft(spectra[0] * spectra[1].conj(), length).max()
    return bool(alike > 0.7 * np.linalg.norm(samples) * np.linalg.norm(voice[1::3]))


def sounds_of(path: Path, *sounds: Samples, marks: dict[int, Any] | None = None) -> Path:
    black = [np.zeros((48, 64, 3), np.uint8)] * 50
    shifted = {place + 1: mark for place, mark in (marks or {}).items()}
    return record(path, pictures=[black], sounds=sounds, rate=RATE, marks=shifted)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_the_first_track_is_taken_where_nothing_speaks_against_it(
    tmp_path: Path, voice: Samples, other: Samples, suffix: str
) -> None:
    samples, notes = taken(sounds_of(tmp_path / f"a.{suffix}", voice, other))
    assert is_of(samples, voice)
    (note,) = notes
    assert note.startswith("of its 2 audio tracks track 1 ")


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_the_default_track_is_taken(
    tmp_path: Path, voice: Samples, other: Samples, suffix: str
) -> None:
    path = sounds_of(tmp_path / f"a.{suffix}", other, voice, marks={0: 0, 1: MARK.default})
    samples, notes = taken(path)
    assert is_of(samples, voice)
    assert notes == ["of its 2 audio tracks track 2 (default) was taken."]


@pytest.mark.parametrize(
    "mark",
    [MARK.comment, MARK.hearing_impaired, MARK.visual_impaired, MARK.comment | MARK.default],
)
def test_a_track_beside_the_recording_is_not_taken(
    tmp_path: Path, voice: Samples, other: Samples, mark: Any
) -> None:
    samples, _ = taken(sounds_of(tmp_path / "a.mkv", other, voice, marks={0: mark, 1: 0}))
    assert is_of(samples, voice)


def test_a_dub_is_not_taken_for_the_voice(tmp_path: Path, voice: Samples, other: Samples) -> None:
    marks = {0: MARK.dub | MARK.default, 1: MARK.original}
    samples, _ = taken(sounds_of(tmp_path / "a.mkv", other, voice, marks=marks))
    assert is_of(samples, voice)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
@pytest.mark.parametrize("first", ["silence", "noise", "tone"])
def test_a_track_without_speech_does_not_hide_one_with_speech(
    tmp_path: Path, voice: Samples, suffix: str, first: str
) -> None:
    count = len(voice)
    sounds = {
        "silence": np.zeros(count),
        "noise": np.random.default_rng(0).normal(0, 0.05, count),
        "tone": tone(440, RATE, count / RATE)[:count],
    }
    marks = {} if suffix == "ts" else {0: MARK.default, 1: 0}
    path = tmp_path / f"a.{suffix}"
    sounds_of(path, sounds[first].astype(np.float32), voice, marks=marks)
    samples, (note,) = taken(path)
    assert is_of(samples, voice)
    assert note.endswith("was taken; track 1: no speech.")


def test_a_short_word_is_as_good_as_a_long_talk(
    tmp_path: Path, voice: Samples, other: Samples
) -> None:
    (turn, *_) = find_speech(voice[1::3].copy())
    word = np.zeros_like(voice)
    at = round(turn.start_s * RATE)
    word[at : at + RATE * 7 // 10] = voice[at : at + RATE * 7 // 10]
    samples, _ = taken(sounds_of(tmp_path / "a.mkv", word, np.tile(other, 2)))
    assert is_of(samples, word)


def test_a_quiet_track_does_not_pass_for_a_silent_one(tmp_path: Path, voice: Samples) -> None:
    hum = tone(50, RATE, len(voice) / RATE)[: len(voice)]
    samples, _ = taken(sounds_of(tmp_path / "a.mkv", hum, 0.01 * voice))
    assert is_of(samples, voice)


def test_a_track_that_cannot_be_decoded_does_not_hide_one_that_can(
    tmp_path: Path, voice: Samples, other: Samples
) -> None:
    path = sounds_of(tmp_path / "a.mp4", other, voice)
    content = bytearray(path.read_bytes())
    at = content.index(b"mp4a")
    content[at : at + 4] = b"zzzz"
    at = content.index(b"esds", at)
    content[at : at + 4] = b"zzzy"
    path.write_bytes(content)
    samples, (note,) = taken(path)
    assert is_of(samples, voice)
    assert note.endswith("track 2 was taken; track 1: it cannot be decoded.")


def test_a_track_of_damaged_packets_does_not_hide_a_good_one(
    tmp_path: Path, voice: Samples, other: Samples
) -> None:
    path = garble(sounds_of(tmp_path / "a.mkv", other, voice), "audio", 1)
    samples, (note, *_) = taken(path)
    assert is_of(samples, voice)
    assert "track 2" in note


def test_all_who_read_a_file_take_the_same_track(
    tmp_path: Path, extractor: MediaExtractor, voice: Samples
) -> None:
    path = sounds_of(tmp_path / "a.mkv", np.zeros_like(voice), voice)
    notes: list[str] = []
    items = list(extractor.extract(path, on_note=notes.append))
    assert [item.modality for item in items] == ["voice"] * len(items) != []
    for item in items:
        again = load_media(dataclasses.replace(item, data=None))
        np.testing.assert_array_equal(again, item.data)
    assert any("track 2" in note for note in notes)


def grey(level: int, count: int = 60) -> list[NDArray[np.uint8]]:
    return [np.full((250, 250, 3), level, np.uint8)] * count


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_pictures_without_a_face_do_not_hide_those_with_one(
    tmp_path: Path, portrait: NDArray[np.uint8], suffix: str
) -> None:
    path = record(tmp_path / f"a.{suffix}", pictures=[grey(90), [portrait] * 60])
    notes: list[str] = []
    frames = list(sample_frames(path, on_note=notes.append))
    np.testing.assert_allclose(frames[0].rgb.mean(), portrait.mean(), atol=5)
    np.testing.assert_array_equal(read_frame(path, frames[1].time_s), frames[1].rgb)
    assert any("of its 2 video tracks track 2" in note for note in notes)


def test_the_default_pictures_are_taken(tmp_path: Path, portrait: NDArray[np.uint8]) -> None:
    """Both show a face."""
    mirrored = np.ascontiguousarray(portrait[::-1, ::-1][::-1])
    path = record(
        tmp_path / "a.mkv",
        pictures=[[mirrored] * 60, [portrait] * 60],
        marks={0: 0, 1: MARK.default},
    )
    np.testing.assert_allclose(next(sample_frames(path)).rgb, portrait, atol=40)
