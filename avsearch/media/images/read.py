"""Pictures to arrays: uint8 (height, width, 3) RGB, upright. The only importer of Pillow.

Pillow's readers are called by name. Its registry of formats is not asked, so that no answer depends
on what this process, or a program that avsearch is part of, did before.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFile

from avsearch.media.images import strip_metadata
from avsearch.media.images.bit_depth import deep_to_8_bits, is_shallow, shown, to_8_bits
from avsearch.media.images.tiff import Tiff
from avsearch.media.open_file import opened
from indexer.errors import LibraryUnusable, RefusedFile
from indexer.runtime import optional_libraries
from indexer.types import OnNote, ignore_note

Pixels = NDArray[np.uint8]
Reader = Callable[[BinaryIO], ImageFile.ImageFile]

MAX_PIXELS: Final = 200_000_000  # 600 MB decoded; the largest cameras stay below
MIN_SIDE_PX: Final = 16  # below this nobody can be told from anybody
CAPTION_PX: Final = 16
ITEM_SIDE_PX: Final = 256  # longest side of what is handed on as a face
LEAST_SHARE: Final = 0.75  # of the rows of a damaged picture; of a face less is too little

# Rasters only. Left out are EPS, which Pillow gives to Ghostscript to run, and WMF.
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
_ANYTHING: Final = "Tga"  # has no beginning of its own
_STRIPPERS: Final = {
    "Jpeg": strip_metadata.strip_jpeg,
    "Png": strip_metadata.strip_png,
    "WebP": strip_metadata.strip_webp,
    "Psd": strip_metadata.strip_psd,
}
_OTHER_ORDER: Final = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
_END_OF_JPEG: Final = b"\xff\xd9"
_LIKE_NOISE: Final = 0.125  # of the bytes of a row; of decoded ones it is 1 of 256
_NUMERIC_MODES: Final = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_MULTIPLIED_BY_ALPHA: Final = {"La": "LA", "RGBa": "RGBA"}
_WHITE: Final = (255, 255, 255, 255)
_ORIENTATION_TAG: Final = 0x0112
# How a picture is stored by its EXIF orientation: on its side, from the bottom or the right.
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})
_REVERSED: Final = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
_NEEDS: Final = {
    "PIL.AvifImagePlugin": "AVIF pictures need a newer Pillow: pip install 'pillow>=11.3'",
}
# Pillow's readers parse in Python and have no exception of their own: broken bytes surface as
# whatever the parsing ran into. A program may have made errors of warnings.
_DECODING_ERRORS: Final = (
    *(OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, Warning),
    *(IndexError, KeyError, TypeError, OverflowError, Image.DecompressionBombError),
)


class _File(NamedTuple):
    """A picture file as a reader is shown it, any number of times."""

    path: Path
    data: BinaryIO
    reader: Reader
    known: bool = True  # that it is of this format, by its first bytes
    is_bytes: bool = False  # a pixel of the reader's is a byte of the picture's
    is_sound: bool = True  # no checksum says otherwise

    def open(self) -> ImageFile.ImageFile:
        """Return the picture with its header read and nothing decoded."""
        self.data.seek(0)
        return self.reader(self.data)


def read_image(path: Path, *, on_note: OnNote = ignore_note) -> Pixels:
    """Return the picture in a file as uint8 (height, width, 3) RGB.

    Turned upright as its EXIF says. Transparent parts are laid on white, the ground that
    cut-out portraits are made for. Of more than 8 bits those are taken that the picture uses:
    :mod:`avsearch.media.images.bit_depth`. Of an animation the first frame is taken. Metadata
    that are large or damaged do no harm. Of a picture that is cut short or damaged the rows that
    can be decoded
    are taken where they are at least three quarters of it, the others repeat their neighbours, and
    ``on_note`` is told. Raises RefusedFile for less of a picture, for more than 200 megapixels, and
    for less than 16 pixels a side.
    """
    with opened(path) as file:
        head = file.read(32)
        if head[4:8] == b"ftyp":
            return _read_boxes(path, file)
        plugin = _plugin(head)
        if plugin == "Tiff" and (tiff := Tiff.read(file)) is not None:
            return _read_tiff(path, tiff, on_note)
        strip = _STRIPPERS.get(plugin, lambda whole: strip_metadata.Stripped(whole, 1))
        data, orientation, coding, is_sound = strip(file)
        source = _File(
            path,
            data,
            functools.partial(_read_with, plugin),
            known=plugin != _ANYTHING,
            is_sound=is_sound,
        )
        convert = functools.partial(_png_rgb, source) if plugin == "Png" else _rgb
        return _turned(shown(_decoded(source, convert, on_note), coding), orientation)


def shrink(picture: Pixels, longest_px: int = ITEM_SIDE_PX) -> Pixels:
    """The picture scaled down, shape kept, to ``longest_px`` on its longer side.

    One that is small enough already is returned as it is; nothing is ever scaled up.
    """
    height, width = picture.shape[:2]
    factor = longest_px / max(height, width)
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def with_caption(picture: Pixels, side_px: int, text: str) -> Pixels:
    """A picture as a tile (side_px + 16, side_px, 3), on white, with a line of text below it."""
    tile = Image.new("RGB", (side_px, side_px + CAPTION_PX), "white")
    fitted = Image.fromarray(shrink(picture, side_px))
    tile.paste(fitted, ((side_px - fitted.width) // 2, (side_px - fitted.height) // 2))
    ImageDraw.Draw(tile).text((2, side_px + 2), text, fill="black")
    return np.array(tile)


def to_png(picture: Pixels) -> bytes:
    """A picture as the bytes of a PNG file."""
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "PNG")
    return stored.getvalue()


def _plugin(head: bytes) -> str:
    """Return the name of Pillow's reader for a file that begins like this."""
    for beginning, name in _BEGINNINGS.items():
        if head.startswith(beginning):
            return name
    return next((name for fits, name in _OTHER_BEGINNINGS if fits(head)), _ANYTHING)


def _read_with(plugin: str, data: BinaryIO) -> ImageFile.ImageFile:
    """Open a picture with a reader of Pillow, which is imported only now, as that takes long."""
    module = importlib.import_module(f"PIL.{plugin.replace('Dib', 'Bmp')}ImagePlugin")
    image: ImageFile.ImageFile = getattr(module, f"{plugin}ImageFile")(data)
    return image


def _read_heif(data: BinaryIO) -> ImageFile.ImageFile:
    image: ImageFile.ImageFile = optional_libraries.load(
        "pillow_heif", "HEIC", "heif"
    ).HeifImageFile(data)
    return image


def _read_boxes(path: Path, file: BinaryIO) -> Pixels:
    """Return the picture of a HEIF or AVIF file: the still one, or the first of a sequence."""
    boxes = strip_metadata.read_boxes(file)
    readers: list[Reader] = [functools.partial(_read_with, "Avif"), _read_heif]
    first: Exception | None = None
    for reader in readers if boxes.codec == "AV1" else reversed(readers):
        try:
            image = reader(boxes.data)
            _require_sane_size(path, image.size)
            image.load()
            picture = shown(_rgb(image), boxes.coding)
            return _turned(picture, image.getexif().get(_ORIENTATION_TAG, 1))
        except (*_DECODING_ERRORS, ModuleNotFoundError, LibraryUnusable) as error:
            first = first or error
        boxes.data.seek(0)
    if boxes.is_sequence and not boxes.has_still:
        with contextlib.suppress(RefusedFile):
            return _first_frame(path)
    if isinstance(first, LibraryUnusable):
        raise RefusedFile(path, str(first), permanent=False) from first
    if isinstance(first, ModuleNotFoundError):
        needs = _NEEDS.get(first.name or "", str(first))
        raise RefusedFile(path, f"{needs}, or convert it to JPEG.", permanent=False) from first
    raise _unknown(path, first) from first


def _first_frame(path: Path) -> Pixels:
    from avsearch.media.video import read_frame  # it imports this module

    return read_frame(path, 0.0)


def _read_tiff(path: Path, tiff: Tiff, on_note: OnNote) -> Pixels:
    """Return the first picture of a TIFF file."""
    reader, dtype = functools.partial(_read_with, "Tiff"), tiff.dtype()
    if dtype is None:
        source = _File(path, tiff.positive(), reader)
        convert = functools.partial(_rgb, negative=tiff.negative)
        return _turned(_decoded(source, convert, on_note), tiff.orientation)
    _require_sane_size(path, tiff.size())

    def from_bytes(image: Image.Image) -> Pixels:
        return deep_to_8_bits(tiff.numbers(np.asarray(image), dtype))

    source = _File(path, tiff.as_bytes(dtype), reader, is_bytes=True)
    return _turned(_decoded(source, from_bytes, on_note), tiff.orientation)


def _decoded(source: _File, convert: Callable[[Image.Image], Pixels], on_note: OnNote) -> Pixels:
    """Return what ``convert`` makes of the decoded picture, or of what can be decoded of it."""
    image = _identified(source)
    if image.format == "TIFF":  # whose reader would hold the size to a limit of Pillow's own
        image.im = Image.new(image.mode, image.size).im
    try:
        image.load()
        picture = convert(image)
    except _DECODING_ERRORS as error:
        damaged = _damaged(source.path, error)
    else:
        if not source.is_sound:
            on_note("its checksums say that it is damaged; parts of it may look wrong.")
        return picture
    try:
        picture, note = _rescued(source, convert)
    except _DECODING_ERRORS:
        raise damaged from None
    on_note(note)
    return picture


def _identified(source: _File) -> ImageFile.ImageFile:
    """Return the picture with its header read, where its size is sane."""
    try:
        image = source.open()
    except _DECODING_ERRORS as error:
        if source.known:
            raise _unknown(source.path, error) from error
        reason = "it is not a picture of a known format; check what it really is."
        raise RefusedFile(source.path, reason) from error
    if not source.is_bytes:
        _require_sane_size(source.path, image.size)
    return image


def _rescued(source: _File, convert: Callable[[Image.Image], Pixels]) -> tuple[Pixels, str]:
    """Return what can be decoded of a damaged picture, and what is to be said of it.

    It is decoded over noise, so that a row that still is noise was not decoded. Raises ValueError
    where too few rows were.
    """
    image = source.open()
    if image.info.get("progressive"):
        return _rescued_progressive(source, convert)
    row = _noise_row(image)
    noise = Image.frombytes(image.mode, image.size, row.tobytes() * image.height)
    image.im = noise.im
    with contextlib.suppress(*_DECODING_ERRORS):
        image.load()
    if image.im is not noise.im:
        raise ValueError("this reader decodes all or nothing")
    image.tile = []  # there is no more to decode
    rows = np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, -1)
    there = np.flatnonzero((rows == row).mean(axis=1) < _LIKE_NOISE)
    if len(there) < LEAST_SHARE * image.height:
        raise ValueError("too few rows are left")
    share = len(there) / image.height
    nearest = np.rint(np.interp(np.arange(image.height), there, np.arange(len(there))))
    picture = convert(image)[there[nearest.astype(int)]]
    return picture, f"it is cut short or damaged; {share:.0%} of its rows could be read."


def _noise_row(image: Image.Image) -> NDArray[np.uint8]:
    """Return the bytes of a row of noise in the mode of a picture, always the same."""
    length = len(Image.new(image.mode, (image.width, 1)).tobytes())
    return np.random.default_rng(0).integers(0, 256, length, np.uint8)


def _rescued_progressive(
    source: _File, convert: Callable[[Image.Image], Pixels]
) -> tuple[Pixels, str]:
    """Return a progressive JPEG as far as its scans go, each of which refines all of it."""
    if not strip_metadata.has_whole_scans(source.data):
        raise ValueError("its scans give less than a coarse picture")
    size = strip_metadata.file_size(source.data)
    ended = strip_metadata.spliced(source.data, [range(size), _END_OF_JPEG])
    image = source.reader(ended)
    image.load()
    return convert(image), "it is cut short; its finest details are missing."


def _damaged(path: Path, error: Exception) -> RefusedFile:
    return RefusedFile(
        path, f"the picture is damaged or cut short ({_words(error)}); copy or export it again."
    )


def _unknown(path: Path, error: Exception | None) -> RefusedFile:
    what = "the picture is damaged, cut short, or of a kind that is not known here"
    return RefusedFile(path, f"{what} ({_words(error)}); copy or export it again.")


def _words(error: Exception | None) -> str:
    """Return what a decoder said, in one line without a full stop."""
    return " ".join(str(error).split()).rstrip(".")


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
            path, f"{width} x {height} pixels are too few for a face; find a larger picture."
        )


def _turned(picture: Pixels, orientation: int) -> Pixels:
    """Return a picture upright that is stored as an EXIF orientation (1 to 8) says."""
    if orientation in _SIDEWAYS:
        picture = picture.transpose(1, 0, 2)
    down, across = _REVERSED.get(orientation, (1, 1))
    return np.ascontiguousarray(picture[::down, ::across])


def _rgb(image: Image.Image, *, negative: bool = False) -> Pixels:
    """Return a decoded picture of any mode; of numbers, ``negative`` says that low is white."""
    if image.mode in _NUMERIC_MODES:
        grey = to_8_bits(np.asarray(image)[:, :, None])
        return np.repeat(255 - grey if negative else grey, 3, axis=2)
    if image.mode in _MULTIPLIED_BY_ALPHA:
        image = image.convert(_MULTIPLIED_BY_ALPHA[image.mode])
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    # np.array, not asarray: an array over Pillow's own memory is read-only
    return np.array(image.convert("RGB"))


def _png_rgb(source: _File, image: Image.Image) -> Pixels:
    """Return a decoded PNG.

    Of colours of 16 bits Pillow gives the upper 8. Where they hold next to nothing the lower ones
    are needed, which it gives for the upper ones of numbers in the other byte order.
    """
    again = source.open()
    tile = again.tile[0]
    order = str(tile.args)
    if order not in _OTHER_ORDER or not is_shallow(np.asarray(image)[:, :, :3]):
        return _rgb(image)
    again.tile = [tile._replace(args=_OTHER_ORDER[order])]
    again.load()
    upper, lower = (np.asarray(each)[:, :, :3].astype(np.uint16) for each in (image, again))
    colours = Image.fromarray(to_8_bits(upper << 8 | lower))
    if image.mode == "RGBA":
        colours.putalpha(image.getchannel("A"))
    return _rgb(colours)
