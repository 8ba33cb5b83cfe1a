"""MTCNN by NumPy and onnxruntime: where in a picture faces are.

The cascade of Zhang et al., Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks (IEEE Signal Processing Letters 2016), with the three networks of
facenet-pytorch (MIT) and boxes rounded where it rounds them, so that both find the same. All
sizes that the networks look at are means over areas of the picture, taken from one table of sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsearch.media.pictures.images import Picture
from avsearch.runtime import onnx_session
from avsearch.runtime.weights import WEIGHTS

CELL, STRIDE = 12, 2  # pixels a side that the first network looks at, and from one to the next
FACTOR: Final = 0.709  # from one size of the picture to the next smaller one
LEAST: Final = (0.6, 0.7, 0.7)  # probability of a face that each network asks for
SIDES: Final = (24, 48)  # pixels a side that the second and the third network look at
OVERLAP: Final = 0.7  # of two boxes that are one face; at one size of the picture less
OVERLAP_AT_ONE_SIZE: Final = 0.5
_AT_A_TIME: Final = 512  # boxes of one pass

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


class Boxes(NamedTuple):
    """Boxes that may hold a face."""

    corners: Floats  # (n, 4) left, top, right, bottom, pixels
    scores: Floats  # (n,) probabilities
    offsets: Floats  # (n, 4) where the corners should rather be, in sides of the box

    def take(self, chosen: NDArray[np.generic]) -> Boxes:
        """Some of them, by their places or by whether each is chosen."""
        return Boxes(*(values[chosen] for values in self))


class Mtcnn:
    """The three networks; threads may share them."""

    def __init__(self, smallest_px: int) -> None:
        self._smallest_px = smallest_px
        self._proposing, *self._judging = (
            onnx_session.Session(WEIGHTS / f"mtcnn-{name}.onnx") for name in "pro"
        )

    def detect(self, rgb: Picture) -> tuple[Floats, Floats]:
        """Faces in a uint8 (height, width, 3) picture: corners (n, 4) and probabilities (n,).

        Those of less than ``smallest_px`` are not looked for. Larger boxes come first; a corner
        may lie outside of the picture.
        """
        areas = Areas(rgb)
        boxes = self._proposed(areas)
        square = _square(boxes.corners + boxes.offsets * np.tile(_sides(boxes.corners), 2))
        boxes = self._judged(areas, square, 0)
        boxes = boxes.take(distinct(boxes.corners, boxes.scores, OVERLAP))
        boxes = self._judged(areas, _square(_moved(boxes)), 1)
        corners = _moved(boxes)
        kept = distinct(corners, boxes.scores, OVERLAP, of_smaller=True)
        order = kept[np.argsort(-np.prod(_sides(corners[kept]), 1), kind="stable")]
        return corners[order], boxes.scores[order]

    def _proposed(self, areas: Areas) -> Boxes:
        """What the first network finds at every size of the picture."""
        found = [self._proposed_at(areas, scale) for scale in self._scales(areas)]
        boxes = Boxes(*(np.concatenate(values) for values in zip(*found, strict=True)))
        return boxes.take(distinct(boxes.corners, boxes.scores, OVERLAP))

    def _scales(self, areas: Areas) -> Iterator[float]:
        scale = CELL / self._smallest_px
        side = min(areas.height, areas.width) * scale
        while side >= CELL:
            yield scale
            scale *= FACTOR
            side *= FACTOR

    def _proposed_at(self, areas: Areas, scale: float) -> Boxes:
        height, width = int(areas.height * scale + 1), int(areas.width * scale + 1)
        offsets, scores = self._proposing.run(areas.resized(height, width))
        rows, columns = np.nonzero(scores[0] >= LEAST[0])
        first = STRIDE * np.stack([columns, rows], 1).astype(np.float32)
        corners = np.floor(np.concatenate([first + 1, first + CELL], 1) / np.float32(scale))
        boxes = Boxes(corners, scores[0, rows, columns], offsets[0, :, rows, columns])
        return boxes.take(distinct(boxes.corners, boxes.scores, OVERLAP_AT_ONE_SIZE))

    def _judged(self, areas: Areas, corners: Floats, judge: int) -> Boxes:
        """Those of the boxes that the second (0) or third (1) network takes for faces."""
        inside, corners = _inside(areas, corners)
        parts = [
            self._judging[judge].run(areas.cut(inside[at : at + _AT_A_TIME], SIDES[judge]))
            for at in range(0, len(inside), _AT_A_TIME)
        ]
        if not parts:
            return Boxes(corners, np.empty(0, np.float32), corners)
        offsets, scores = (np.concatenate(values) for values in zip(*parts, strict=True))
        return Boxes(corners, scores, offsets).take(scores > LEAST[1 + judge])


class Areas:
    """The means of a picture's areas, from a table of the sums above and left of each pixel.

    An area begins at the pixel that its share of the picture begins in, and ends with the one
    that it ends in, as torch's adaptive pooling has it.
    """

    def __init__(self, rgb: Picture) -> None:
        self.height, self.width = rgb.shape[:2]
        # Differences of sums come out right in whole numbers that wrap, whatever their size.
        self._sums = np.zeros((self.height + 1, self.width + 1, 3), np.uint32)
        np.cumsum(rgb, 0, np.uint32, self._sums[1:, 1:])
        np.cumsum(self._sums[1:, 1:], 1, out=self._sums[1:, 1:])

    def resized(self, height: int, width: int) -> Floats:
        """The whole picture at another size: (1, 3, height, width) in about [-1, 1]."""
        top, bottom = _cut_evenly(np.array([0]), np.array([self.height]), height)
        left, right = _cut_evenly(np.array([0]), np.array([self.width]), width)
        return self._means(top, bottom, left, right)

    def cut(self, boxes: Places, side: int) -> Floats:
        """Boxes (n, 4) of whole pixels at one size: (n, 3, side, side) in about [-1, 1]."""
        left, top, right, bottom = boxes.T
        return self._means(*_cut_evenly(top, bottom, side), *_cut_evenly(left, right, side))

    def _means(self, top: Places, bottom: Places, left: Places, right: Places) -> Floats:
        """(n, h) rows and (n, w) columns to (n, 3, h, w)."""
        rows = [each[:, :, None] for each in (top, bottom)]
        columns = [each[:, None, :] for each in (left, right)]
        sums = self._sums[rows[1], columns[1]] - self._sums[rows[1], columns[0]]
        sums -= self._sums[rows[0], columns[1]] - self._sums[rows[0], columns[0]]
        sizes = (rows[1] - rows[0]) * (columns[1] - columns[0])
        means = (sums / sizes[..., None]).astype(np.float32)
        return np.ascontiguousarray(((means - 127.5) / 128).transpose(0, 3, 1, 2))


def distinct(
    corners: Floats, scores: Floats, overlap: float, *, of_smaller: bool = False
) -> Places:
    """The places of boxes (n, 4) of which none overlaps a likelier one by more, likeliest first.

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
        waiting = waiting[shared <= overlap * whole]
    return np.array(kept, np.int64)


def _cut_evenly(starts: Places, ends: Places, parts: int) -> tuple[Places, Places]:
    """Where each of so many even parts of n ranges begins and ends, (n, parts)."""
    lengths, steps = (ends - starts)[:, None], np.arange(parts)
    return (
        starts[:, None] + steps * lengths // parts,
        starts[:, None] - (-(steps + 1) * lengths // parts),
    )


def _inside(areas: Areas, corners: Floats) -> tuple[Places, Floats]:
    """The whole pixels of boxes that lie in the picture, and those boxes that have some."""
    whole = corners.astype(np.int64)
    left_top = np.maximum(whole[:, :2], 1) - 1
    right_bottom = np.minimum(whole[:, 2:], [areas.width, areas.height])
    some = (right_bottom > left_top).all(1)
    return np.concatenate([left_top, right_bottom], 1)[some], corners[some]


def _sides(corners: Floats) -> Floats:
    """(n, 2) width and height."""
    return corners[:, 2:] - corners[:, :2]


def _moved(boxes: Boxes) -> Floats:
    """The corners where their offsets say, both edges counted as pixels of the box."""
    return boxes.corners + boxes.offsets * np.tile(_sides(boxes.corners) + 1, 2)


def _square(corners: Floats) -> Floats:
    """The squares around boxes, of their longer side."""
    sides = _sides(corners)
    longest = sides.max(1, keepdims=True)
    first = corners[:, :2] + sides * np.float32(0.5) - longest * np.float32(0.5)
    return np.concatenate([first, first + longest], 1)
