"""The display matrix of a video: how its frames are rotated and mirrored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def upright(image: Pixels, matrix: Sequence[float]) -> Pixels:
    """Rotate and mirror an image (height, width, 3) by a display matrix.

    A point (x, y) of the stored image is shown at (a x + c y, b x + d y), where the matrix is
    (a, b, u, c, d, v, x, y, w) by rows (ISO 14496-12, 6.2.2). It is rounded to the nearest of the
    eight orientations. A matrix of zeros changes nothing.
    """
    a, b, _, c, d = matrix[:5]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        across, down = a, d
    else:
        image, across, down = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
