"""Decoded images as arrays."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # (height, width, 3) RGB

ITEM_SIDE_PX: Final = 256  # longest side of a face for an embedder


def shrink(image: Pixels, longest_px: int = ITEM_SIDE_PX) -> Pixels:
    """Scale an image down, shape kept, to ``longest_px`` on its longer side; never up."""
    height, width = image.shape[:2]
    factor = longest_px / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
