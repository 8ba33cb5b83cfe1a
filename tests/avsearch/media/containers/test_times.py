"""One clock for the audio and the video of a file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from avsearch.media.audio import audio_has_gaps, read_audio, stream_audio
from avsearch.media.containers import ffmpeg
from avsearch.media.samples import SAMPLE_RATE
from avsearch.media.video import read_frame, sample_frames
from tests.helpers.making import record, tone

RATE = 48_000
CODECS = {
    "mp4": ("mpeg4", "aac"),
    "mov": ("mpeg4", "pcm_s16le"),
    "mkv": ("mpeg4", "aac"),
    "webm": ("libvpx", "libopus"),
    "ts": ("mpeg2video", "mp2"),
    "mpg": ("mpeg1video", "mp2"),
    "vob": ("mpeg2video", "mp2"),
    "flv": ("flv1", "aac"),
    "wmv": ("wmv2", "wmav2"),
}
A_FRAME_S = 0.1  # with what codecs put before a sound


def grey(seconds: float, fps: int = 25) -> list[NDArray[np.uint8]]:
    """Frames that get brighter by twenty a second, as far as they can."""
    levels = [min(20 + 20 * i // fps, 240) for i in range(round(seconds * fps))]
    return [np.full((48, 64, 3), level, np.uint8) for level in levels]


def beep(at_s: float, seconds: float) -> NDArray[np.float32]:
    """Half a second of a tone in a silence of some seconds."""
    sound = np.zeros(round(RATE * seconds), np.float32)
    sound[round(at_s * RATE) : round((at_s + 0.5) * RATE)] = tone(1000, RATE, 0.5)
    return sound


def made(path: Path, seconds: float = 4, beeps: Sequence[float] = (1,), **how: Any) -> Path:
    """A video with beeps, as FFmpeg writes it."""
    sound = np.sum([beep(at_s, seconds) for at_s in beeps], axis=0, dtype=np.float32)
    codecs = CODECS[path.suffix[1:]]
    return record(path, pictures=[grey(seconds)], sounds=[sound], codecs=codecs, rate=RATE, **how)


def heard(samples: NDArray[np.float32]) -> list[float]:
    """When beeps begin, in seconds."""
    loud = np.abs(samples).reshape(-1) > 0.2
    places = np.flatnonzero(loud)
    starts = places[np.diff(places, prepend=-SAMPLE_RATE) > SAMPLE_RATE // 2]
    return (starts / SAMPLE_RATE).tolist()


def later(kind: str, seconds: float) -> Callable[[str, float], float]:
    return lambda of, time_s: time_s + seconds if of == kind else time_s


@pytest.mark.parametrize("suffix", CODECS)
def test_sound_and_picture_that_begin_together_begin_at_0(tmp_path: Path, suffix: str) -> None:
    path = made(tmp_path / f"a.{suffix}")
    assert heard(read_audio(path)) == [pytest.approx(1, abs=A_FRAME_S)]
    assert next(sample_frames(path)).time_s == pytest.approx(0, abs=A_FRAME_S)


@pytest.mark.parametrize("suffix", CODECS)
def test_sound_that_begins_after_the_picture_is_heard_when_it_is_played(
    tmp_path: Path, suffix: str
) -> None:
    path = made(tmp_path / f"a.{suffix}", stamp=later("audio", 3))
    assert heard(read_audio(path)) == [pytest.approx(4, abs=A_FRAME_S)]
    assert next(sample_frames(path)).time_s == pytest.approx(0, abs=A_FRAME_S)


@pytest.mark.parametrize("suffix", CODECS)
def test_pictures_that_begin_after_the_sound_are_seen_when_they_are_shown(
    tmp_path: Path, suffix: str
) -> None:
    path = made(tmp_path / f"a.{suffix}", stamp=later("video", 3))
    assert heard(read_audio(path)) == [pytest.approx(1, abs=A_FRAME_S)]
    first, *_ = times = [frame.time_s for frame in sample_frames(path)]
    assert first == pytest.approx(3, abs=A_FRAME_S)
    assert times[-1] <= 7 + A_FRAME_S


def with_gap(from_s: float, seconds: float, kind: str | None = None) -> Any:
    """Stamps that leave a gap, for both kinds of tracks or one."""
    return lambda of, time_s: time_s + seconds * (time_s >= from_s and kind in (None, of))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "ts", "mpg", "vob", "flv", "wmv"])
def test_where_a_file_has_nothing_its_sound_is_silent_for_as_long(
    tmp_path: Path, suffix: str
) -> None:
    path = made(tmp_path / f"a.{suffix}", 6, [1, 4], stamp=with_gap(3, 20))
    notes: list[str] = []
    samples = np.concatenate(list(stream_audio(path, on_note=notes.append)))
    assert heard(samples) == pytest.approx([1, 24], abs=A_FRAME_S)
    assert len(samples) == pytest.approx(26 * SAMPLE_RATE, rel=0.01)
    assert any("no audio for 20" in note for note in notes)
    shown = [frame.time_s for frame in sample_frames(path)]
    assert [time_s for time_s in shown if 4 < time_s < 22.9] == []
    assert max(shown) == pytest.approx(25, abs=0.2)


@pytest.mark.parametrize("suffix", ["mkv", "webm", "ts"])
def test_packets_that_were_not_sent_or_got_lost_move_nothing(tmp_path: Path, suffix: str) -> None:
    """Pauses that are not transmitted, and one packet in ten that is lost."""
    random = np.random.default_rng(0)

    def lossy(kind: str, time_s: float) -> float | None:
        lost = 2 < time_s < 4.5 or (time_s > 0.2 and random.random() < 0.1)
        return None if kind == "audio" and lost else time_s

    path = made(tmp_path / f"a.{suffix}", 8, [1, 5, 7], stamp=lossy)
    assert heard(read_audio(path)) == pytest.approx([1, 5, 7], abs=A_FRAME_S)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mka", "libopus"), ("m4a", "aac"), ("ogg", "libopus")]
)
def test_a_sound_alone_begins_with_its_first_sample_and_keeps_its_gaps(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    path = record(
        tmp_path / f"a.{suffix}",
        sounds=[beep(1, 6) + beep(4, 6)],
        codecs=("", codec),
        stamp=lambda _, time_s: time_s + 5 + 7 * (time_s >= 3),
    )
    assert heard(read_audio(path)) == pytest.approx([1, 11], abs=A_FRAME_S)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("kind", [None, "audio", "video"])
def test_a_jump_of_hours_is_a_wrong_stamp(tmp_path: Path, suffix: str, kind: str | None) -> None:
    path = made(tmp_path / f"a.{suffix}", 6, [1, 4], stamp=with_gap(3, 5 * 3600, kind))
    notes: list[str] = []
    blocks = list(stream_audio(path, on_note=notes.append))
    assert max(map(len, blocks)) < 20 * SAMPLE_RATE
    assert sum(map(len, blocks)) < 12 * SAMPLE_RATE
    assert len(heard(np.concatenate(blocks))) == 2
    assert any("time stamps jump" in note for note in notes)
    assert max(frame.time_s for frame in sample_frames(path)) < 12


def test_gaps_of_minutes_do_not_add_up_to_hours(tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.mkv", 30, [1, 29], stamp=lambda _, time_s: time_s + 500 * round(time_s // 1)
    )
    length_s = sum(len(block) for block in stream_audio(path)) / SAMPLE_RATE
    assert 1000 < length_s < 3600 + 60


@pytest.mark.parametrize("suffix", ["ts", "mpg", "vob", "mkv", "webm", "mp4"])
def test_joined_recordings_go_on_together(tmp_path: Path, suffix: str) -> None:
    """The sound of each ends half a second before its pictures."""
    part = record(
        tmp_path / f"part.{suffix}",
        pictures=[grey(4)],
        sounds=[beep(1, 3.5)],
        codecs=CODECS[suffix],
    )
    joined = tmp_path / f"a.{suffix}"
    joined.write_bytes(part.read_bytes() * 3)
    starts = heard(read_audio(joined))
    assert starts == pytest.approx([1, 5, 9], abs=0.15)
    frames = list(sample_frames(joined, 0.5))
    assert frames[-1].time_s == pytest.approx(11.5, abs=0.5)
    dark = [
        now.time_s
        for before, now in itertools.pairwise(frames)
        if now.rgb.mean() < before.rgb.mean()
    ]
    assert dark == pytest.approx([4, 8], abs=0.5)


def test_a_hundred_joined_recordings_stay_together(tmp_path: Path) -> None:
    part = record(
        tmp_path / "part.ts", pictures=[grey(1)], sounds=[beep(0.25, 1.01)], codecs=CODECS["ts"]
    )
    joined = tmp_path / "a.ts"
    joined.write_bytes(part.read_bytes() * 100)
    starts, frames = heard(read_audio(joined)), list(sample_frames(joined, 0.2))
    dark = [
        now.time_s
        for before, now in itertools.pairwise(frames)
        if now.rgb.mean() < before.rgb.mean()
    ]
    assert len(starts) == 100
    assert len(dark) == 99
    assert starts[-1] - dark[-1] == pytest.approx(starts[1] - dark[0], abs=0.3)


def test_what_begins_in_the_middle_of_a_broadcast_is_taken(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole.ts", 12, [1, 9])
    path = tmp_path / "a.ts"
    path.write_bytes(whole.read_bytes()[188 * 1000 :])
    (start,) = heard(read_audio(path))
    bright = min(
        frame.time_s for frame in sample_frames(path, 0.1) if frame.rgb.mean() > 20 + 20 * 9
    )
    assert start == pytest.approx(bright, abs=0.3)


def test_stamps_that_begin_again_from_0_by_their_size_go_on(tmp_path: Path) -> None:
    """The stamps of an MPEG stream have 33 bits at 90 kHz: a day and two and a half hours."""
    wrap_s = 2**33 / 90_000
    path = made(tmp_path / "a.ts", 6, [1, 5], stamp=lambda _, time_s: time_s + wrap_s - 4.4)
    assert heard(read_audio(path)) == pytest.approx([1, 5], abs=A_FRAME_S)
    assert max(frame.time_s for frame in sample_frames(path)) == pytest.approx(5, abs=0.2)


@pytest.mark.parametrize("suffix", ["ts", "mkv", "webm"])
def test_frames_and_parts_behind_a_join_are_found_again(tmp_path: Path, suffix: str) -> None:
    part = made(tmp_path / f"part.{suffix}", 12)
    joined = tmp_path / f"a.{suffix}"
    joined.write_bytes(part.read_bytes() * 2)
    frames = list(sample_frames(joined, 3.3))
    assert len(frames) > 6
    for frame in frames:
        np.testing.assert_array_equal(read_frame(joined, frame.time_s), frame.rgb)
    whole = read_audio(joined)
    again = read_audio(joined, 12.5, 14)
    np.testing.assert_array_equal(again, whole[round(12.5 * SAMPLE_RATE) : 14 * SAMPLE_RATE])


def test_frames_behind_a_jump_of_hours_are_found_again(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mkv", 40, stamp=with_gap(2, 7200))
    for frame in list(sample_frames(path, 6.1)):
        np.testing.assert_array_equal(read_frame(path, frame.time_s), frame.rgb)


def test_frames_without_time_stamps_follow_one_another(tmp_path: Path) -> None:
    path = record(tmp_path / "a.h264", pictures=[grey(5)], codecs=("libx264", ""))
    times = [frame.time_s for frame in sample_frames(path.rename(tmp_path / "a.mpv"))]
    assert times == pytest.approx([0, 1, 2, 3, 4], abs=0.2)


def test_a_video_that_is_longer_than_it_says_is_not_sampled_closely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "a.mp4", 5)
    monkeypatch.setattr(ffmpeg, "duration_s", lambda _: 0.01)
    assert len(list(sample_frames(path))) <= 8


def test_a_gap_is_told_where_it_is_not_to_be_silent(tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.mkv",
        6,
        [1, 4],
        stamp=lambda of, time_s: time_s + 2 * (of == "audio") + 5 * (of == "audio" and time_s >= 3),
    )
    gaps: list[tuple[float, float]] = []
    blocks = list(stream_audio(path, on_gap=lambda *gap: gaps.append(gap)))
    assert heard(np.concatenate(blocks)) == pytest.approx([1, 4], abs=A_FRAME_S)
    assert gaps == [pytest.approx((0, 2), abs=0.1), pytest.approx((3, 5), abs=0.1)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "ts", "flv", "wmv"])
def test_whether_a_sound_has_gaps_is_known_by_its_stamps(tmp_path: Path, suffix: str) -> None:
    stamps = {"none": later("audio", 0), "late": later("audio", 1), "gap": with_gap(3, 1)}
    paths = {
        name: made(tmp_path / f"{name}.{suffix}", 6, stamp=stamp) for name, stamp in stamps.items()
    }
    assert not audio_has_gaps(paths["none"])
    assert audio_has_gaps(paths["late"])
    assert audio_has_gaps(paths["gap"])
