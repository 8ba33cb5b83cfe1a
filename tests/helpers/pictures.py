"""Picture files made piece by piece, with what encoders would not write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]


def smooth(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A picture without noise whose every row and column is another, uint8 (h, w, 3)."""
    down, across = np.mgrid[0:height, 0:width]
    waves = (across / width, down / height, np.sin(down / 7) * np.cos(across / 9) / 2 + 0.5)
    return np.rint(255 * np.dstack(waves)).astype(np.uint8)


def saved(picture: Pixels | Image.Image, kind: str, **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    stored = io.BytesIO()
    image.save(stored, kind, **options)
    return stored.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def png_with(*before: bytes, after: bytes = b"") -> bytes:
    """The smooth picture with these chunks before and behind its pixels."""
    whole = saved(smooth(), "PNG")
    start, end = whole.index(b"IDAT") - 4, whole.rindex(b"IEND") - 4
    return whole[:start] + b"".join(before) + whole[start:end] + after + whole[end:]


def png_of(numbers: Pixels) -> bytes:
    """Numbers (height, width, 1 to 4) as a PNG of 16 bits."""
    height, width, samples = numbers.shape
    header = struct.pack(">IIBBBBB", width, height, 16, (0, 4, 2, 6)[samples - 1], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in numbers)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*each) for each in chunks)


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """The smooth picture with these marker segments before the first of its own."""
    whole = saved(smooth(), "JPEG", quality=95)
    added = (bytes((0xFF, at)) + struct.pack(">H", len(body) + 2) + body for at, body in segments)
    return whole[:2] + b"".join(added) + whole[2:]


def riff_chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def webp_with(flags: int, *before: bytes, after: bytes = b"") -> bytes:
    """The smooth picture in the extended format, with these flags and chunks."""
    plain = saved(smooth(), "WEBP", lossless=True)[12:]
    height, width = smooth().shape[:2]
    sizes = b"".join(struct.pack("<I", side - 1)[:3] for side in (width, height))
    head = riff_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sizes)
    body = b"WEBP" + head + b"".join(before) + plain
    return b"RIFF" + struct.pack("<I", len(body)) + body + after


def tiff_of(
    numbers: Pixels,
    photometric: int,
    *,
    order: str = "<",
    deflated: bool = False,
    tags: tuple[tuple[int, int, int, int], ...] = (),
    extra: bytes = b"",
) -> bytes:
    """Numbers (height, width, samples) of any type as a TIFF, in one strip.

    ``tags`` are further entries, as tag, type, count and the number in their value field; of it
    the last byte of the file, ``extra``, begins at 8.
    """
    height, width, samples = numbers.shape
    kind = {"u": 1, "i": 2, "f": 3}[numbers.dtype.kind]
    data = numbers.astype(numbers.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if deflated else data
    bits = struct.pack(f"{order}{samples}H", *[8 * numbers.dtype.itemsize] * samples)
    pixels_at = 8 + len(extra) + len(extra) % 2
    bits_at = pixels_at + len(data) + len(data) % 2
    directory_at = bits_at + len(bits) + len(bits) % 2
    short = {"<": 0, ">": 16}[order]  # a short number lies at the left of its field
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (
            258,
            3,
            samples,
            bits_at if samples > 2 else int.from_bytes(bits.ljust(4, b"\0"), _END[order]),
        ),
        (259, 3, 1, (8 if deflated else 1) << short),
        (262, 3, 1, photometric << short),
        (273, 4, 1, pixels_at),
        (277, 3, 1, samples << short),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
        (339, 3, 1, kind << short),
        *tags,
    ]
    rows = b"".join(struct.pack(f"{order}HHII", *entry) for entry in sorted(entries))
    directory = struct.pack(f"{order}H", len(entries)) + rows + bytes(4)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, directory_at)
    parts = (extra, data, bits)
    return head + b"".join(part + bytes(len(part) % 2) for part in parts) + directory


_END = {"<": "little", ">": "big"}


def psd_with(resources: bytes) -> bytes:
    """The smooth picture as a Photoshop file, uncompressed, with these image resources."""
    picture = smooth()
    height, width, samples = picture.shape
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, samples, height, width, 8, 3)
    sections = struct.pack(">II", 0, len(resources)) + resources + struct.pack(">I", 0)
    return head + sections + struct.pack(">H", 0) + picture.transpose(2, 0, 1).tobytes()
