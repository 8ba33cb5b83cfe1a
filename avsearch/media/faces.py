"""Pictures to face boxes and square face crops."""

from __future__ import annotations

import math
import threading
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from avsearch.media.pictures.images import Picture, shrink
from avsearch.runtime import onnx_session
from avsearch.runtime.threads import on_one_core
from indexer.errors import BadRequest
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


class Networks(Protocol):
    """The networks of MTCNN, whoever runs them."""

    def detect(self, rgb: Picture) -> tuple[Any, Any]:
        """Corners (n, 4) and probabilities (n,) of faces in a picture."""


class FaceDetector:
    """Finds faces with MTCNN, on the CPU, by onnxruntime or by torch.

    The networks are loaded when the first picture comes. Any number of threads may share one
    detector.
    """

    def __init__(self, least_probability: float = LEAST_PROBABILITY) -> None:
        self._least_probability = least_probability
        self._networks: Networks | None = None
        self._loading = threading.Lock()

    def detect(self, rgb: Picture) -> list[Face]:
        """Faces in a uint8 (height, width, 3) picture, largest first; maybe none.

        Boxes are in the picture's pixels and inside of it. Faces smaller than 32 pixels, in
        the picture or in its copy of 1600 pixels on the long side, are not found.
        """
        small = shrink(rgb, LONGEST_SIDE_PX)
        if min(small.shape[:2]) < SMALLEST_FACE_PX:
            return []
        boxes, probabilities = on_one_core(self._loaded().detect, small)
        factor = max(rgb.shape) / max(small.shape)
        faces = [
            Face(_clipped(corners * factor, rgb), float(probability))
            for corners, probability in zip(boxes, probabilities, strict=True)
            if probability >= self._least_probability
        ]
        return sorted(faces, key=lambda face: -_area(face.box))

    def _loaded(self) -> Networks:
        with self._loading:
            if self._networks is None:
                self._networks = _networks()
            return self._networks


def _networks() -> Networks:
    """MTCNN as it can be run here; BadRequest where it cannot."""
    if onnx_session.is_installed():
        from avsearch.media.detectors.mtcnn import Mtcnn

        return Mtcnn(SMALLEST_FACE_PX)
    if not (onnx_session.can_import("torch") and onnx_session.can_import("facenet_pytorch")):
        raise BadRequest(
            "Finding faces needs onnxruntime, which is not installed: "
            "pip install 'avsearch[search]'."
        )
    from avsearch.media.detectors.mtcnn_torch import TorchMtcnn

    return TorchMtcnn(SMALLEST_FACE_PX)


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
