"""Videos to sampled frames. Their sound is read as any sound, by sound.py."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from avsearch.media.pictures.images import Picture
from indexer.errors import NotInFile
from indexer.types import OnNote, ignore_note

if TYPE_CHECKING:
    from avsearch.media.containers.ffmpeg import Choose, Track

EVERY_S: Final = 1.0  # who is seen seldom changes faster
AT_LEAST: Final = 4  # frames of a short clip, as a blink or a turned head spoils one
_CLOCK_S: Final = 1e-3  # frame times go through seconds with three decimals in lists


class Frame(NamedTuple):
    """A picture of a video: seconds from its start, and uint8 (height, width, 3) RGB."""

    time_s: float
    rgb: Picture


def sample_frames(
    path: Path,
    every_s: float = EVERY_S,
    from_s: float = 0.0,
    *,
    on_note: OnNote = ignore_note,
) -> Iterator[Frame]:
    """Frames of a video, upright, in order of time, one in memory at a time.

    One every ``every_s`` seconds from ``from_s`` on; closer together where a short clip would
    else give fewer than four. ``on_note`` receives what of the pictures was lost or chosen between.
    Raises RefusedFile where the file has no frame to give.
    """
    from avsearch.media.containers import (
        decoding,  # PyAV takes long to import
        ffmpeg,
    )

    duration_s = ffmpeg.duration_s(path) or 0.0
    close_s = min(every_s, duration_s / AT_LEAST) if duration_s > 0 else every_s

    def target(time_s: float) -> float:
        close = _next_step(time_s, from_s, close_s)
        # A video that continues behind its stated end is longer than it says.
        return close if close <= duration_s + close_s else _next_step(time_s, from_s, every_s)

    choose = _choice(path, on_note)
    found = decoding.pictures(path, from_s, target, choose=choose, on_note=on_note)
    yield from itertools.starmap(Frame, found)


def read_frame(path: Path, time_s: float, *, on_note: OnNote = ignore_note) -> Picture:
    """The frame shown at ``time_s`` seconds as uint8 (height, width, 3) RGB, upright.

    For the time of a frame from sample_frames it is that frame. ``on_note`` receives the choice
    among several video tracks. Raises RefusedFile as sample_frames; NotInFile for a time beyond the
    end of the video.
    """
    from avsearch.media.containers import decoding

    frames = decoding.pictures(
        path, max(0.0, time_s - _CLOCK_S), lambda _: math.inf, choose=_choice(path, on_note)
    )
    found = next(frames, None)
    if found is None:
        raise NotInFile(path, f"the video has no frame at {time_s:g} s; name a time inside it.")
    return found[1]


def _next_step(time_s: float, from_s: float, step_s: float) -> float:
    """Return the first of from_s, from_s + step_s, ... behind ``time_s``."""
    return from_s + step_s * (math.floor((time_s - from_s) / step_s) + 1)


def _choice(path: Path, on_note: OnNote) -> Choose:
    def choose(tracks: Sequence[Track]) -> Track:
        from avsearch.media.containers.track_choice import choose_pictures  # it imports this module

        return choose_pictures(path, tracks, on_note)

    return choose
