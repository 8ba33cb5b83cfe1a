"""Videos to sampled frames. Their sound is read as any sound, by sound.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from avsearch.media.images import Picture
from indexer.errors import NotInFile
from indexer.types import OnNote, ignore_note

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
    on_note: OnNote = ignore_note,  # noqa: ARG001
) -> Iterator[Frame]:
    """Frames of a video, upright, in order of time, one in memory at a time.

    One every ``every_s`` seconds from ``from_s`` on; closer together where a short clip would
    else give fewer than four. Raises RefusedFile where the file has no frame to give.
    """
    from avsearch.media import container  # PyAV takes long to import

    duration_s = container.duration_s(path)
    step_s = min(every_s, duration_s / AT_LEAST) if duration_s else every_s
    for time_s, rgb in container.pictures(path, from_s, step_s):
        yield Frame(time_s, rgb)


def read_frame(
    path: Path,
    time_s: float,
    *,
    on_note: OnNote = ignore_note,  # noqa: ARG001
) -> Picture:
    """The frame shown at ``time_s`` seconds as uint8 (height, width, 3) RGB, upright.

    For the time of a frame from sample_frames it is that frame. Raises RefusedFile as
    sample_frames; NotInFile for a time beyond the end of the video.
    """
    from avsearch.media import container

    found = next(container.pictures(path, max(0.0, time_s - _CLOCK_S), math.inf), None)
    if found is None:
        raise NotInFile(path, f"the video has no frame at {time_s:g} s; name a time inside it.")
    return found[1]
