"""Faces of a video followed from frame to frame: one track per face and shot.

A track continues in the next sampled frame where a box overlaps its last one and the crop looks the
same, so that a cut ends it, even a cut to another person at the same place. A fast head may end it
too: two tracks of one face do no harm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.media.faces import FaceDetector, box_area, crop_face, is_clear
from avsearch.media.images.pixels import shrink
from avsearch.media.video import Frame
from indexer.types import Box, Media

STEP_S: Final = 0.5  # half a second holds a word: fewer frames would miss who is seen with it
_MIN_OVERLAP: Final = 0.3  # of two boxes, intersection over union
# Mean difference of two crops of 16 x 16 pixels, of the whole range. Half a second apart in GRID's
# videos it is 0.017, at most 0.033, for one talking face; between two of RAVDESS's actors, who are
# placed and lit alike, 0.114, at least 0.053.
_MAX_DIFFERENCE: Final = 0.045
_LOOK_PX: Final = 16
_MAX_VIEWS: Final = 5  # of a track, to embed


@dataclasses.dataclass(frozen=True, slots=True)
class FaceView:
    """A face in one frame: its crop, and the quality of the view."""

    media: Media
    quality: float

    def without_image(self) -> FaceView:
        """Return the view without its crop, which is read from the file again."""
        return FaceView(dataclasses.replace(self.media, data=None), self.quality)


@dataclasses.dataclass(slots=True)
class FaceTrack:
    """One face through one shot.

    Attributes:
        times_s: The times of the sampled frames in which it is seen.
        views: Its best views, the best first.
        box: Its last box.
        look: Its last crop (16, 16, 3), from 0 to 1.
    """

    times_s: list[float]
    views: list[FaceView]
    box: Box | None = None
    look: NDArray[np.float64] | None = None

    @property
    def start_s(self) -> float:
        """The time of the first frame."""
        return self.times_s[0]

    @property
    def end_s(self) -> float:
        """The time of the last frame."""
        return self.times_s[-1]

    def overlap(self, box: Box, look: NDArray[np.float64]) -> float:
        """Return the overlap of a face with the last one; 0 if it does not look the same."""
        if self.box is None or self.look is None:
            return 0.0
        if np.abs(self.look - look).mean() > _MAX_DIFFERENCE:
            return 0.0
        width = min(self.box.right, box.right) - max(self.box.left, box.left)
        height = min(self.box.bottom, box.bottom) - max(self.box.top, box.top)
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / (box_area(self.box) + box_area(box) - width * height)


def track_faces(path: Path, frames: Iterable[Frame], detector: FaceDetector) -> Iterator[FaceTrack]:
    """Yield the tracks of sampled frames of a video, which are in order of time, as they end."""
    running: list[FaceTrack] = []
    for frame in frames:
        old, running = running, []
        for face in detector.detect(frame.rgb):  # the largest first
            if not is_clear(face):
                continue
            crop = shrink(crop_face(frame.rgb, face.box))
            look = shrink(crop, _LOOK_PX) / 255.0
            overlaps = [track.overlap(face.box, look) for track in old]
            best = int(np.argmax(overlaps)) if overlaps else -1
            is_new = best < 0 or overlaps[best] < _MIN_OVERLAP
            track = FaceTrack([], []) if is_new else old.pop(best)
            track.times_s.append(frame.time_s)
            track.box, track.look = face.box, look
            quality = face.probability * float(np.sqrt(box_area(face.box)))
            view = FaceView(Media(path, "face", frame.time_s, box=face.box, data=crop), quality)
            track.views = sorted([*track.views, view], key=lambda it: -it.quality)[:_MAX_VIEWS]
            running.append(track)
        yield from old
    yield from running
