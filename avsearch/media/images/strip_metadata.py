"""Image files without metadata: text, profiles, comments, previews.

A decoder may reject a file with large or damaged metadata, though every pixel is there. So it is
given a view of the file without them. The orientation is read from them first. No byte of the image
itself is changed.
"""

from __future__ import annotations

import bisect
import io
import itertools
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple

Piece = bytes | range  # bytes as they are, or a range of the file

_ORIENTATION_TAG: Final = 0x0112
_SHORT: Final = 3  # the type of a TIFF value of two bytes
_XMP_ORIENTATION: Final = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([1-8])")
_MAX_TEXT: Final = 1 << 20  # bytes of metadata that are searched for an orientation
_MIN_JFIF: Final = 14
_MIN_ADOBE: Final = 12
_MIN_TRANSPARENCY: Final = {0: 2, 2: 6}  # bytes in a tRNS chunk, by the colour type of a PNG
_WEBP_IMAGE: Final = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_SEQUENCES: Final = frozenset({b"hevc", b"hevx", b"hevm", b"hevs", b"msf1", b"avis"})  # of brands
_WEBP_FLAGS_KEPT: Final = 0x12  # of VP8X: alpha and animation, not profile, EXIF and XMP


class Coding(NamedTuple):
    """Colour primaries and transfer function by their numbers in ITU-T H.273."""

    primaries: int = 2  # 2: unspecified
    transfer: int = 2


class Stripped(NamedTuple):
    """An image file without metadata.

    Attributes:
        data: The file.
        orientation: The EXIF orientation (1 to 8) in its metadata.
        coding: The colour coding in its metadata.
        is_intact: False if a checksum shows that pixels are damaged.
    """

    data: BinaryIO
    orientation: int
    coding: Coding = Coding()
    is_intact: bool = True


class _Spliced(io.RawIOBase):
    """Pieces of a file, one after the other, as a file without a descriptor."""

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._file, self._pieces = file, [piece for piece in pieces if len(piece)]
        self._ends = [0, *itertools.accumulate(len(piece) for piece in self._pieces)]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, (0, self._at, self._ends[-1])[whence] + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at >= self._ends[-1]:
            return 0
        number = bisect.bisect_right(self._ends, self._at) - 1
        start = self._at - self._ends[number]
        part = self._pieces[number][start : start + len(buffer)]
        data = part if isinstance(part, bytes) else read_range(self._file, part)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def spliced(file: BinaryIO, pieces: Sequence[Piece]) -> BinaryIO:
    """Return pieces of a file as one file."""
    return io.BufferedReader(_Spliced(file, pieces))


def read_range(file: BinaryIO, span: range) -> bytes:
    """Return a range of a file, shorter where the file ends before it."""
    file.seek(span.start)
    return file.read(len(span))


def file_size(file: BinaryIO) -> int:
    """Return the number of bytes of an open file."""
    return file.seek(0, io.SEEK_END)


def strip_jpeg(file: BinaryIO) -> Stripped:
    """Return a JPEG without comments and application segments, except those on its colours."""
    pieces: list[Piece] = [b"\xff\xd8"]
    exif = xmp = b""
    end = 2
    for marker, segment in _jpeg_segments(file):
        end = segment.stop
        body = read_range(file, segment[4:]) if marker in {0xE0, 0xE1, 0xEE} else b""
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif or body
        elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = xmp or body
        colours = (marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= _MIN_JFIF) or (
            marker == 0xEE and body.startswith(b"Adobe") and len(body) >= _MIN_ADOBE
        )
        if colours or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            pieces.append(segment)
    return Stripped(spliced(file, [*pieces, range(end, file_size(file))]), _orientation(exif, xmp))


def _jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, range]]:
    """Yield the markers before the first scan, each with the range of its segment."""
    size, at = file_size(file), 2
    while at < size:
        head = read_range(file, range(at, at + 4))
        if head[:2] == b"\xff\xff":  # any number of these may precede a marker
            at += 1
            continue
        length = int.from_bytes(head[2:4], "big")
        if head[0] != 0xFF or len(head) < 4 or head[1] in {0xD8, 0xD9, 0xDA} or length < 2:
            return
        segment = range(at, min(size, at + 2 + length))
        yield head[1], segment
        at = segment.stop


def has_whole_scans(file: BinaryIO) -> bool:
    """Return True if a progressive JPEG that is cut short has a coarse image.

    Then complete scans have every coefficient of the first component at least once. Missing scans
    only refine the image.
    """
    head_end = max((segment.stop for _, segment in _jpeg_segments(file)), default=2)
    data = read_range(file, range(head_end, file_size(file)))
    starts = [at.start() for at in re.finditer(rb"\xff[^\x00\xd0-\xd7\xff]", data)]
    sent: set[int] = set()
    first = None
    for start, _ in itertools.pairwise(starts):  # a scan is whole where a marker follows
        if data[start + 1] != 0xDA:
            continue
        count = data[start + 4]
        components = data[start + 5 : start + 5 + 2 * count : 2]
        lowest, highest, precision = data[start + 5 + 2 * count :][:3]
        first = components[0] if first is None else first
        if first in components and precision < 0x10:  # sent for the first time
            sent.update(range(lowest, highest + 1))
    return sent >= set(range(64))


def strip_png(file: BinaryIO) -> Stripped:
    """Return a PNG with the chunks of its image; of an animation, the first."""
    pieces: list[Piece] = [b"\x89PNG\r\n\x1a\n"]
    colour_type, coding, is_intact = -1, Coding(), True
    exif = xmp = b""
    for name, chunk in _png_chunks(file):
        body = chunk[8:-4]
        if name == b"IHDR":
            colour_type = int.from_bytes(read_range(file, body[9:10]))
        if name in (b"IHDR", b"PLTE", b"IDAT") or (
            name == b"tRNS"
            and len(body) >= _MIN_TRANSPARENCY.get(colour_type, 0)
            and _is_intact(file, chunk)
        ):
            pieces.append(chunk)
            is_intact = is_intact and (name != b"IDAT" or _is_intact(file, chunk))
        elif name == b"cICP" and len(body) == 4:
            coding = Coding(*read_range(file, body[:2]))
        elif name == b"eXIf":
            exif = read_range(file, body[:_MAX_TEXT])
        elif name in (b"iTXt", b"zTXt", b"tEXt"):
            key, text = _png_text(name, read_range(file, body[:_MAX_TEXT]))
            if key == b"XML:com.adobe.xmp":
                xmp = text
            elif key in (b"Raw profile type exif", b"Raw profile type APP1"):
                exif = exif or _from_hexadecimal(text)
    end = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
    return Stripped(spliced(file, [*pieces, end]), _orientation(exif, xmp), coding, is_intact)


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    """Yield the chunks of a PNG by name, each with its range, with its length and checksum."""
    size, at = file_size(file), 8
    while at + 8 <= size:
        length, name = struct.unpack(">I4s", read_range(file, range(at, at + 8)))
        if name == b"IEND" or not name.isalpha():
            return
        yield name, range(at, min(size, at + 12 + length))
        at += 12 + length


def _is_intact(file: BinaryIO, chunk: range) -> bool:
    """Return True if the checksum of a PNG chunk is right."""
    data = read_range(file, chunk)
    return zlib.crc32(data[4:-4]) == int.from_bytes(data[-4:], "big")


def _png_text(name: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Return the key and the text of a text chunk; of compressed text the first megabyte."""
    key, _, text = body.partition(b"\0")
    packed = name == b"zTXt" or (name == b"iTXt" and text[:1] == b"\1")
    if name == b"iTXt":
        text = text[2:].split(b"\0", 2)[-1]  # behind the language and the translated key
    elif name == b"zTXt":
        text = text[1:]
    if packed:
        try:
            text = zlib.decompressobj().decompress(text, _MAX_TEXT)
        except zlib.error:
            text = b""
    return key, text


def _from_hexadecimal(text: bytes) -> bytes:
    """Return the EXIF block in ImageMagick's text: a name, a length, then digits."""
    digits = b"".join(text.split()[2:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def strip_webp(file: BinaryIO) -> Stripped:
    """Return a WebP with the chunks of its image; of an animation, the first."""
    size, at = file_size(file), 12
    pieces: list[Piece] = []
    exif = xmp = b""
    animated = False
    while at + 8 <= size:
        name, length = struct.unpack("<4sI", read_range(file, range(at, at + 8)))
        chunk = range(at, min(size, at + 8 + length + length % 2))
        if name == b"VP8X":
            head = bytearray(read_range(file, chunk))
            head[8:9] = bytes(flag & _WEBP_FLAGS_KEPT for flag in head[8:9])
            pieces.append(bytes(head))
        elif name in _WEBP_IMAGE and not animated:
            pieces.append(chunk)
            animated = name == b"ANMF"
        elif name in (b"EXIF", b"XMP "):
            text = read_range(file, chunk[8 : 8 + _MAX_TEXT])
            exif, xmp = (text, xmp) if name == b"EXIF" else (exif, text)
        at = chunk.stop
    head_of_file = struct.pack("<4sI4s", b"RIFF", 4 + sum(map(len, pieces)), b"WEBP")
    return Stripped(spliced(file, [head_of_file, *pieces]), _orientation(exif, xmp))


def strip_psd(file: BinaryIO) -> Stripped:
    """Return a Photoshop file with its flat image, without resources and layers."""
    sections: list[range] = []
    at = 26
    for _ in range(3):  # the palette, resources and layers, each behind its length
        length = int.from_bytes(read_range(file, range(at, at + 4)), "big")
        sections.append(range(at, at + 4 + length))
        at += 4 + length
    pieces: list[Piece] = [range(26), sections[0], bytes(8), range(at, max(at, file_size(file)))]
    return Stripped(spliced(file, pieces), 1)


class HeifFile(NamedTuple):
    """A HEIF or AVIF file, by its boxes and not by its first brand.

    Attributes:
        codec: AV1 or HEVC.
        has_still: True if there is a still image.
        is_sequence: True if a brand promises a sequence.
        coding: Its colour coding.
        data: The file without EXIF and XMP, whose orientation does not count in these formats,
            with the brand of a still image if it has one.
    """

    codec: str
    has_still: bool
    is_sequence: bool
    coding: Coding
    data: BinaryIO


def read_boxes(file: BinaryIO) -> HeifFile:
    """Return the boxes of a HEIF or AVIF file."""
    pieces: list[Piece] = []
    held = {b"ftyp": b"", b"meta": b"", b"moov": b""}
    for name, box in _boxes(file):
        if name in held:
            held[name] = read_range(file, box)
        pieces.append(_without_metadata(held[name]) if name == b"meta" else box)
    brands = {held[b"ftyp"][at : at + 4] for at in range(8, len(held[b"ftyp"]), 4)}
    told = held[b"meta"] + held[b"moov"]
    is_av1 = b"av1C" in told or (b"hvcC" not in told and bool(brands & {b"avif", b"avis"}))
    has_still = b"pitm" in held[b"meta"]
    if has_still:  # a decoder that is promised a sequence as well wants to see one
        named = (b"avif" if is_av1 else b"heic") + bytes(4)
        length = len(held[b"ftyp"]) - 8
        pieces[0] = held[b"ftyp"][:8] + (named + b"mif1" * (length // 4))[:length]
    codec, is_sequence = "AV1" if is_av1 else "HEVC", bool(brands & _SEQUENCES)
    coded = re.search(rb"colrnclx(..)(..)", held[b"meta"], re.DOTALL)
    coding = Coding(*map(int.from_bytes, coded.groups())) if coded else Coding()
    return HeifFile(codec, has_still, is_sequence, coding, spliced(file, pieces))


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    """Yield the outermost boxes by name, each with its range; the last may be cut short."""
    size, at = file_size(file), 0
    while at + 8 <= size:
        head = read_range(file, range(at, at + 16))
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:  # the length stands behind the name
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: to the end of the file
            length = size - at
        yield name, range(at, min(size, at + length))
        at += length


def _without_metadata(box: bytes) -> bytes:
    """Return a meta box of the same length in which EXIF and XMP have unknown types."""
    return box.replace(b"Exif", b"skip").replace(b"application/rdf+xml", b"application/skipped")


def _orientation(exif: bytes, xmp: bytes) -> int:
    """Return the orientation in EXIF, or else in XMP; 1, upright, without one."""
    found = _exif_orientation(exif) or 0
    if not found and (written := _XMP_ORIENTATION.search(xmp[:_MAX_TEXT])):
        found = int(written[1])
    return found if 1 <= found <= 8 else 1


def _exif_orientation(block: bytes) -> int | None:
    """Return the orientation in the first directory of an EXIF block, or None."""
    block = re.sub(rb"^(?:Exif\0\0)+", b"", block)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    (at,) = struct.unpack_from(f"{order}I", block, 4)
    if at + 2 > len(block):
        return None
    (count,) = struct.unpack_from(f"{order}H", block, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(block) - 11), 12):
        tag, kind, _, short = struct.unpack_from(f"{order}HHIH", block, entry)
        if tag == _ORIENTATION_TAG:
            (long,) = struct.unpack_from(f"{order}I", block, entry + 8)
            return int(short if kind == _SHORT else long)
    return None
