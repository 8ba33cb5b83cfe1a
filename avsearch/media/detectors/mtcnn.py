"""MTCNN, a face detector, run by NumPy and onnxruntime.

The cascade of Zhang et al., Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks (IEEE Signal Processing Letters 2016), with the three networks of
facenet-pytorch (MIT License) and its rounding of boxes, so that both find the same. Every input of
the networks is made of means over areas of the image, taken from one summed-area table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsearch.media.images.pixels import Pixels
from avsearch.runtime.onnx_session import Session
from avsearch.runtime.weights import WEIGHTS

CELL, STRIDE = 12, 2  # pixels a side of an input of the first network, and from one to the next
FACTOR: Final = 0.709  # from one size of the image to the next smaller one
MIN_SCORES: Final = (0.6, 0.7, 0.7)  # probability of a face that each network requires
SIDES: Final = (24, 48)  # pixels a side of the inputs of the second and the third network
MAX_OVERLAP: Final = 0.7  # of two boxes that are two faces
MAX_OVERLAP_AT_ONE_SIZE: Final = 0.5
_BATCH: Final = 512  # boxes of one pass

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Boxes(NamedTuple):
    """Boxes that may hold a face."""

    corners: Floats  # (n, 4) left, top, right, bottom, pixels
    scores: Floats  # (n,) probabilities
    offsets: Floats  # (n, 4) of better corners, in sides of the box

    def take(self, chosen: NDArray[np.generic]) -> Boxes:
        """Return some of the boxes, by indices or a mask."""
        return Boxes(*(values[chosen] for values in self))


class Mtcnn:
    """The three networks of MTCNN; threads may share them."""

    def __init__(self, min_face_px: int) -> None:
        self._min_face_px = min_face_px
        self._proposer, *self._refiners = (
            Session(WEIGHTS / f"mtcnn-{name}.onnx", gpu=True) for name in "pro"
        )

    def detect(self, rgb: Pixels) -> tuple[Floats, Floats]:
        """Return corners (n, 4) and probabilities (n,) of faces, the largest first.

        ``rgb`` is uint8 (height, width, 3). Smaller faces than ``min_face_px`` are not found; a
        corner may lie outside of the image.
        """
        areas = Areas(rgb)
        found = [self._propose(areas, scale) for scale in self._scales(areas)]
        boxes = Boxes(*(np.concatenate(values) for values in zip(*found, strict=True)))
        boxes = boxes.take(suppress(boxes.corners, boxes.scores, MAX_OVERLAP))
        square = _square(boxes.corners + boxes.offsets * np.tile(_sides(boxes.corners), 2))
        boxes = self._refine(areas, square, 0)
        boxes = boxes.take(suppress(boxes.corners, boxes.scores, MAX_OVERLAP))
        boxes = self._refine(areas, _square(_moved(boxes)), 1)
        corners = _moved(boxes)
        kept = suppress(corners, boxes.scores, MAX_OVERLAP, of_smaller=True)
        order = kept[np.argsort(-np.prod(_sides(corners[kept]), 1), kind="stable")]
        return corners[order], boxes.scores[order]

    def _scales(self, areas: Areas) -> Iterator[float]:
        scale = CELL / self._min_face_px
        side = min(areas.height, areas.width) * scale
        while side >= CELL:
            yield scale
            scale *= FACTOR
            side *= FACTOR

    def _propose(self, areas: Areas, scale: float) -> Boxes:
        """Return the boxes that the first network finds at one size of the image."""
        height, width = int(areas.height * scale + 1), int(areas.width * scale + 1)
        offsets, scores = self._proposer.run(areas.resize(height, width))
        rows, columns = np.nonzero(scores[0] >= MIN_SCORES[0])
        first = STRIDE * np.stack([columns, rows], 1).astype(np.float32)
        corners = np.floor(np.concatenate([first + 1, first + CELL], 1) / np.float32(scale))
        boxes = Boxes(corners, scores[0, rows, columns], offsets[0, :, rows, columns])
        return boxes.take(suppress(boxes.corners, boxes.scores, MAX_OVERLAP_AT_ONE_SIZE))

    def _refine(self, areas: Areas, corners: Floats, stage: int) -> Boxes:
        """Return the boxes that the second (0) or third (1) network takes for faces."""
        whole = corners.astype(np.int64)
        left_top = np.maximum(whole[:, :2], 1) - 1
        right_bottom = np.minimum(whole[:, 2:], [areas.width, areas.height])
        inside = (right_bottom > left_top).all(1)  # the box has pixels in the image
        pixels, corners = np.concatenate([left_top, right_bottom], 1)[inside], corners[inside]
        parts = [
            self._refiners[stage].run(areas.crop(pixels[at : at + _BATCH], SIDES[stage]))
            for at in range(0, len(pixels), _BATCH)
        ]
        if not parts:
            return Boxes(corners, np.empty(0, np.float32), corners)
        offsets, scores = (np.concatenate(values) for values in zip(*parts, strict=True))
        return Boxes(corners, scores, offsets).take(scores > MIN_SCORES[1 + stage])


class Areas:
    """The means of areas of an image, from a summed-area table.

    The parts of an axis are those of torch's adaptive pooling: each starts at the pixel in which
    its share starts, and ends with the pixel in which it ends.
    """

    def __init__(self, rgb: Pixels) -> None:
        self.height, self.width = rgb.shape[:2]
        # Differences of sums are right in whole numbers that wrap, whatever their size.
        self._sums = np.zeros((self.height + 1, self.width + 1, 3), np.uint32)
        np.cumsum(rgb, 0, np.uint32, self._sums[1:, 1:])
        np.cumsum(self._sums[1:, 1:], 1, out=self._sums[1:, 1:])

    def resize(self, height: int, width: int) -> Floats:
        """Return the whole image at another size: (1, 3, height, width) in about [-1, 1]."""
        zero = np.array([0])
        rows = _equal_parts(zero, np.array([self.height]), height)
        return self._means(*rows, *_equal_parts(zero, np.array([self.width]), width))

    def crop(self, boxes: Ints, side: int) -> Floats:
        """Return boxes (n, 4) of whole pixels at one size: (n, 3, side, side) in about [-1, 1]."""
        left, top, right, bottom = boxes.T
        return self._means(*_equal_parts(top, bottom, side), *_equal_parts(left, right, side))

    def _means(self, top: Ints, bottom: Ints, left: Ints, right: Ints) -> Floats:
        """Return the means (n, 3, h, w) of (n, h) rows and (n, w) columns."""
        rows = [each[:, :, None] for each in (top, bottom)]
        columns = [each[:, None, :] for each in (left, right)]
        sums = self._sums[rows[1], columns[1]] - self._sums[rows[1], columns[0]]
        sums -= self._sums[rows[0], columns[1]] - self._sums[rows[0], columns[0]]
        sizes = (rows[1] - rows[0]) * (columns[1] - columns[0])
        means = (sums / sizes[..., None]).astype(np.float32)
        return np.ascontiguousarray(((means - 127.5) / 128).transpose(0, 3, 1, 2))


def suppress(
    corners: Floats, scores: Floats, max_overlap: float, *, of_smaller: bool = False
) -> Ints:
    """Return the indices of boxes (n, 4) after non-maximum suppression, the likeliest first.

    Overlap is intersection over union; or, ``of_smaller``, over the smaller box, with both edges
    counted as pixels of it.
    """
    edge = np.float32(of_smaller)
    left, top, right, bottom = corners.T
    sizes = (right - left + edge) * (bottom - top + edge)
    waiting = np.argsort(-scores, kind="stable")
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        width = np.minimum(right[best], right[waiting]) - np.maximum(left[best], left[waiting])
        height = np.minimum(bottom[best], bottom[waiting]) - np.maximum(top[best], top[waiting])
        shared = np.maximum(width + edge, 0) * np.maximum(height + edge, 0)
        if of_smaller:
            whole = np.minimum(sizes[best], sizes[waiting])
        else:
            whole = sizes[best] + sizes[waiting] - shared
        waiting = waiting[shared <= max_overlap * whole]
    return np.array(kept, np.int64)


def _equal_parts(starts: Ints, ends: Ints, count: int) -> tuple[Ints, Ints]:
    """Return the starts and ends (n, count) of equal parts of n ranges."""
    lengths, steps = (ends - starts)[:, None], np.arange(count)
    return (
        starts[:, None] + steps * lengths // count,
        starts[:, None] - (-(steps + 1) * lengths // count),
    )


def _sides(corners: Floats) -> Floats:
    """Return widths and heights (n, 2)."""
    return corners[:, 2:] - corners[:, :2]


def _moved(boxes: Boxes) -> Floats:
    """Return the corners moved by their offsets, both edges counted as pixels of the box."""
    return boxes.corners + boxes.offsets * np.tile(_sides(boxes.corners) + 1, 2)


def _square(corners: Floats) -> Floats:
    """Return the squares around boxes, of their longer side."""
    sides = _sides(corners)
    longest = sides.max(1, keepdims=True)
    first = corners[:, :2] + sides * np.float32(0.5) - longest * np.float32(0.5)
    return np.concatenate([first, first + longest], 1)
