"""Image files to arrays: uint8 (height, width, 3) RGB, upright. The only importer of Pillow.

Pillow's readers are called by name and not by its registry of formats, so that no result depends on
what this process, or a program around avsearch, did before.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFile

from avsearch.media.images import strip_metadata
from avsearch.media.images.bit_depth import deep_to_8_bits, is_shallow, to_8_bits, tone_map
from avsearch.media.images.pixels import Pixels, shrink
from avsearch.media.images.tiff import Tiff
from avsearch.media.open_file import opened
from indexer.errors import LibraryUnusable, RefusedFile
from indexer.runtime import optional_libraries
from indexer.types import OnNote, ignore_note

Reader = Callable[[BinaryIO], ImageFile.ImageFile]
Convert = Callable[[Image.Image], Pixels]

MAX_PIXELS: Final = 200_000_000  # 600 MB decoded; the largest cameras stay below
MIN_SIDE_PX: Final = 16  # below this nobody can be recognised
CAPTION_PX: Final = 16
MIN_ROWS: Final = 0.75  # share of the rows of a damaged image; of a face less is too little

# Only raster formats. EPS, for which Pillow runs Ghostscript, and WMF are left out.
_BEGINNINGS: Final = {
    b"\xff\xd8\xff": "Jpeg",
    b"\x89PNG\r\n\x1a\n": "Png",
    b"GIF87a": "Gif",
    b"GIF89a": "Gif",
    b"BM": "Bmp",
    b"II*\0": "Tiff",
    b"MM\0*": "Tiff",
    b"II+\0": "Tiff",
    b"MM\0+": "Tiff",
    b"8BPS": "Psd",
    b"DDS ": "Dds",
    b"qoif": "Qoi",
    b"\0\0\1\0": "Ico",
    b"icns": "Icns",
    b"\xff\x4f\xff\x51": "Jpeg2K",
    b"\0\0\0\x0cjP  \r\n\x87\n": "Jpeg2K",
    b"\x01\xda": "Sgi",
}
_OTHER_BEGINNINGS: Final[tuple[tuple[Callable[[bytes], bool], str], ...]] = (
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", "WebP"),
    (lambda head: head[:1] == b"P" and head[1:2] in b"123456fy", "Ppm"),
    (lambda head: head[:1] == b"\n" and head[1:2] in b"\0\2\3\5", "Pcx"),
    (lambda head: int.from_bytes(head[:4], "little") in {12, 40, 52, 56, 64, 108, 124}, "Dib"),
)
_FALLBACK: Final = "Tga"  # has no beginning of its own
_STRIPPERS: Final = {
    "Jpeg": strip_metadata.strip_jpeg,
    "Png": strip_metadata.strip_png,
    "WebP": strip_metadata.strip_webp,
    "Psd": strip_metadata.strip_psd,
}
_SWAPPED: Final = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}  # the other byte order
_END_OF_JPEG: Final = b"\xff\xd9"
_LIKE_NOISE: Final = 0.125  # of the bytes of a row; of decoded ones it is 1 of 256
_NUMERIC_MODES: Final = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_PREMULTIPLIED: Final = {"La": "LA", "RGBa": "RGBA"}
_WHITE: Final = (255, 255, 255, 255)
_ORIENTATION_TAG: Final = 0x0112
# EXIF orientations whose rows and columns are exchanged, and those stored in reverse.
_TRANSPOSED: Final = frozenset({5, 6, 7, 8})
_REVERSED: Final = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
_NEEDS: Final = {
    "PIL.AvifImagePlugin": "AVIF images need a newer Pillow: pip install 'pillow>=11.3'",
}
# Pillow's readers parse in Python and have no exception of their own: any error of parsing may
# surface. A program may have turned warnings into errors.
_DECODING_ERRORS: Final = (
    *(OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, Warning),
    *(IndexError, KeyError, TypeError, OverflowError, Image.DecompressionBombError),
)


class _Source(NamedTuple):
    """An image file for a reader, which may be opened any number of times."""

    path: Path
    data: BinaryIO
    reader: Reader
    known: bool = True  # its format was detected by its first bytes
    is_bytes: bool = False  # a pixel of the reader is a byte of the image
    is_intact: bool = True  # no checksum is wrong

    def open(self) -> ImageFile.ImageFile:
        """Return the image with its header read and nothing decoded."""
        self.data.seek(0)
        return self.reader(self.data)


def read_image(path: Path, *, on_note: OnNote = ignore_note) -> Pixels:
    """Return the image in a file as uint8 (height, width, 3) RGB.

    It is rotated by its EXIF orientation. Transparent parts become white, the background for which
    cut-out portraits are made. Deeper pixels are scaled to the bits that the image uses
    (:mod:`avsearch.media.images.bit_depth`). An animation gives its first frame. Large or damaged
    metadata are ignored. If an image is cut short or damaged and at least three quarters of its
    rows can be decoded, the other rows repeat their neighbours, and ``on_note`` receives a note.

    Raises:
        RefusedFile: Less of the image can be decoded, it has more than 200 megapixels, or less than
            16 pixels a side.
    """
    with opened(path) as file:
        head = file.read(32)
        if head[4:8] == b"ftyp":
            return _read_boxes(path, file)
        plugin = next((name for start, name in _BEGINNINGS.items() if head.startswith(start)), None)
        if plugin is None:
            plugin = next((name for fits, name in _OTHER_BEGINNINGS if fits(head)), _FALLBACK)
        if plugin == "Tiff" and (tiff := Tiff.read(file)) is not None:
            return _read_tiff(path, tiff, on_note)
        strip = _STRIPPERS.get(plugin, lambda whole: strip_metadata.Stripped(whole, 1))
        data, orientation, coding, is_intact = strip(file)
        reader = functools.partial(_open_with, plugin)
        source = _Source(path, data, reader, known=plugin != _FALLBACK, is_intact=is_intact)
        convert = functools.partial(_png_to_rgb, source) if plugin == "Png" else _to_rgb
        return _rotate(tone_map(_decode(source, convert, on_note), coding), orientation)


def with_caption(image: Pixels, side_px: int, text: str) -> Pixels:
    """Return an image as a white tile (side_px + 16, side_px, 3) with a line of text below it."""
    tile = Image.new("RGB", (side_px, side_px + CAPTION_PX), "white")
    fitted = Image.fromarray(shrink(image, side_px))
    tile.paste(fitted, ((side_px - fitted.width) // 2, (side_px - fitted.height) // 2))
    ImageDraw.Draw(tile).text((2, side_px + 2), text, fill="black")
    return np.array(tile)


def to_png(image: Pixels) -> bytes:
    """Return an image as the bytes of a PNG file."""
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "PNG")
    return stored.getvalue()


def _open_with(plugin: str, data: BinaryIO) -> ImageFile.ImageFile:
    """Open an image with a reader of Pillow, which is imported late, because that is slow."""
    module = importlib.import_module(f"PIL.{plugin.replace('Dib', 'Bmp')}ImagePlugin")
    image: ImageFile.ImageFile = getattr(module, f"{plugin}ImageFile")(data)
    return image


def _open_heif(data: BinaryIO) -> ImageFile.ImageFile:
    library = optional_libraries.load("pillow_heif", "HEIC", "heif")
    image: ImageFile.ImageFile = library.HeifImageFile(data)
    return image


def _read_boxes(path: Path, file: BinaryIO) -> Pixels:
    """Return the image of a HEIF or AVIF file: the still one, or the first of a sequence."""
    boxes = strip_metadata.read_boxes(file)
    readers: list[Reader] = [functools.partial(_open_with, "Avif"), _open_heif]
    first: Exception | None = None
    for reader in readers if boxes.codec == "AV1" else reversed(readers):
        try:
            image = reader(boxes.data)
            _require_sane_size(path, image.size)
            image.load()
            toned = tone_map(_to_rgb(image), boxes.coding)
            return _rotate(toned, image.getexif().get(_ORIENTATION_TAG, 1))
        except (*_DECODING_ERRORS, ModuleNotFoundError, LibraryUnusable) as error:
            first = first or error
        boxes.data.seek(0)
    if boxes.is_sequence and not boxes.has_still:
        from avsearch.media.video import read_frame  # for this case alone

        with contextlib.suppress(RefusedFile):
            return read_frame(path, 0.0)
    if isinstance(first, LibraryUnusable):
        raise RefusedFile(path, str(first), permanent=False) from first
    if isinstance(first, ModuleNotFoundError):
        needs = _NEEDS.get(first.name or "", str(first))
        raise RefusedFile(path, f"{needs}, or convert it to JPEG.", permanent=False) from first
    raise _unreadable(path, "damaged, cut short, or of a kind that is not known here", first)


def _read_tiff(path: Path, tiff: Tiff, on_note: OnNote) -> Pixels:
    """Return the first image of a TIFF file."""
    reader, dtype = functools.partial(_open_with, "Tiff"), tiff.dtype()
    if dtype is None:
        source = _Source(path, tiff.positive(), reader)
        convert: Convert = functools.partial(_to_rgb, negative=tiff.negative)
    else:
        _require_sane_size(path, tiff.size())
        source = _Source(path, tiff.as_bytes(dtype), reader, is_bytes=True)
        convert = functools.partial(_deep_to_rgb, tiff, dtype)
    return _rotate(_decode(source, convert, on_note), tiff.orientation)


def _decode(source: _Source, convert: Convert, on_note: OnNote) -> Pixels:
    """Return the converted image, or as much of it as can be decoded."""
    try:
        image = source.open()
    except _DECODING_ERRORS as error:
        if source.known:
            what = "damaged, cut short, or of a kind that is not known here"
            raise _unreadable(source.path, what, error) from error
        reason = "it is not an image of a known format; check what it really is."
        raise RefusedFile(source.path, reason) from error
    if not source.is_bytes:
        _require_sane_size(source.path, image.size)
    if image.format == "TIFF":  # whose reader would apply a limit of Pillow's own
        image.im = Image.new(image.mode, image.size).im
    try:
        image.load()
        pixels = convert(image)
    except _DECODING_ERRORS as error:
        damaged = _unreadable(source.path, "damaged or cut short", error)
    else:
        if not source.is_intact:
            on_note("its checksums say that it is damaged; parts of it may look wrong.")
        return pixels
    try:
        pixels, note = _rescue(source, convert)
    except _DECODING_ERRORS:
        raise damaged from None
    on_note(note)
    return pixels


def _rescue(source: _Source, convert: Convert) -> tuple[Pixels, str]:
    """Return what can be decoded of a damaged image, and a note.

    It is decoded over noise, so that a row that still is noise was not decoded. A progressive JPEG
    is decoded as far as its scans go, each of which refines the whole image. Raises ValueError if
    too little can be decoded.
    """
    image = source.open()
    if image.info.get("progressive"):
        if not strip_metadata.has_whole_scans(source.data):
            raise ValueError("its scans give less than a coarse image")
        size = strip_metadata.file_size(source.data)
        image = source.reader(strip_metadata.spliced(source.data, [range(size), _END_OF_JPEG]))
        image.load()
        return convert(image), "it is cut short; its finest details are missing."
    length = len(Image.new(image.mode, (image.width, 1)).tobytes())
    row = np.random.default_rng(0).integers(0, 256, length, np.uint8)
    noise = Image.frombytes(image.mode, image.size, row.tobytes() * image.height)
    image.im = noise.im
    with contextlib.suppress(*_DECODING_ERRORS):
        image.load()
    if image.im is not noise.im:
        raise ValueError("this reader decodes all or nothing")
    image.tile = []  # there is no more to decode
    rows = np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, -1)
    decoded = np.flatnonzero((rows == row).mean(axis=1) < _LIKE_NOISE)
    if len(decoded) < MIN_ROWS * image.height:
        raise ValueError("too few rows are left")
    nearest = np.rint(np.interp(np.arange(image.height), decoded, np.arange(len(decoded))))
    share = len(decoded) / image.height
    note = f"it is cut short or damaged; {share:.0%} of its rows could be read."
    return convert(image)[decoded[nearest.astype(int)]], note


def _unreadable(path: Path, what: str, error: Exception | None) -> RefusedFile:
    detail = " ".join(str(error).split()).rstrip(".")
    return RefusedFile(path, f"the image is {what} ({detail}); copy or export it again.")


def _require_sane_size(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise RefusedFile(
            path,
            f"it says it is {width} x {height} pixels, more than {MAX_PIXELS // 10**6} "
            "megapixels; scale it down first.",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise RefusedFile(
            path, f"{width} x {height} pixels are too few for a face; find a larger image."
        )


def _rotate(image: Pixels, orientation: int) -> Pixels:
    """Return an image upright that is stored with an EXIF orientation (1 to 8)."""
    if orientation in _TRANSPOSED:
        image = image.transpose(1, 0, 2)
    down, across = _REVERSED.get(orientation, (1, 1))
    return np.ascontiguousarray(image[::down, ::across])


def _to_rgb(image: Image.Image, *, negative: bool = False) -> Pixels:
    """Return a decoded image of any mode; ``negative`` numbers have white as the lowest."""
    if image.mode in _NUMERIC_MODES:
        grey = to_8_bits(np.asarray(image)[:, :, None])
        return np.repeat(255 - grey if negative else grey, 3, axis=2)
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    # np.array, not asarray: an array over Pillow's own memory is read-only
    return np.array(image.convert("RGB"))


def _deep_to_rgb(tiff: Tiff, dtype: np.dtype[Any], image: Image.Image) -> Pixels:
    """Return the pixels of a TIFF file of which every byte is a grey pixel."""
    return deep_to_8_bits(tiff.numbers(np.asarray(image), dtype))


def _png_to_rgb(source: _Source, image: Image.Image) -> Pixels:
    """Return a decoded PNG.

    Pillow returns the upper 8 of 16 bits. If these hold next to nothing, the lower ones are needed,
    which it returns when told the other byte order.
    """
    again = source.open()
    tile = again.tile[0]
    order = str(tile.args)
    if order not in _SWAPPED or not is_shallow(np.asarray(image)[:, :, :3]):
        return _to_rgb(image)
    again.tile = [tile._replace(args=_SWAPPED[order])]
    again.load()
    upper, lower = (np.asarray(each)[:, :, :3].astype(np.uint16) for each in (image, again))
    colours = Image.fromarray(to_8_bits(upper << 8 | lower))
    if image.mode == "RGBA":
        colours.putalpha(image.getchannel("A"))
    return _to_rgb(colours)
