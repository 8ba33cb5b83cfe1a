"""Videos to sampled frames. Their audio is read by :mod:`avsearch.media.audio`."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from avsearch.media.images.pixels import Pixels
from indexer.errors import NotInFile
from indexer.types import OnNote, ignore_note

if TYPE_CHECKING:
    from avsearch.media.containers.ffmpeg import Track

STEP_S: Final = 1.0  # who is seen seldom changes faster
MIN_FRAMES: Final = 4  # of a short clip, as a blink or a turned head spoils one
_CLOCK_S: Final = 1e-3  # frame times go through seconds with three decimals in lists


class Frame(NamedTuple):
    """A frame of a video: seconds from its start, and uint8 (height, width, 3) RGB."""

    time_s: float
    rgb: Pixels


def sample_frames(
    path: Path,
    every_s: float = STEP_S,
    from_s: float = 0.0,
    *,
    on_note: OnNote = ignore_note,
) -> Iterator[Frame]:
    """Yield frames of a video, upright, in order of time, one in memory at a time.

    There is one every ``every_s`` seconds from ``from_s`` on, or more of a short clip, which would
    otherwise have fewer than four. ``on_note`` receives what of the frames was lost or chosen
    between.

    Raises:
        RefusedFile: The file has no frame.
    """
    from avsearch.media.containers import decoding, ffmpeg  # PyAV takes long to import

    duration_s = ffmpeg.duration_s(path) or 0.0
    close_s = min(every_s, duration_s / MIN_FRAMES) if duration_s > 0 else every_s

    def next_time(time_s: float) -> float:
        close = _next_step(time_s, from_s, close_s)
        # A video that continues behind its stated end is longer than it says.
        return close if close <= duration_s + close_s else _next_step(time_s, from_s, every_s)

    choose = functools.partial(_choose, path, on_note)
    found = decoding.read_frames(path, from_s, next_time, choose=choose, on_note=on_note)
    yield from itertools.starmap(Frame, found)


def read_frame(path: Path, time_s: float, *, on_note: OnNote = ignore_note) -> Pixels:
    """Return the frame at ``time_s`` seconds as uint8 (height, width, 3) RGB, upright.

    For the time of a frame from :func:`sample_frames` it is that frame. ``on_note`` receives the
    choice among several video tracks.

    Raises:
        RefusedFile: The file has no frame.
        NotInFile: The time is beyond the end of the video.
    """
    from avsearch.media.containers import decoding

    choose = functools.partial(_choose, path, on_note)
    start_s = max(0.0, time_s - _CLOCK_S)
    found = next(decoding.read_frames(path, start_s, lambda _: math.inf, choose=choose), None)
    if found is None:
        raise NotInFile(path, f"the video has no frame at {time_s:g} s; name a time inside it.")
    return found[1]


def _next_step(time_s: float, from_s: float, step_s: float) -> float:
    """Return the first of from_s, from_s + step_s, ... after ``time_s``."""
    return from_s + step_s * (math.floor((time_s - from_s) / step_s) + 1)


def _choose(path: Path, on_note: OnNote, tracks: Sequence[Track]) -> Track:
    from avsearch.media.containers.track_choice import choose_video  # PyAV takes long to import

    return choose_video(path, tracks, on_note)
