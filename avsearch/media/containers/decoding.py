"""A track of a file as arrays: audio with silence in its gaps, and upright frames."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avsearch.media.containers.clock import NEAR_S
from avsearch.media.containers.display_matrix import upright
from avsearch.media.containers.ffmpeg import Choose, open_tracks
from avsearch.media.containers.joined_files import FileSlice
from indexer.types import OnNote, ignore_note

_SILENCE_S: Final = 10.0  # of a gap at once
_NOTED_GAP_S: Final = 0.1
_LONG_GAP_S: Final = 0.2
_PIXEL_ASPECTS: Final = (0.2, 5.0)  # beyond, the header is wrong
_IDENTITY: Final = (1, 0, 0, 0, 1, 0, 0, 0, 1)

OnGap = Callable[[float, float], None]  # receives the seconds of audio before a gap, and its length


def read_audio_track(
    path: Path,
    *,
    part: FileSlice | None = None,
    choose: Choose = operator.itemgetter(0),
    on_gap: OnGap | None = None,
    on_note: OnNote = ignore_note,
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield an audio track in small pieces: (samples a second, (n, channels) floats).

    Integers are scaled to [-1, 1]. The audio of a video starts at the start of the file, other
    audio at its first sample.

    Args:
        path: The file.
        part: The part to read instead of the whole file.
        choose: Returns one of several tracks, which it receives by preference.
        on_gap: Receives the gaps. None fills them with silence.
        on_note: Receives what was lost.

    Raises:
        RefusedFile: There is no track, or nothing of it can be decoded.
    """
    read_s = 0.0
    for reader in open_tracks(path, "audio", choose, part, on_note):
        gaps: _Gaps | None = None
        for frame in reader.frames():
            gaps = gaps or _Gaps(reader.begins_s)
            rate, samples = frame.sample_rate, _samples(frame)
            missing = round(gaps.before(frame.time) * rate) if reader.is_timed else 0
            if on_gap is None:
                yield from _silence(rate, missing, samples.shape[1])
            elif missing:
                on_gap(read_s + gaps.read_s, missing / rate)
            yield rate, samples
            gaps.add(missing / rate, len(samples) / rate)
        if gaps is None:
            continue
        read_s += gaps.read_s
        rest = round(gaps.before(reader.ends_s) * rate) if reader.goes_on else 0
        if on_gap is None:
            gaps.note(on_note)
            yield from _silence(rate, rest, samples.shape[1])
        elif rest:
            on_gap(read_s, rest / rate)


def has_gaps(path: Path, choose: Choose) -> bool:
    """Return True if an audio track may have gaps, by the time stamps alone.

    A file to which others are joined may have one at its end. Nothing is decoded.
    """
    return any(
        reader.goes_on or reader.has_gaps(_LONG_GAP_S)
        for reader in open_tracks(path, "audio", choose, None, ignore_note)
    )


class _Gaps:
    """Finds the gaps of an audio track by the time stamps of its frames."""

    def __init__(self, begins_s: float | None) -> None:
        self.read_s = 0.0
        self._begins_s = begins_s
        self._missing_s = 0.0
        self._inside: list[float] = []  # the gaps after the first sample

    def before(self, time_s: float | None) -> float:
        """Return the seconds of audio that are missing before a frame."""
        if time_s is None:
            return 0.0
        if self._begins_s is None:
            self._begins_s = time_s - self.read_s
        missing_s = time_s - self._begins_s - self._missing_s - self.read_s
        return missing_s if missing_s > NEAR_S else 0.0

    def add(self, missing_s: float, read_s: float) -> None:
        """Count a gap and the frame after it."""
        if missing_s and self.read_s:
            self._inside.append(missing_s)
        self._missing_s += missing_s
        self.read_s += read_s

    def note(self, on_note: OnNote) -> None:
        """Note the gaps after the first sample."""
        if (missing_s := sum(self._inside)) >= _NOTED_GAP_S:
            places = f" in {len(self._inside)} places" if len(self._inside) > 1 else ""
            on_note(
                f"the file has no audio for {missing_s:.1f} s{places}, which counts as silence."
            )


def _silence(rate: int, count: int, channels: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield samples of silence, some seconds at a time."""
    most = round(rate * _SILENCE_S)
    for start in range(0, count, most):
        yield rate, np.zeros((min(most, count - start), channels), np.float32)


def read_frames(
    path: Path,
    from_s: float,
    next_time: Callable[[float], float],
    *,
    choose: Choose = operator.itemgetter(0),
    keyframes: bool = False,
    on_note: OnNote = ignore_note,
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Yield frames as (seconds from the file's start, uint8 (height, width, 3) RGB), upright.

    Args:
        path: The file.
        from_s: The first frame is at or after this time.
        next_time: Returns the earliest time of the next frame for the time of the one before.
            Other frames are not converted.
        choose: Returns one of several tracks, which it receives by preference.
        keyframes: Skip all other frames.
        on_note: Receives what was lost.

    Raises:
        RefusedFile: There is no video track, or nothing of it can be decoded.
    """
    next_s, before_s = from_s, 0.0
    for reader in open_tracks(path, "video", choose, None, on_note):
        stream = reader.stream
        stream.thread_type = "AUTO"
        # Frames that no other frame needs are left undecoded: half of the work at times.
        stream.codec_context.skip_frame = "NONKEY" if keyframes else "NONREF"
        begins_s = (reader.begins_s or 0.0) - before_s
        aspect, (low, high) = float(stream.sample_aspect_ratio or 1), _PIXEL_ASPECTS
        aspect = aspect if low <= aspect <= high else 1.0
        for frame in reader.frames(next_s - before_s):
            if frame.time is None:  # the decoder lost it
                continue
            time_s = max(0.0, frame.time - begins_s)
            if time_s >= next_s:
                square = frame.to_ndarray(format="rgb24", width=round(frame.width * aspect))
                yield time_s, upright(square, _display_matrix(frame))
                next_s = next_time(time_s)
        before_s += reader.ends_s - (reader.begins_s or 0.0)


def _samples(frame: Any) -> NDArray[Any]:
    """Return (n, channels) of an audio frame, planar (channels, n) or packed (1, n * channels)."""
    samples: NDArray[Any] = frame.to_ndarray()
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples / np.float32(2 ** (8 * samples.dtype.itemsize - 1))
    return samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)


def _display_matrix(frame: Any) -> Sequence[float]:
    with suppress(ValueError):  # PyAV has no name for some other side data of the frame
        data = frame.side_data.get("DISPLAYMATRIX")
        return _IDENTITY if data is None else [int(each) for each in np.frombuffer(data, np.int32)]
    angle = math.radians(frame.rotation)
    return (math.cos(angle), -math.sin(angle), 0, math.sin(angle), math.cos(angle), 0, 0, 0, 1)
