"""Pictures to face boxes and square face crops. The only importer of facenet_pytorch."""

from __future__ import annotations

import math
import threading
from typing import Any, Final, NamedTuple

import numpy as np

from avsearch.cores import on_one_core
from avsearch.media.images import Picture, shrink
from indexer.types import Box

LEAST_PROBABILITY: Final = 0.95  # MTCNN's own, of being a face
SMALLEST_FACE_PX: Final = 32  # after scaling down; fewer pixels say little about who it is
LONGEST_SIDE_PX: Final = 1600  # larger pictures are searched scaled down

# The models learn from LFW: the middle 160 x 160 pixels of its 250 x 250 deep-funneled
# pictures. Over 516 of these MTCNN's box has a geometric mean side of 160 / 1.485 (one picture
# to the next this varies by 6.7 %); the middle of the picture lies 1.5 % of the box's height
# above the box's middle (varies by 2.8 %), and not to one side (0.1 % of its width, varies by
# 8 %). With these numbers a crop shows a face as the models have learnt to see it.
MARGIN: Final = 0.485
UPWARD_SHIFT: Final = 0.015


class Face(NamedTuple):
    """A face in a picture: where, and how sure the detector is of it, 0 to 1."""

    box: Box
    probability: float


class FaceDetector:
    """Finds faces with MTCNN, on the CPU.

    The networks are loaded when the first picture comes. Any number of threads may share one
    detector.
    """

    def __init__(self, least_probability: float = LEAST_PROBABILITY) -> None:
        self._least_probability = least_probability
        self._networks: Any = None
        self._loading = threading.Lock()

    def detect(self, rgb: Picture) -> list[Face]:
        """Faces in a uint8 (height, width, 3) picture, largest first; maybe none.

        Boxes are in the picture's pixels and inside of it. Faces smaller than 32 pixels, in
        the picture or in its copy of 1600 pixels on the long side, are not found.
        """
        small = shrink(rgb, LONGEST_SIDE_PX)
        if min(small.shape[:2]) < SMALLEST_FACE_PX:
            return []
        boxes, probabilities = on_one_core(self._detect, small)
        if boxes is None:
            return []
        factor = max(rgb.shape) / max(small.shape)
        faces = [
            Face(_clipped(corners * factor, rgb), float(probability))
            for corners, probability in zip(boxes, probabilities, strict=True)
            if probability >= self._least_probability
        ]
        return sorted(faces, key=lambda face: -_area(face.box))

    def _detect(self, rgb: Picture) -> tuple[Any, Any]:
        import torch

        with torch.inference_mode():
            boxes, probabilities = self._loaded().detect(rgb)
        return boxes, probabilities

    def _loaded(self) -> Any:
        with self._loading:
            if self._networks is None:
                from facenet_pytorch import MTCNN

                self._networks = MTCNN(keep_all=True, min_face_size=SMALLEST_FACE_PX).eval()
            return self._networks


def crop_face(rgb: Picture, box: Box, margin: float = MARGIN) -> Picture:
    """A square around a face as uint8 (s, s, 3), at the picture's own resolution.

    ``margin`` is what is added to the box's side, as a share of it; without it said, the
    square is as in the pictures the models learn from. Where the square reaches beyond the
    picture, the picture's edge is repeated.
    """
    width, height = box.right - box.left, box.bottom - box.top
    side = max(1, round((1 + margin) * math.sqrt(width * height)))
    left = round((box.left + box.right - side) / 2)
    top = round((box.top + box.bottom - side) / 2 - UPWARD_SHIFT * height)
    rows = np.clip(np.arange(top, top + side), 0, rgb.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, rgb.shape[1] - 1)
    return rgb[rows[:, None], columns]


def _clipped(corners: Any, rgb: Picture) -> Box:
    height, width = rgb.shape[:2]
    left, top, right, bottom = (float(corner) for corner in corners)
    return Box(max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)
