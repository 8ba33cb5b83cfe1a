from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsearch.media.video import read_frame, sample_frames
from indexer.errors import BadRequest, RefusedFile
from tests.helpers.making import encode, tone


def counting(count: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """Frames that get brighter, with a red mark in the top left corner."""
    frames = [np.full((height, width, 3), 40 + 180 * i // count, np.uint8) for i in range(count)]
    for frame in frames:
        frame[:16, :16] = (255, 0, 0)
    return frames


def brightness(rgb: np.ndarray) -> float:
    return float(rgb[40:60, 40:60].mean())


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("mp4", "libx264"),
        ("mp4", "mpeg4"),
        ("mov", "mjpeg"),
        ("mkv", "libx264"),
        ("webm", "libvpx-vp9"),
        ("avi", "mpeg4"),
        ("mpg", "mpeg1video"),
        ("ts", "mpeg2video"),
        ("flv", "flv1"),
        ("wmv", "wmv2"),
    ],
)
def test_one_frame_a_second_of_every_format(tmp_path: Path, suffix: str, codec: str) -> None:
    fps = 25
    frames = counting(6 * fps)
    path = encode(tmp_path / f"a.{suffix}", frames=frames, codecs=(codec, ""), fps=fps)
    found = list(sample_frames(path))
    assert [frame.time_s for frame in found] == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.2)
    for frame in found:
        assert frame.rgb.shape == (64, 96, 3)
        expected = brightness(frames[min(round(frame.time_s * fps), len(frames) - 1)])
        assert brightness(frame.rgb) == pytest.approx(expected, abs=12)
        np.testing.assert_allclose(frame.rgb[4, 4], (255, 0, 0), atol=45)


def test_a_short_clip_still_gives_a_few(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", frames=counting(12), fps=10)
    assert len(list(sample_frames(path))) >= 4


def test_a_single_frame_is_a_video(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", frames=counting(1))
    assert [frame.time_s for frame in sample_frames(path)] == [0]


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_frames_are_upright(tmp_path: Path, rotation: int) -> None:
    """A phone stores the picture as its chip lies, and how to turn it."""
    upright = counting(5)
    stored = [np.ascontiguousarray(np.rot90(frame, -rotation // 90)) for frame in upright]
    path = encode(tmp_path / "a.mp4", frames=stored, rotation=rotation)
    for frame in sample_frames(path):
        assert frame.rgb.shape == (64, 96, 3)
        np.testing.assert_allclose(frame.rgb[4, 4], (255, 0, 0), atol=45)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mpg"])
def test_a_frame_is_found_again_by_its_time(tmp_path: Path, suffix: str) -> None:
    codec = "mpeg1video" if suffix in ("ts", "mpg") else "libx264"
    path = encode(tmp_path / f"a.{suffix}", frames=counting(500), codecs=(codec, ""), fps=25)
    for time_s, rgb in list(sample_frames(path, every_s=3.3)):
        np.testing.assert_array_equal(read_frame(path, time_s), rgb)
        np.testing.assert_array_equal(read_frame(path, round(time_s, 3)), rgb)


@pytest.mark.parametrize("time_s", [1.5, 100.0, 1e6])
def test_a_time_beyond_the_end_is_a_bad_request(tmp_path: Path, time_s: float) -> None:
    path = encode(tmp_path / "a.mp4", frames=counting(10))
    with pytest.raises(BadRequest, match="no frame at"):
        read_frame(path, time_s)


def test_refuses_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    with pytest.raises(RefusedFile, match="not audio or video"):
        list(sample_frames(tmp_path / "a.mp4"))


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}])
def test_refuses_a_truncated_mp4(tmp_path: Path, options: dict[str, str]) -> None:
    path = encode(tmp_path / "a.mp4", frames=counting(100), options=options)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(RefusedFile, match=r"cut short|cannot be decoded"):
        list(sample_frames(path))


def test_a_track_that_turns_up_on_the_way_changes_nothing(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.flv", frames=counting(300), codecs=("flv1", ""))
    before = [frame.time_s for frame in sample_frames(path)]
    head = bytearray(path.read_bytes())
    head[4] = 1  # says that there are pictures only
    sound = bytes([0x3E]) + bytes(100)
    tag = b"\x08" + len(sound).to_bytes(3, "big") + bytes([0, 0x4E, 0x20, 0, 0, 0, 0]) + sound
    path.write_bytes(head + tag + len(tag).to_bytes(4, "big"))
    assert [frame.time_s for frame in sample_frames(path)] == before


def test_refuses_a_video_that_is_only_sound(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", sound=tone(440, 48_000))
    with pytest.raises(RefusedFile, match="no video track"):
        list(sample_frames(path))
