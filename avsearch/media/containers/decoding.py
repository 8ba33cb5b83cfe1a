"""A track of a file as arrays: sound with silence in its gaps, and upright frames."""

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
from avsearch.media.containers.ffmpeg import Choose, readings
from avsearch.media.containers.joined_files import View
from indexer.types import OnNote, ignore_note

_SILENCE_S: Final = 10.0  # of a gap at once
_NOTED_GAP_S: Final = 0.1
_LONG_GAP_S: Final = 0.2
_PIXEL_ASPECTS: Final = (0.2, 5.0)  # beyond, the header is wrong
_AS_STORED: Final = (1, 0, 0, 0, 1, 0, 0, 0, 1)

OnGap = Callable[[float, float], None]  # receives the seconds heard before a gap, and its length


def sound_track(
    path: Path,
    *,
    part: View | None = None,
    choose: Choose = operator.itemgetter(0),
    on_gap: OnGap | None = None,
    on_note: OnNote = ignore_note,
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield a sound track in small pieces: (samples a second, (n, channels) floats).

    Integers are scaled to [-1, 1]. The sound of a video starts at the start of the file, other
    sound at its first sample. Gaps in the file are filled with silence, or reported to ``on_gap``
    where it is given. ``choose`` picks one of several tracks, which it is given by preference.
    ``part`` is read instead of the whole file. Raises RefusedFile where there is no track or
    nothing of it can be decoded.
    """
    heard_s = 0.0
    for reading in readings(path, "audio", choose, part, on_note):
        gaps: _Gaps | None = None
        for frame in reading.frames():
            gaps = gaps or _Gaps(reading.begins_s)
            rate, samples = frame.sample_rate, _channels(frame)
            missing = round(gaps.before(frame.time) * rate) if reading.is_timed else 0
            if on_gap is None:
                yield from _silence(rate, missing, samples.shape[1])
            elif missing:
                on_gap(heard_s + gaps.heard_s, missing / rate)
            yield rate, samples
            gaps.add(missing / rate, len(samples) / rate)
        if gaps is None:
            continue
        heard_s += gaps.heard_s
        rest = round(gaps.before(reading.ends_s) * rate) if reading.goes_on else 0
        if on_gap is None:
            gaps.note(on_note)
            yield from _silence(rate, rest, samples.shape[1])
        elif rest:
            on_gap(heard_s, rest / rate)


def has_gaps(path: Path, choose: Choose) -> bool:
    """Return True if a sound track may have gaps, by the time stamps alone.

    A file to which others are joined may have one at its end. Nothing is decoded.
    """
    return any(
        reading.goes_on or reading.has_gaps(_LONG_GAP_S)
        for reading in readings(path, "audio", choose, None, ignore_note)
    )


class _Gaps:
    """Finds the gaps of a sound track by the time stamps of its frames."""

    def __init__(self, begins_s: float | None) -> None:
        self.heard_s = 0.0
        self._begins_s = begins_s
        self._missing_s = 0.0
        self._inside: list[float] = []  # the gaps behind the first sound

    def before(self, time_s: float | None) -> float:
        """Return the seconds of sound that are missing before a frame."""
        if time_s is None:
            return 0.0
        if self._begins_s is None:
            self._begins_s = time_s - self.heard_s
        missing_s = time_s - self._begins_s - self._missing_s - self.heard_s
        return missing_s if missing_s > NEAR_S else 0.0

    def add(self, missing_s: float, heard_s: float) -> None:
        """Count a gap and the frame behind it."""
        if missing_s and self.heard_s:
            self._inside.append(missing_s)
        self._missing_s += missing_s
        self.heard_s += heard_s

    def note(self, on_note: OnNote) -> None:
        """Note the gaps behind the first sound."""
        if (missing_s := sum(self._inside)) >= _NOTED_GAP_S:
            places = f" in {len(self._inside)} places" if len(self._inside) > 1 else ""
            on_note(
                f"the file has no sound for {missing_s:.1f} s{places}, which counts as silence."
            )


def _silence(rate: int, count: int, channels: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield samples of silence, some seconds at a time."""
    most = round(rate * _SILENCE_S)
    for start in range(0, count, most):
        yield rate, np.zeros((min(most, count - start), channels), np.float32)


def pictures(
    path: Path,
    from_s: float,
    target: Callable[[float], float],
    *,
    choose: Choose = operator.itemgetter(0),
    keyframes: bool = False,
    on_note: OnNote = ignore_note,
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Yield frames as (seconds from the file's start, uint8 (height, width, 3) RGB), upright.

    The first is at or after ``from_s``. Each further one is at or after the time that ``target``
    returns for the time of the one before. Other frames are not converted. ``choose`` picks one of
    several tracks, which it is given by preference. ``keyframes`` skips all other frames. Raises
    RefusedFile where there is no video track or nothing of it can be decoded.
    """
    next_s, before_s = from_s, 0.0
    for reading in readings(path, "video", choose, None, on_note):
        stream = reading.stream
        stream.thread_type = "AUTO"
        # Frames that no other frame needs are left undecoded: half of the work at times.
        stream.codec_context.skip_frame = "NONKEY" if keyframes else "NONREF"
        begins_s, aspect = (reading.begins_s or 0.0) - before_s, _pixel_aspect(stream)
        for frame in reading.frames(next_s - before_s):
            if frame.time is None:  # the decoder lost it
                continue
            time_s = max(0.0, frame.time - begins_s)
            if time_s >= next_s:
                yield time_s, _upright(frame, aspect)
                next_s = target(time_s)
        before_s += reading.ends_s - (reading.begins_s or 0.0)


def _channels(frame: Any) -> NDArray[Any]:
    """(n, channels) of an audio frame, planar (channels, n) or packed (1, n * channels)."""
    samples = _scaled(frame.to_ndarray())
    if frame.format.is_planar:
        return samples.T
    return samples.reshape(-1, frame.layout.nb_channels)


def _scaled(samples: NDArray[Any]) -> NDArray[Any]:
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples / np.float32(2 ** (8 * samples.dtype.itemsize - 1))
    return samples


def _upright(frame: Any, aspect: float) -> NDArray[np.uint8]:
    """Return the frame as it is displayed: with square pixels, turned and mirrored."""
    picture = frame.to_ndarray(format="rgb24", width=round(frame.width * aspect))
    return upright(picture, _display_matrix(frame))


def _display_matrix(frame: Any) -> Sequence[float]:
    with suppress(ValueError):  # PyAV has no name for some other side data of the frame
        data = frame.side_data.get("DISPLAYMATRIX")
        return _AS_STORED if data is None else [int(each) for each in np.frombuffer(data, np.int32)]
    angle = math.radians(frame.rotation)
    return (math.cos(angle), -math.sin(angle), 0, math.sin(angle), math.cos(angle), 0, 0, 0, 1)


def _pixel_aspect(stream: Any) -> float:
    """How much wider than high a pixel is meant to be shown."""
    aspect = float(stream.sample_aspect_ratio or 1)
    low, high = _PIXEL_ASPECTS
    return aspect if low <= aspect <= high else 1.0
