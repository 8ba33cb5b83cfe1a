"""The first directory of a TIFF file: without metadata, and deep pixels from raw bytes.

Pillow rejects or misreads some pixel formats: negatives of 16 bits, numbers beyond 31 bits, floats
of 16 and 64 bits, colours of more than 8 bits. For these it is given a directory in which every
byte is a grey pixel, so that it only decompresses, and the bytes become numbers here.
TIFF Revision 6.0, Adobe 1992; Adobe Photoshop TIFF Technical Note 3, 2005 (prediction of floats).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from avsearch.media.images.strip_metadata import file_size, read_range, spliced

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _ORIENTATION, _SAMPLES, _PLANES, _PREDICTOR = 266, 274, 277, 284, 317
_TILE_WIDTH, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 322, 338, 339
# The tags that a decoder needs; strips, tiles, the tables of fax, JPEG and YCbCr among them.
_NEEDED: Final = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, 273, _SAMPLES, 278, 279}
    | {_PLANES, 292, 293, _PREDICTOR, 320, _TILE_WIDTH, 323, 324, 325, 332, _EXTRA_SAMPLES}
    | {_SAMPLE_FORMAT, 347, *range(512, 522), *range(529, 533)}
)
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8} | {
    13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
_CODES: Final = {1: "B", 3: "H", 4: "I", 16: "Q"}  # the types of whole numbers
_LONG: Final = 4
# None, LZW, deflate (two numbers), PackBits, LZMA, Zstandard: they compress bytes.
_OF_BYTES: Final = frozenset({1, 5, 8, 32946, 32773, 34925, 50000})
_KINDS: Final = {1: "u", 2: "i", 3: "f", 4: "u"}  # of numbers, by the sample format
_DEEP: Final = frozenset({"i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"})
_MAX_ENTRIES: Final = 4096  # of a directory; more is damage


class Deep(NamedTuple):
    """Pixels of any number type.

    Attributes:
        values: The samples (height, width, samples).
        colours: The number of colour samples, 1 or 3, which come first.
        alpha: True if the next sample is an alpha by which the colours are multiplied already,
            False for another alpha, None without one.
        negative: True if the lowest value is white.
    """

    values: NDArray[Any]
    colours: int
    alpha: bool | None
    negative: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Tiff:
    """The first directory of a TIFF file; ``entries`` are type, count and value field by tag."""

    file: BinaryIO
    order: str  # "<" or ">"
    big: bool  # BigTIFF: offsets of 8 bytes
    place: range  # of the directory in the file
    entries: Mapping[int, tuple[int, int, bytes]]

    @classmethod
    def read(cls, file: BinaryIO) -> Self | None:
        """Return the first directory of a file; None if it cannot be read."""
        head = read_range(file, range(16))
        order = "<" if head[:2] == b"II" else ">"
        big = 43 in head[2:4]
        offset, count, entry = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
        try:
            (at,) = struct.unpack_from(order + offset, head, 8 if big else 4)
            length = struct.calcsize(order + count)
            (number,) = struct.unpack(order + count, read_range(file, range(at, at + length)))
            size = struct.calcsize(order + entry)
            number = min(number, _MAX_ENTRIES)
            rows = read_range(file, range(at + length, at + length + number * size))
        except (struct.error, OverflowError):
            return None
        found = struct.iter_unpack(order + entry, rows[: len(rows) // size * size])
        place = range(at, at + length + number * size + struct.calcsize(offset))
        return cls(file, order, big, place, {tag: tuple(rest) for tag, *rest in found})

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8; 1 without one."""
        found = self._value(_ORIENTATION, 1)
        return found if 1 <= found <= 8 else 1

    @property
    def negative(self) -> bool:
        """True if the lowest grey is white."""
        return self._value(_PHOTOMETRIC, 0) == 0

    def positive(self) -> BinaryIO:
        """Return the file without metadata, in which deep greys are not a negative."""
        deep = max(self._values(_BITS, (1,))) > 8
        return self._view({_PHOTOMETRIC: 1} if self.negative and deep else {})

    def dtype(self) -> np.dtype[Any] | None:
        """Return the type of deep pixels that can be read as bytes; None for others."""
        all_bits, formats = self._values(_BITS, (1,)), self._values(_SAMPLE_FORMAT, (1,))
        if len({*all_bits}) > 1 or len({*formats}) > 1:
            return None
        bits = all_bits[0]
        kind = f"{_KINDS.get(formats[0], '?')}{bits // 8}"
        predictor = self._value(_PREDICTOR, 1)
        tiled = _TILE_WIDTH in self.entries
        readable = (
            kind in _DEEP
            and bits % 8 == 0
            and self._value(_COMPRESSION, 1) in _OF_BYTES
            and self._value(_PLANES, 1) == 1
            and self._value(_FILL_ORDER, 1) == 1
            and self._colours() <= self._value(_SAMPLES, 1)
            and self._value(_PHOTOMETRIC, 0) in (0, 1, 2)
            and (predictor in (1, 2) or (predictor == 3 and kind[0] == "f" and not tiled))
        )
        return np.dtype(self.order + kind) if readable else None

    def size(self) -> tuple[int, int]:
        """Return the width and height in pixels, as the directory gives them."""
        return self._value(_WIDTH, 0), self._value(_HEIGHT, 0)

    def as_bytes(self, dtype: np.dtype[Any]) -> BinaryIO:
        """Return the file with a directory in which every byte is a grey pixel."""
        stride = self._value(_SAMPLES, 1) * dtype.itemsize
        changes: dict[int, int | None] = {
            _WIDTH: stride * self._value(_WIDTH, 0),
            _BITS: 8,
            _SAMPLES: 1,
        }
        changes |= {_PHOTOMETRIC: 1, _SAMPLE_FORMAT: 1, _PREDICTOR: 1, _EXTRA_SAMPLES: None}
        if _TILE_WIDTH in self.entries:
            changes[_TILE_WIDTH] = stride * self._value(_TILE_WIDTH, 0)
        return self._view(changes)

    def numbers(self, pixels: NDArray[np.uint8], dtype: np.dtype[Any]) -> Deep:
        """Return the deep pixels of bytes (height, width * bytes a pixel)."""
        samples = self._value(_SAMPLES, 1)
        if self._value(_PREDICTOR, 1) == 3:
            values = _sum_floats(pixels, samples, dtype.itemsize)
        else:
            values = np.ascontiguousarray(pixels).view(dtype)
        values = values.reshape(len(pixels), -1, samples)
        if self._value(_PREDICTOR, 1) == 2:
            values = _sum_differences(values, self._value(_TILE_WIDTH, values.shape[1]))
        extra = self._value(_EXTRA_SAMPLES, 0)
        has_alpha = extra in (1, 2) and samples > self._colours()
        alpha = (extra == 1) if has_alpha else None
        return Deep(values, self._colours(), alpha, self.negative)

    def _colours(self) -> int:
        return 3 if self._value(_PHOTOMETRIC, 0) == 2 else 1

    def _value(self, tag: int, default: int) -> int:
        return self._values(tag, (default,))[0]

    def _values(self, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return the whole numbers of a tag, at most 16."""
        kind, count, field = self.entries.get(tag, (0, 0, b""))
        code, count = _CODES.get(kind), min(count, 16)
        if code is None or not count:
            return default
        length = count * _SIZES[kind]
        if length > len(field):
            (at,) = struct.unpack(self.order + ("Q" if self.big else "I"), field)
            field = read_range(self.file, range(at, at + length))
        try:
            return struct.unpack_from(f"{self.order}{count}{code}", field)
        except struct.error:
            return default

    def _view(self, changes: Mapping[int, int | None]) -> BinaryIO:
        """Return the file with a new directory of the needed entries, some of them changed.

        It replaces the old directory if there is room: behind the file it would be taken for
        pixels, if these are cut short.
        """
        offset, count, entry = ("Q", "Q", "HHQ8s") if self.big else ("I", "H", "HHI4s")
        kept = {tag: each for tag, each in self.entries.items() if tag in _NEEDED}
        for tag, number in changes.items():
            kept.pop(tag, None)
            if number is not None:
                field = struct.pack(f"{self.order}I", number).ljust(8 if self.big else 4, b"\0")
                kept[tag] = (_LONG, 1, field)
        rows = [struct.pack(self.order + entry, tag, *kept[tag]) for tag in sorted(kept)]
        last = struct.pack(self.order + offset, 0)  # there is no further directory
        directory = struct.pack(self.order + count, len(rows)) + b"".join([*rows, last])
        size, place = file_size(self.file), self.place
        if len(directory) <= len(place):
            rest = range(place.start + len(directory), max(size, place.stop))
            return spliced(self.file, [range(place.start), directory, rest])
        at = size + size % 2  # directories begin at even offsets
        head_size = 16 if self.big else 8
        head = read_range(self.file, range(head_size - struct.calcsize(offset)))
        head += struct.pack(self.order + offset, at)
        return spliced(self.file, [head, range(head_size, size), bytes(at - size), directory])


def _sum_differences(values: NDArray[Any], tile_width: int) -> NDArray[Any]:
    """Undo predictor 2: a number is the difference from its left neighbour, modulo its size."""
    whole = values.astype(values.dtype.newbyteorder("=")).view(f"u{values.itemsize}")
    for left in range(0, whole.shape[1], tile_width):
        tile = whole[:, left : left + tile_width]
        np.cumsum(tile, axis=1, dtype=whole.dtype, out=tile)
    return whole.view(values.dtype.newbyteorder("="))


def _sum_floats(pixels: NDArray[np.uint8], samples: int, size: int) -> NDArray[Any]:
    """Undo predictor 3: differences of bytes, the highest bytes of a row first."""
    rows = pixels.reshape(len(pixels), -1, samples)
    summed = np.cumsum(rows, axis=1, dtype=np.uint8).reshape(len(pixels), size, -1)
    return np.ascontiguousarray(summed.transpose(0, 2, 1)).view(f">f{size}")
