"""Audio files with wrong headers, with damage, or joined in one file."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from avsearch.media.audio import cut_audio, read_audio, stream_audio
from avsearch.media.samples import SAMPLE_RATE
from avsearch.media.speech_segments import Span
from indexer.errors import RefusedFile
from tests.helpers.making import encode, tone

SECONDS = 12


@pytest.fixture(scope="module")
def noise() -> NDArray[np.int16]:
    """Some seconds that no two decoders may confuse."""
    return np.random.default_rng(0).integers(-9000, 9000, SAMPLE_RATE * SECONDS, np.int16)


def heard(path: Path) -> tuple[NDArray[np.float32], list[str]]:
    notes: list[str] = []
    return np.concatenate(list(stream_audio(path, on_note=notes.append))), notes


def put(content: bytes, name: bytes, offset: int, form: str, value: int) -> bytes:
    """A file with a number replaced, so far behind the end of a name."""
    changed = bytearray(content)
    struct.pack_into(form, changed, content.index(name) + len(name) + offset, value)
    return bytes(changed)


def flac_total(content: bytes, total: int) -> bytes:
    """Return a FLAC file with so many samples in its header."""
    field = int.from_bytes(content[18:26], "big") >> 36 << 36 | total
    return content[:18] + field.to_bytes(8, "big") + content[26:]


WRONG: dict[str, Callable[[bytes, int], bytes]] = {
    "wav": lambda content, value: put(content, b"data", 0, "<I", value),
    "rf64": lambda content, value: put(content, b"ds64", 12, "<Q", value),
    "au": lambda content, value: put(content, b".snd", 4, ">I", value),
    "aiff": lambda content, value: put(content, b"SSND", 0, ">I", value),
    "caf": lambda content, value: put(content, b"data", 0, ">Q", value),
    "w64": lambda content, value: put(content, b"data", 12, "<Q", value),
    "flac": lambda content, value: flac_total(content, value // 2),
}
VALUES = [0, 4000, 2**31 - 1, 2**32 - 1, 10**7]


@pytest.mark.parametrize(
    ("suffix", "value"),
    [*itertools.product(WRONG, VALUES), ("rf64", 2**64 - 1), ("caf", 2**64 - 1)],
)
def test_what_a_header_says_wrongly_of_the_length_is_not_believed(
    tmp_path: Path, noise: NDArray[np.int16], suffix: str, value: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise, SAMPLE_RATE, "PCM_16")
    path.write_bytes(WRONG[suffix](path.read_bytes(), value))
    samples, _ = heard(path)
    np.testing.assert_array_equal(samples, noise / np.float32(32768))


def test_what_follows_the_sound_of_a_wav_is_no_sound(
    tmp_path: Path, noise: NDArray[np.int16]
) -> None:
    soundfile.write(tmp_path / "a.wav", noise, SAMPLE_RATE)
    info = (
        b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"some program\0\0"
    )
    with (tmp_path / "a.wav").open("ab") as file:
        file.write(info + b"id3 " + struct.pack("<I", 5000) + bytes(range(250)) * 20)
    samples, notes = heard(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, noise / np.float32(32768))
    assert notes == []


@pytest.mark.parametrize("suffix", ["wav", "au", "aiff", "caf"])
def test_a_sound_that_was_cut_short_is_noted(
    tmp_path: Path, noise: NDArray[np.int16], suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise, SAMPLE_RATE)
    path.write_bytes(path.read_bytes()[:-100_000])
    samples, notes = heard(path)
    np.testing.assert_array_equal(samples, noise[: len(samples)] / np.float32(32768))
    assert len(samples) >= len(noise) - 50_000
    assert any("cut short" in note for note in notes)


@pytest.mark.parametrize("total", [SAMPLE_RATE * SECONDS, 0])
def test_a_flac_that_was_cut_short_is_heard_to_its_last_sample(
    tmp_path: Path, noise: NDArray[np.int16], total: int
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise, SAMPLE_RATE)
    path.write_bytes(flac_total(path.read_bytes(), total)[: path.stat().st_size * 2 // 3])
    samples, notes = heard(path)
    assert len(samples) > 0.6 * len(noise)
    np.testing.assert_array_equal(samples, noise[: len(samples)] / np.float32(32768))
    assert notes


def test_behind_damage_a_flac_is_heard_where_it_was(
    tmp_path: Path, noise: NDArray[np.int16]
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise, SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 9000] = np.random.default_rng(1).bytes(9000)
    path.write_bytes(content)
    samples, notes = heard(path)
    same = samples == noise / np.float32(32768)
    assert same.mean() > 0.9
    assert not samples[~same].any()
    assert any("no audio for" in note for note in notes)


def test_a_part_of_a_damaged_flac_is_what_the_whole_has_there(
    tmp_path: Path, noise: NDArray[np.int16]
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise, SAMPLE_RATE)
    path.write_bytes(flac_total(path.read_bytes(), 5000)[:-20_000])
    whole = read_audio(path)
    for start_s, end_s in [(0, 1), (2.5, 7), (9, 10)]:
        (part,) = cut_audio(path, [Span(start_s, end_s)])
        np.testing.assert_array_equal(
            part, whole[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
        )


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "m4a", "mkv"])
def test_what_stands_before_a_header_is_passed_over(
    tmp_path: Path, noise: NDArray[np.int16], suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix in ("m4a", "mkv"):
        encode(path, sound=tone(440, 48_000, 3))
    else:
        subtype = {"ogg": "VORBIS", "opus": "OPUS"}.get(suffix)
        soundfile.write(path, noise, SAMPLE_RATE, subtype, format="OGG" if subtype else None)
    expected = read_audio(path)
    path.write_bytes(b"HTTP/1.1 200 OK\r\nContent-Type: audio\r\n\r\n" + path.read_bytes())
    assert len(read_audio(path)) == pytest.approx(len(expected), rel=0.01)


def parts(folder: Path, suffix: str, rates: list[int]) -> list[Path]:
    """A tone of three seconds at each rate, an octave above the one before."""
    codecs = {"aac": "aac", "mp3": "libmp3lame", "ts": "mp2", "opus": "libopus"}
    made = []
    for number, rate in enumerate(rates):
        path, sound = folder / f"{number}.{suffix}", tone(400 * 2**number, rate, 3)
        if suffix in codecs:
            encode(path, sound=sound, codecs=("", codecs[suffix]), rate=rate)
        elif suffix == "ogg":
            soundfile.write(path, np.stack([sound] * (number + 1), 1), rate, "VORBIS")
        else:
            soundfile.write(path, sound, rate)
        made.append(path)
    return made


@pytest.mark.parametrize("suffix", ["mp3", "aac", "ogg", "flac", "wav", "ts", "opus"])
def test_joined_sounds_of_several_rates_are_heard_to_the_end(tmp_path: Path, suffix: str) -> None:
    rates = [48_000] * 3 if suffix == "opus" else [44_100, 48_000, 32_000]
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(b"".join(path.read_bytes() for path in parts(tmp_path, suffix, rates)))
    samples, notes = heard(joined)
    assert len(samples) == pytest.approx(9 * SAMPLE_RATE, rel=0.03)
    for number in range(3):
        middle = samples[round((3 * number + 1) * SAMPLE_RATE) :][:SAMPLE_RATE]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
        assert np.argmax(spectrum) == pytest.approx(400 * 2**number, abs=3)
        assert np.abs(middle).max() == pytest.approx(0.5, abs=0.1)
    if suffix not in ("mp3", "ts"):  # whose frames need the one before
        assert notes == []


def mpeg_frames(content: bytes) -> list[bytes]:
    """The frames of MPEG audio of layer III, at 96 kbit/s."""
    frames, at = [], 0
    while at + 4 <= len(content):
        head = int.from_bytes(content[at : at + 4], "big")
        if head >> 21 != 0x7FF:
            at += 1
            continue
        size = 144 * 96_000 // (44_100, 48_000, 32_000)[head >> 10 & 3] + (head >> 9 & 1)
        frames.append(content[at : at + size])
        at += size
    return frames


def test_one_odd_frame_is_heard_as_what_it_is(tmp_path: Path) -> None:
    low, high = (
        mpeg_frames(path.read_bytes()) for path in parts(tmp_path, "mp3", [44_100, 48_000])
    )
    middle = len(low) // 2
    (tmp_path / "a.mp3").write_bytes(b"".join([*low[1:middle], high[5], *low[middle:]]))
    samples, _ = heard(tmp_path / "a.mp3")
    assert len(samples) == pytest.approx(3 * SAMPLE_RATE, rel=0.05)


@pytest.mark.parametrize("suffix", ["mp3", "aac", "ts", "mkv"])
def test_packets_that_cannot_be_decoded_are_counted(tmp_path: Path, suffix: str) -> None:
    codecs = {"mp3": "libmp3lame", "ts": "mp2"}.get(suffix, "aac")
    path = encode(tmp_path / f"a.{suffix}", sound=tone(440, 48_000, 10), codecs=("", codecs))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 5000] = np.random.default_rng(0).bytes(5000)
    path.write_bytes(content)
    samples, notes = heard(path)
    assert len(samples) > 9 * SAMPLE_RATE
    assert any("cannot be decoded" in note or "no audio for" in note for note in notes)


@pytest.mark.parametrize("suffix", ["m4a", "mka"])
def test_what_is_left_of_a_container_is_taken_and_the_rest_noted(
    tmp_path: Path, suffix: str
) -> None:
    path = encode(
        tmp_path / f"a.{suffix}",
        sound=tone(440, 48_000, 10),
        options={"movflags": "faststart"} if suffix == "m4a" else {},
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    samples, notes = heard(path)
    assert 3 * SAMPLE_RATE < len(samples) < 7 * SAMPLE_RATE
    assert any("it ends after" in note for note in notes)


def test_of_nothing_that_can_be_decoded_the_reason_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(440, SAMPLE_RATE, 3), SAMPLE_RATE)
    content = path.read_bytes()
    path.write_bytes(content[:42] + bytes(len(content) - 42))
    with pytest.raises(RefusedFile, match="damaged or cut short"):
        read_audio(path)


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "aiff", "mp3", "m4a", "opus"])
def test_of_what_is_in_order_nothing_is_noted(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"a.{name}"
    if name in ("mp3", "m4a", "opus"):
        codec = {"mp3": "libmp3lame", "m4a": "aac", "opus": "libopus"}[name]
        encode(path, sound=tone(440, 48_000, 3), codecs=("", codec))
    else:
        soundfile.write(path, tone(440, 44_100, 3), 44_100)
    assert heard(path)[1] == []
