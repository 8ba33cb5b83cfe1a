"""Pixels of any type and range become a visible image."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avsearch.media.images.read import read_image
from tests.helpers.pictures import Pixels, png_chunk, png_of, png_with, saved, smooth, tiff_of

GREY = np.linspace(0, 1, 48 * 64).reshape(48, 64, 1)
TYPES = {
    "u2": GREY * 65535,
    "u4": GREY * (2**32 - 1),
    "u8": GREY * 1e18,
    "i1": GREY * 255 - 128,
    "i2": GREY * 60_000 - 30_000,
    "i4": GREY * 4e9 - 2e9,
    "f2": GREY,
    "f4": GREY * 1e30,
    "f8": GREY - 7,
}


def read(tmp_path: Path, name: str, content: bytes) -> np.ndarray:
    (tmp_path / name).write_bytes(content)
    return read_image(tmp_path / name).astype(int)


def assert_like(picture: np.ndarray, expected: Pixels, tolerance: float = 3) -> None:
    """Equal but for a value at either end, which a broken pixel may hold."""
    assert picture.shape == (*expected.shape[:2], 3)
    far = np.abs(picture - expected * 255).max(axis=2) > tolerance
    assert far.mean() <= 0.02


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", TYPES)
def test_greys_of_every_type(tmp_path: Path, kind: str, order: str, deflated: bool) -> None:
    numbers = TYPES[kind].astype(kind)
    positive = tiff_of(numbers, 1, order=order, deflated=deflated)
    assert_like(read(tmp_path, "a.tif", positive), GREY)
    negative = tiff_of(numbers, 0, order=order, deflated=deflated)
    assert_like(read(tmp_path, "b.tif", negative), 1 - GREY)


@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_greys_that_were_predicted_and_packed(
    tmp_path: Path, compression: str, predictor: int
) -> None:
    numbers = GREY[:, :, 0].astype("f4") if predictor == 3 else (GREY[:, :, 0] * 65535).astype("u2")
    options = {"tiffinfo": {317: predictor}} if compression != "packbits" else {}
    packed = saved(numbers, "TIFF", compression=compression, **options)
    assert_like(read(tmp_path, "a.tif", packed), GREY)


@pytest.mark.parametrize("make", [lambda n: tiff_of(n, 1), png_of])
def test_broken_pixels_do_not_darken_the_others(tmp_path: Path, make) -> None:
    numbers = 200 + (GREY * 3000).astype("u2")  # of 12 bits
    numbers[5, 5], numbers[20, 30], numbers[7, 7] = 65535, 60_000, 0
    assert_like(read(tmp_path, "a", make(numbers)), GREY)


def test_what_is_not_a_number_does_not_count(tmp_path: Path) -> None:
    numbers = GREY.astype("f4")
    numbers[3, 3], numbers[4, 4], numbers[5, 5] = np.nan, np.inf, -3.4e38
    assert_like(read(tmp_path, "a.tif", tiff_of(numbers, 1)), GREY)
    nothing = np.full((32, 32, 1), np.nan, "f4")
    assert read(tmp_path, "b.tif", tiff_of(nothing, 1)).max() == 0


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("name", ["a.tif", "b.tif", "a.png", "transparent.png"])
def test_colours_use_the_bits_that_there_are(tmp_path: Path, name: str, bits: int) -> None:
    numbers = np.rint(smooth() / 255 * (2**bits - 1)).astype("u2")
    alpha = np.full((*numbers.shape[:2], 1), 65535, "u2")
    content = {
        "a.tif": lambda: tiff_of(numbers, 2),
        "b.tif": lambda: tiff_of(numbers, 2, order=">", deflated=True),
        "a.png": lambda: png_of(numbers),
        "transparent.png": lambda: png_of(np.dstack([numbers, alpha])),
    }[name]()
    np.testing.assert_allclose(read(tmp_path, name, content), smooth(), atol=1)


def test_a_dark_photograph_stays_dark(tmp_path: Path) -> None:
    dark = (smooth().astype("u2") // 3) * 257
    for name, content in (("a.png", png_of(dark)), ("a.tif", tiff_of(dark, 2))):
        np.testing.assert_allclose(read(tmp_path, name, content), smooth() // 3, atol=1)


def test_colours_as_floats(tmp_path: Path) -> None:
    content = tiff_of((smooth() / 255).astype("f4"), 2)
    np.testing.assert_allclose(read(tmp_path, "a.tif", content), smooth(), atol=1)


@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_alpha_that_colours_are_multiplied_by_or_not(
    tmp_path: Path, kind: str, multiplied: bool
) -> None:
    most = np.iinfo(kind).max
    half = np.full((*smooth().shape[:2], 1), most // 2, kind)
    shade = 0.5 if multiplied else 1
    colours = (smooth() * (shade * most / 255)).astype(kind)
    extra = ((338, 3, 1, 1 if multiplied else 2),)
    content = tiff_of(np.dstack([colours, half]), 2, tags=extra, extra=bytes(16))
    np.testing.assert_allclose(read(tmp_path, "a.tif", content), (smooth() + 255.0) / 2, atol=3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_shallow_modes_stay_as_they_are(tmp_path: Path, mode: str, compression: str | None) -> None:
    image = Image.fromarray(smooth()).convert(mode)
    content = saved(image, "TIFF", compression=compression)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_allclose(read(tmp_path, "a.tif", content), expected, atol=2)


def test_a_negative_of_few_bits(tmp_path: Path) -> None:
    content = tiff_of(255 - smooth()[:, :, :1], 0)
    np.testing.assert_array_equal(
        read(tmp_path, "a.tif", content), np.repeat(smooth()[:, :, :1], 3, 2)
    )


def test_a_portable_greymap_of_12_bits(tmp_path: Path) -> None:
    numbers = (GREY * 4095).astype(">u2")
    content = b"P5 64 48 4095\n" + numbers.tobytes()
    assert_like(read(tmp_path, "a.pgm", content), GREY)


@pytest.mark.parametrize("side", [15_000, 60_000])
def test_a_deep_bomb_is_refused_by_its_size(tmp_path: Path, side: int) -> None:
    from indexer.errors import RefusedFile

    content = tiff_of((GREY * 65535).astype("u2"), 1)
    for tag, was in ((256, 64), (257, 48)):
        entry = struct.pack("<HHI", tag, 4, 1)
        content = content.replace(entry + struct.pack("<I", was), entry + struct.pack("<I", side))
    with pytest.raises(RefusedFile, match=f"{side} x {side} pixels.*scale it down"):
        read(tmp_path, "a.tif", content)


def test_high_dynamic_range_is_shown_as_an_ordinary_picture(tmp_path: Path) -> None:
    """As PQ (SMPTE ST 2084), by the equation of its inverse, white being 203 cd/m2."""
    srgb = smooth() / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    power = (linear * 203 / 10_000) ** 0.1593017578125
    coded = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    coded = np.rint(coded * 255).astype(np.uint8)
    whole = saved(coded, "PNG")
    at = whole.index(b"IDAT") - 4
    png = whole[:at] + png_chunk(b"cICP", bytes((1, 16, 0, 1))) + whole[at:]
    np.testing.assert_allclose(read(tmp_path, "a.png", png), smooth(), atol=9)
    avif = saved(coded, "AVIF", quality=100, subsampling="4:4:4")
    at = avif.index(b"colrnclx") + 8
    avif = avif[:at] + struct.pack(">HH", 1, 16) + avif[at + 4 :]
    picture = read(tmp_path, "a.avif", avif)
    assert np.abs(picture - smooth()).mean() < 6
    plain = png_with(png_chunk(b"cICP", bytes((1, 13, 0, 1))))
    np.testing.assert_array_equal(read(tmp_path, "b.png", plain), smooth())
