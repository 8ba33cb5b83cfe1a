"""The display matrix of a video: how its frames are turned and mirrored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def upright(picture: Pixels, matrix: Sequence[float]) -> Pixels:
    """Turn and mirror a picture (height, width, 3) as a display matrix says.

    A point (x, y) of the stored picture is shown at (a x + c y, b x + d y), where the matrix is
    (a, b, u, c, d, v, x, y, w) by rows (ISO 14496-12, 6.2.2). It is rounded to the nearest of the
    eight orientations. A matrix of zeros changes nothing.
    """
    a, b, _, c, d = matrix[:5]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        across, down = a, d
    else:
        picture, across, down = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
