"""Images to face boxes and square face crops."""

from __future__ import annotations

import math
import threading
from typing import Final, NamedTuple

import numpy as np

from avsearch.media.detectors.mtcnn import Mtcnn
from avsearch.media.images.pixels import Pixels, shrink
from avsearch.runtime.threads import on_one_core
from indexer.runtime import optional_libraries
from indexer.types import Box

MIN_PROBABILITY: Final = 0.95  # MTCNN's own, of being a face
MIN_FACE_PX: Final = 32  # after scaling down; fewer pixels say little about a person
MAX_SIDE_PX: Final = 1600  # larger images are scaled down before detection

# The models learn from LFW: the middle 160 x 160 pixels of its 250 x 250 deep-funneled images. Over
# 516 of these MTCNN's box has a geometric mean side of 160 / 1.485 (standard deviation 6.7 %); the
# middle of the image lies 1.5 % of the box's height above the box's middle (2.8 %), and not to one
# side (0.1 % of its width, 8 %). With these numbers a crop shows a face as the models have seen it.
MARGIN: Final = 0.485
UPWARD_SHIFT: Final = 0.015

# In a video the same face comes again, so only the clear ones are taken.
_CLEAR_PROBABILITY: Final = 0.99
_CLEAR_SIDE_PX: Final = 48


class Face(NamedTuple):
    """A face in an image: its box, and its probability, 0 to 1."""

    box: Box
    probability: float


class FaceDetector:
    """Finds faces with MTCNN, run by onnxruntime.

    The networks are loaded with the first image. Any number of threads may share one detector.
    """

    def __init__(self, min_probability: float = MIN_PROBABILITY) -> None:
        self._min_probability = min_probability
        self._mtcnn: Mtcnn | None = None
        self._loading = threading.Lock()

    def detect(self, rgb: Pixels) -> list[Face]:
        """Return the faces in a uint8 (height, width, 3) image, the largest first; maybe none.

        Boxes are in pixels of the image and inside of it. Faces smaller than 32 pixels, in the
        image or in its copy of 1600 pixels on the long side, are not found.

        Raises:
            LibraryUnusable: onnxruntime is not installed or does not load.
        """
        small = shrink(rgb, MAX_SIDE_PX)
        if min(small.shape[:2]) < MIN_FACE_PX:
            return []
        corners, probabilities = on_one_core(self._load().detect, small)
        corners = np.clip(
            corners * (max(rgb.shape) / max(small.shape)), 0, [*rgb.shape[1::-1], *rgb.shape[1::-1]]
        )
        faces = [
            Face(Box(*map(float, box)), float(probability))
            for box, probability in zip(corners, probabilities, strict=True)
            if probability >= self._min_probability
        ]
        return sorted(faces, key=lambda face: -box_area(face.box))

    def _load(self) -> Mtcnn:
        with self._loading:
            if self._mtcnn is None:
                optional_libraries.load("onnxruntime", "Finding faces", "search")
                self._mtcnn = Mtcnn(MIN_FACE_PX)
            return self._mtcnn


def box_area(box: Box) -> float:
    """Return the area of a box in square pixels."""
    return (box.right - box.left) * (box.bottom - box.top)


def crop_face(rgb: Pixels, box: Box, margin: float = MARGIN) -> Pixels:
    """Return a square around a face as uint8 (s, s, 3), at the resolution of the image.

    ``margin`` is added to the box's side, as a share of it; by default the square is as in the
    training images of the models. Beyond the image its edge is repeated.
    """
    width, height = box.right - box.left, box.bottom - box.top
    side = max(1, round((1 + margin) * math.sqrt(width * height)))
    left = round((box.left + box.right - side) / 2)
    top = round((box.top + box.bottom - side) / 2 - UPWARD_SHIFT * height)
    rows = np.clip(np.arange(top, top + side), 0, rgb.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, rgb.shape[1] - 1)
    return rgb[rows[:, None], columns]


def is_clear(face: Face) -> bool:
    """Return True for a face that is large and certain enough to be taken from a video."""
    side_px = min(face.box.right - face.box.left, face.box.bottom - face.box.top)
    return face.probability >= _CLEAR_PROBABILITY and side_px >= _CLEAR_SIDE_PX
