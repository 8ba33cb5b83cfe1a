"""Pictures to arrays: uint8 (height, width, 3) RGB, upright. The only importer of Pillow."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError

from avsearch.media.files import opened
from indexer import libraries
from indexer.errors import LibraryUnusable, RefusedFile
from indexer.types import OnNote, ignore_note

Picture = NDArray[np.uint8]

MAX_PIXELS: Final = 200_000_000  # 600 MB decoded; the largest cameras stay below
MIN_SIDE_PX: Final = 16  # below this nobody can be told from anybody
CAPTION_PX: Final = 16
ITEM_SIDE_PX: Final = 256  # longest side of what is handed on as a face

# Rasters only. Left out are EPS, which Pillow gives to Ghostscript to run, and WMF.
_FORMATS: Final[tuple[str, ...]] = (
    *("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "AVIF", "ICO", "ICNS"),
    *("JPEG2000", "TGA", "PCX", "SGI", "DDS", "QOI", "PSD", "HEIF"),
)
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"mif1")
_NUMERIC_MODES: Final = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_WHITE: Final = (255, 255, 255, 255)
_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow's readers parse in Python and have no exception of their own: broken bytes surface as
# whatever the parsing ran into.
_DECODING_ERRORS: Final = (
    *(OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error),
    *(IndexError, KeyError, TypeError, OverflowError, Image.DecompressionBombError),
)
_size_check_lock = threading.Lock()


def read_image(path: Path, *, on_note: OnNote = ignore_note) -> Picture:  # noqa: ARG001
    """The picture in a file as uint8 (height, width, 3) RGB.

    Turned upright as its EXIF says. Transparent parts are laid on white, the ground that
    cut-out portraits are made for. Grey of more than 8 bits is scaled from its darkest to its
    brightest value. Of an animation the first frame is taken. Raises RefusedFile for what is
    not a whole picture, has more than 200 megapixels, or less than 16 pixels a side.
    """
    with opened(path) as file:
        image = _identified(path, file)
        _require_sane_size(path, image)
        try:
            image.load()
            return _rgb(_turned_upright(image))
        except _DECODING_ERRORS as error:
            raise RefusedFile(
                path, f"the picture is damaged or cut short ({error}); copy or export it again."
            ) from error


def shrink(picture: Picture, longest_px: int = ITEM_SIDE_PX) -> Picture:
    """The picture scaled down, shape kept, to ``longest_px`` on its longer side.

    One that is small enough already is returned as it is; nothing is ever scaled up.
    """
    height, width = picture.shape[:2]
    factor = longest_px / max(height, width)
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def captioned(picture: Picture, side_px: int, text: str) -> Picture:
    """A picture as a tile (side_px + 16, side_px, 3), on white, with a line of text below it."""
    tile = Image.new("RGB", (side_px, side_px + CAPTION_PX), "white")
    fitted = Image.fromarray(shrink(picture, side_px))
    tile.paste(fitted, ((side_px - fitted.width) // 2, (side_px - fitted.height) // 2))
    ImageDraw.Draw(tile).text((2, side_px + 2), text, fill="black")
    return np.array(tile)


def as_png(picture: Picture) -> bytes:
    """A picture as the bytes of a PNG file."""
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "PNG")
    return stored.getvalue()


def _identified(path: Path, file: BinaryIO) -> Image.Image:
    """The picture with its header read and nothing decoded."""
    try:
        return _recognised(file)
    except LibraryUnusable as error:
        raise RefusedFile(path, str(error), lasting=False) from error
    except UnidentifiedImageError as error:
        raise RefusedFile(
            path, "it is not a picture of a known format; check what it really is."
        ) from error
    except _DECODING_ERRORS as error:
        raise RefusedFile(
            path, f"the picture's header is damaged ({error}); copy or export it again."
        ) from error


def _recognised(file: BinaryIO) -> Image.Image:
    """The picture in one of our formats; UnidentifiedImageError where it is in none.

    LibraryUnusable for one that needs a package which is not installed, or does not load.
    Pillow's readers take long to import, so the rare formats' are when none of the others knows it.
    """
    Image.preinit()
    with contextlib.suppress(UnidentifiedImageError):
        return _open_unchecked(file, _registered())
    Image.init()
    with contextlib.suppress(UnidentifiedImageError):
        return _open_unchecked(file, _registered())
    if _is_heif(file):
        libraries.load("pillow_heif", "HEIC", "heif").register_heif_opener()
    return _open_unchecked(file, _registered())


def _is_heif(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:] in _HEIF_BRANDS


def _registered() -> list[str]:
    return [name for name in _FORMATS if name in Image.OPEN]


def _open_unchecked(file: BinaryIO, formats: list[str]) -> Image.Image:
    """Image.open without Pillow's own limit, which warns from 89 megapixels on.

    The limit is a global of Pillow's. It is back in place at once, and ours is applied
    before anything is decoded.
    """
    with _size_check_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _require_sane_size(path: Path, image: Image.Image) -> None:
    width, height = image.size
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


def _turned_upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except (SyntaxError, ValueError, struct.error):  # a damaged tag block harms no pixel
        return image
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Picture:
    if image.mode in _NUMERIC_MODES:
        return _grey_to_rgb(np.asarray(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    # np.array, not asarray: an array over Pillow's own memory is read-only
    return np.array(image.convert("RGB"))


def _grey_to_rgb(values: NDArray[np.generic]) -> Picture:
    """(height, width) of any numbers to RGB, the real range onto 0..255."""
    grey = np.nan_to_num(values.astype(np.float64))
    low, high = float(grey.min()), float(grey.max())
    scaled = (grey - low) * (255 / (high - low)) if high > low else np.zeros_like(grey)
    return np.repeat(np.rint(scaled).astype(np.uint8)[:, :, None], 3, axis=2)
