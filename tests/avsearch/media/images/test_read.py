from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from avsearch.media.images.pixels import shrink
from avsearch.media.images.read import read_image
from indexer.errors import RefusedFile
from tests.helpers.distributions import install

RED = (200, 30, 40)


def two_halves() -> Image.Image:
    """Red on the left, blue on the right, 48 x 32."""
    image = Image.new("RGB", (48, 32), RED)
    image.paste((20, 40, 220), (24, 0, 48, 32))
    return image


LOSSLESS = ["png", "bmp", "tif", "ppm", "webp", "gif", "tga", "ico", "pcx"]
LOSSY = ["jpg", "avif", "jp2"]


@pytest.mark.parametrize("suffix", LOSSLESS + LOSSY)
def test_reads_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    options |= {"sizes": [(48, 32)]} if suffix == "ico" else {}
    two_halves().save(path, **options)
    rgb = read_image(path)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (32, 48, 3)
    np.testing.assert_allclose(rgb[16, 5], RED, atol=0 if suffix in LOSSLESS else 25)
    np.testing.assert_allclose(rgb[16, 42], (20, 40, 220), atol=0 if suffix in LOSSLESS else 25)


def heif(path: Path) -> Path:
    pillow_heif.from_pillow(two_halves()).save(path)
    return path


def test_reads_what_telephones_photograph(tmp_path: Path) -> None:
    rgb = read_image(heif(tmp_path / "a.heic"))
    assert rgb.shape == (32, 48, 3)
    np.testing.assert_allclose(rgb[16, 5], RED, atol=25)


def test_says_what_heic_needs_and_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = heif(tmp_path / "a.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(RefusedFile, match=r"pip install 'avsearch\[heif\]'") as caught:
        read_image(path)
    assert not caught.value.permanent


@pytest.mark.parametrize("kind", ["ImportError", "OSError", "RuntimeError"])
def test_says_so_where_what_reads_heic_does_not_load(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = heif(tmp_path / "a.heic")
    code = f"raise {kind}('/l/libheif.so: undefined symbol: f')"
    install(tmp_path / "libraries", "pillow-heif", "99.1", {"pillow_heif.py": code})
    monkeypatch.delitem(sys.modules, "pillow_heif")
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "libraries")
    with pytest.raises(RefusedFile, match=r"pillow-heif 99\.1 does not load .*symbol: f") as caught:
        read_image(path)
    assert not caught.value.permanent


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    two_halves().save(path, "PNG")
    assert read_image(path).shape == (32, 48, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:8, :8] = 255  # a mark in the top left corner
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), upright)


def test_a_damaged_exif_block_harms_nothing(tmp_path: Path) -> None:
    two_halves().save(tmp_path / "a.png", exif=b"Exif\x00\x00not a tag block at all")
    assert read_image(tmp_path / "a.png").shape == (32, 48, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (32, 32), (*RED, 0))
    image.paste((10, 20, 30, 255), (0, 0, 16, 32))
    image.convert(mode).save(tmp_path / "a.png")
    rgb = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb[0, 31], (255, 255, 255))
    assert rgb[0, 0].max() < 40


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (32, 32), 1)
    image.putpalette([0, 0, 0, *RED])
    image.paste(0, (0, 0, 16, 32))
    image.save(tmp_path / "a.png", transparency=0)
    rgb = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb[0, 0], (255, 255, 255))
    np.testing.assert_array_equal(rgb[0, 31], RED)


@pytest.mark.parametrize(
    ("mode", "white", "suffix"),
    [
        ("1", 1, "png"),
        ("L", 255, "png"),
        ("CMYK", (0, 0, 0, 0), "jpg"),
        ("YCbCr", (255, 128, 128), "jpg"),
        ("LAB", (255, 128, 128), "tif"),
    ],
)
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, white: Any, suffix: str) -> None:
    Image.new(mode, (32, 32), white).save(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(read_image(tmp_path / f"a.{suffix}"), 255, atol=2)


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    two_halves().convert("CMYK").save(tmp_path / "a.jpg", quality=95)  # Adobe, stored inverted
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[16, 5], RED, atol=12)


@pytest.mark.parametrize("kind", ["uint16 png", "uint16 tif", "int32 tif", "float32 tif"])
def test_deep_grey_is_scaled_not_clipped(tmp_path: Path, kind: str) -> None:
    dtype, suffix = kind.split()
    ramp = np.tile(np.linspace(0, 60_000, 64), (32, 1)).astype(dtype)
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}")
    rgb = read_image(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(rgb[0, :, 0], np.linspace(0, 255, 64), atol=1)


def test_flat_deep_grey_has_no_range_to_scale(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 7, np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").max() == 0


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_the_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    first, second = Image.new("RGB", (32, 32), "black"), Image.new("RGB", (32, 32), "white")
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[second], duration=100)
    assert read_image(tmp_path / f"a.{suffix}").max() <= 2


def test_what_is_read_may_be_written_to(tmp_path: Path) -> None:
    two_halves().save(tmp_path / "a.png")
    read_image(tmp_path / "a.png")[0, 0] = 0


def png_bomb(path: Path, side: int) -> Path:
    """A 1-bit PNG of side x side pixels in a few kB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("side", [15_000, 60_000])
def test_a_decompression_bomb_is_refused_unopened(tmp_path: Path, side: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(RefusedFile, match=f"{side} x {side} pixels.*scale it down"):
        read_image(png_bomb(tmp_path / "a.png", side))
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_large_photograph_is_read_without_a_warning(tmp_path: Path) -> None:
    Image.new("1", (12_000, 8_000)).save(tmp_path / "a.png")  # beyond Pillow's own 89 megapixels
    assert read_image(tmp_path / "a.png").shape == (8_000, 12_000, 3)


def test_refuses_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(RefusedFile, match="empty"):
        read_image(tmp_path / "a.jpg")


def test_refuses_text(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("This is a letter, not a picture.\n" * 20)
    with pytest.raises(RefusedFile, match="not an image"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
def test_refuses_a_file_cut_short(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a.{suffix}")
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RefusedFile, match=r"cut short|damaged"):
        read_image(tmp_path / f"a.{suffix}")


def test_refuses_a_thumbnail(tmp_path: Path) -> None:
    Image.new("RGB", (40, 12)).save(tmp_path / "a.png")
    with pytest.raises(RefusedFile, match="40 x 12 pixels are too few"):
        read_image(tmp_path / "a.png")


def test_never_runs_a_postscript_program(tmp_path: Path) -> None:
    two_halves().save(tmp_path / "a.jpg", "EPS")
    with pytest.raises(RefusedFile, match="not an image"):
        read_image(tmp_path / "a.jpg")


def test_refuses_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match="not a plain file"):
        read_image(tmp_path)
    with pytest.raises(RefusedFile, match="no such file") as caught:
        read_image(tmp_path / "gone.jpg")
    assert not caught.value.permanent


def test_shrink_keeps_the_shape_and_never_enlarges() -> None:
    assert shrink(np.zeros((400, 1000, 3), np.uint8), 100).shape == (40, 100, 3)
    assert shrink(np.zeros((3, 1000, 3), np.uint8), 100).shape == (1, 100, 3)
    small = np.zeros((40, 50, 3), np.uint8)
    assert shrink(small, 100) is small
