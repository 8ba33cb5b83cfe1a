"""Pixels of any type and range to 8 bits.

A file of 16 bits may use 10, 12 or 14, and a broken pixel of a sensor has any value. So the range
is estimated from the pixels, without half a per cent at either end. A grey image is stretched over
that range. Colours are not stretched, which would change them: they are divided by the largest
number of as many bits as the brightest pixels need.

High dynamic range coded as PQ (SMPTE ST 2084) would look flat: it is tone-mapped to a display that
is as bright as white paper in the image, and clipped above (ITU-R BT.2408: 203 cd/m2).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avsearch.media.images.strip_metadata import Coding
from avsearch.media.images.tiff import Deep

_IGNORED_PERCENT: Final = 0.5  # of the pixels at either end of the range
_SAMPLE: Final = 1_000_000  # pixels from which the range is estimated
_UNUSED_BITS: Final = 2  # an image that leaves fewer bits free counts as dark
_PQ: Final = 16  # transfer functions and primaries by their numbers in ITU-T H.273
_BT2020: Final = 9
_PQ_MAX: Final = 10_000.0  # cd/m2
_PAPER_WHITE: Final = 203.0
# ITU-R BT.2087, from linear BT.2020 to linear BT.709.
_TO_BT709: Final = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)


def to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return numbers (height, width, 1 or 3) as uint8: grey is stretched, colours are divided.

    NaN becomes black, and so does an image of one value.
    """
    low, high = _range(values)
    if values.shape[2] > 1:
        low, high = 0.0, _full_scale(values.dtype, high)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros(values.shape)
    finite = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(np.clip(finite, 0, 255)).astype(np.uint8)


def deep_to_8_bits(deep: Deep) -> NDArray[np.uint8]:
    """Return deep pixels as uint8 (height, width, 3), with transparent parts on white."""
    image = to_8_bits(deep.values[:, :, : deep.colours])
    if deep.negative:
        image = 255 - image
    if deep.alpha is not None:
        most = 1.0 if deep.values.dtype.kind == "f" else float(np.iinfo(deep.values.dtype).max)
        alpha = np.clip(deep.values[:, :, deep.colours, None] / most, 0, 1)
        premultiplied = image if deep.alpha else image * alpha
        image = np.rint(np.clip(premultiplied + 255 * (1 - alpha), 0, 255)).astype(np.uint8)
    return np.array(np.broadcast_to(image, (*image.shape[:2], 3)))


def is_shallow(high_bytes: NDArray[np.uint8]) -> bool:
    """Return True if numbers of 16 bits use at most 14, by their high bytes."""
    return _range(high_bytes)[1] < 256 >> _UNUSED_BITS


def tone_map(image: NDArray[np.uint8], coding: Coding) -> NDArray[np.uint8]:
    """Return an image (height, width, 3) as sRGB."""
    if coding.transfer != _PQ:
        return image
    code = (np.arange(256) / 255) ** (1 / 78.84375)
    light = np.maximum(code - 0.8359375, 0) / (18.8515625 - 18.6875 * code)
    table = (light ** (1 / 0.1593017578125) * (_PQ_MAX / _PAPER_WHITE)).astype(np.float32)
    linear = table[image]
    if coding.primaries == _BT2020:
        linear = linear @ _TO_BT709.T.astype(np.float32)
    linear = np.clip(linear, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * srgb), np.uint8)


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """Return the lowest and highest number without outliers; the extremes if these are equal."""
    flat = values.reshape(-1)
    some = flat[:: max(1, len(flat) // _SAMPLE)].astype(np.float64)
    some = some[np.isfinite(some)]
    if not len(some):
        return 0.0, 0.0
    low, high = np.percentile(some, (_IGNORED_PERCENT, 100 - _IGNORED_PERCENT))
    if low == high:
        low, high = some.min(), some.max()
    return float(low), float(high)


def _full_scale(dtype: np.dtype[Any], high: float) -> float:
    """Return the number of full brightness for pixels up to ``high``."""
    if dtype.kind == "f":
        return max(high, 1.0)
    most = np.iinfo(dtype).bits - (dtype.kind == "i")
    bits = max(8, math.ceil(math.log2(max(high, 0) + 1)))
    return float(2 ** (bits if bits <= most - _UNUSED_BITS else most) - 1)
