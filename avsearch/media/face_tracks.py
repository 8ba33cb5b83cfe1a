"""Faces of a video followed from frame to frame: one track an appearance.

A face goes on in the next sampled frame where a box overlaps its own and what is in the box looks
the same, so that a cut ends it, even one to somebody who sits at the same place. A head that moves
fast may end it too: two tracks of one face do no harm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.media.faces import Face, FaceDetector, crop_face
from avsearch.media.pictures.images import Picture, shrink
from avsearch.media.video import Frame, sample_frames
from indexer.types import Box, Media, OnNote, ignore_note

EVERY_S: Final = 0.5  # half a second holds a word: fewer frames would miss who is seen with it
_LEAST_OVERLAP: Final = 0.3  # of two boxes, intersection over union
# Mean difference of two crops of 16 x 16 pixels, of the whole range. Half a second apart in GRID's
# videos it is 0.017, at most 0.033, for one talking face; between two of RAVDESS's actors, who are
# placed and lit alike, 0.114, at least 0.053.
_SAME_LOOK: Final = 0.045
_LOOK_PX: Final = 16
# In a video the same face comes again, so only the clear ones are taken.
_CLEAR_PROBABILITY: Final = 0.99
_CLEAR_SIDE_PX: Final = 48
_VIEWS: Final = 5  # of a track that are kept to embed


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """A face in one frame: the square a model is shown, and how good a view it is."""

    media: Media
    quality: float

    def without_picture(self) -> View:
        """The same, to be read from the file again."""
        return View(dataclasses.replace(self.media, data=None), self.quality)


@dataclasses.dataclass(slots=True)
class Track:
    """One face through one shot: the sampled times at which it was seen, and its best views."""

    times_s: list[float]
    views: list[View]
    box: Box | None = None  # the last one, and how it looked, (16, 16, 3) from 0 to 1
    look: NDArray[np.float64] | None = None

    @property
    def start_s(self) -> float:
        """When it was first seen."""
        return self.times_s[0]

    @property
    def end_s(self) -> float:
        """When it was last seen."""
        return self.times_s[-1]


def face_tracks(
    path: Path,
    detector: FaceDetector | None = None,
    every_s: float = EVERY_S,
    *,
    on_note: OnNote = ignore_note,
) -> Iterator[Track]:
    """The tracks of a video as they end, in bounded memory.

    Raises RefusedFile for a file without frames.
    """
    return follow(path, sample_frames(path, every_s, on_note=on_note), detector or FaceDetector())


def follow(path: Path, frames: Iterable[Frame], detector: FaceDetector) -> Iterator[Track]:
    """The tracks of sampled frames, in order of time, as they end."""
    running: list[Track] = []
    for frame in frames:
        old, running = running, []
        for face in detector.detect(frame.rgb):  # the largest first
            if not is_clear(face):
                continue
            crop = shrink(crop_face(frame.rgb, face.box))
            track = _continued(old, face.box, _look(crop))
            _add(track, path, frame, face, crop)
            running.append(track)
        yield from old
    yield from running


def _continued(old: list[Track], box: Box, look: NDArray[np.float64]) -> Track:
    """The track that goes on here, taken out of ``old``, or a new one."""
    track = max(old, key=lambda one: _nearness(one, box, look), default=None)
    if track is None or _nearness(track, box, look) < _LEAST_OVERLAP:
        return Track([], [], box, look)
    old[:] = [other for other in old if other is not track]
    track.box, track.look = box, look
    return track


def _nearness(track: Track, box: Box, look: NDArray[np.float64]) -> float:
    """How much a face overlaps a track's last one; 0 if it does not look the same."""
    if track.box is None or track.look is None or np.abs(track.look - look).mean() > _SAME_LOOK:
        return 0.0
    return _overlap(track.box, box)


def _look(crop: Picture) -> NDArray[np.float64]:
    return shrink(crop, _LOOK_PX) / 255.0


def _add(track: Track, path: Path, frame: Frame, face: Face, crop: Picture) -> None:
    """See a track once more; its crop is kept while it is among the best."""
    track.times_s.append(frame.time_s)
    quality = face.probability * float(np.sqrt(_area(face.box)))
    media = Media(path, "face", frame.time_s, box=face.box, data=crop)
    best = sorted([*track.views, View(media, quality)], key=lambda view: -view.quality)
    track.views = best[:_VIEWS]


def is_clear(face: Face) -> bool:
    """Return True for a face that is large and certain enough to be taken from a video."""
    side_px = min(face.box.right - face.box.left, face.box.bottom - face.box.top)
    return face.probability >= _CLEAR_PROBABILITY and side_px >= _CLEAR_SIDE_PX


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (_area(a) + _area(b) - width * height)


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)
