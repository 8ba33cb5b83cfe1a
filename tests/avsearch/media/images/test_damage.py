"""Damaged images are used as far as they decode, with a note."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avsearch.media.images.read import read_image
from indexer.errors import RefusedFile
from tests.helpers.pictures import png_of, saved, smooth

LARGE = smooth(200, 160)
BY_ROWS = {
    "png": lambda: saved(LARGE, "PNG"),
    "bmp": lambda: saved(LARGE, "BMP"),
    "tif": lambda: saved(LARGE, "TIFF"),
    "ppm": lambda: saved(LARGE, "PPM"),
    "tga": lambda: saved(LARGE, "TGA"),
    "jpg": lambda: saved(LARGE, "JPEG", quality=95),
    "deep.png": lambda: png_of(LARGE.astype("u2") * 257),
    "cmyk.jpg": lambda: saved(Image.fromarray(LARGE).convert("CMYK"), "JPEG", quality=95),
}


def read(path: Path, content: bytes) -> tuple[np.ndarray, list[str]]:
    path.write_bytes(content)
    notes: list[str] = []
    return read_image(path, on_note=notes.append).astype(int), notes


@pytest.mark.parametrize("name", BY_ROWS)
def test_the_rows_that_are_there_are_used(tmp_path: Path, name: str) -> None:
    whole = BY_ROWS[name]()
    undamaged, notes = read(tmp_path / f"whole.{name}", whole)
    assert notes == []
    picture, notes = read(tmp_path / f"cut.{name}", whole[: int(0.9 * len(whole))])
    assert picture.shape == undamaged.shape
    same = (picture == undamaged).all(axis=(1, 2))
    assert 0.8 <= same.mean() < 1
    (note,) = notes
    assert "cut short or damaged" in note
    said = int(note.split("%")[0].split()[-1]) / 100
    assert said == pytest.approx(same.mean(), abs=0.06)
    lost = np.flatnonzero(~same)
    beside = np.flatnonzero(same)[[0, -1]]
    for row in (lost[0], lost[-1]):  # they repeat the nearest row
        assert min(np.abs(picture[row] - picture[at]).max() for at in beside) <= 60


@pytest.mark.parametrize("name", BY_ROWS)
def test_less_than_three_quarters_are_refused(tmp_path: Path, name: str) -> None:
    whole = BY_ROWS[name]()
    with pytest.raises(RefusedFile, match="damaged or cut short"):
        read(tmp_path / f"cut.{name}", whole[: int(0.6 * len(whole))])


@pytest.mark.parametrize("place", [0.8, 0.85, 0.9, 0.95])
def test_a_damaged_stream_is_used_and_noted_whether_or_not_the_decoder_sees_it(
    tmp_path: Path, place: float
) -> None:
    whole = saved(LARGE, "PNG")
    at = int(place * len(whole))
    picture, notes = read(tmp_path / "a.png", whole[:at] + bytes(40) + whole[at + 40 :])
    assert (picture == LARGE).all(axis=(1, 2)).mean() > 0.75
    (note,) = notes
    assert "damaged" in note


def test_a_wrong_sum_at_the_very_end_costs_a_row_at_most(tmp_path: Path) -> None:
    whole = saved(LARGE, "PNG")
    picture, notes = read(tmp_path / "a.png", whole[:-20] + bytes(4) + whole[-16:])
    np.testing.assert_array_equal(picture[:-1], LARGE[:-1])
    assert len(notes) == 1


def test_a_progressive_jpeg_is_used_once_all_of_it_is_there_coarsely(tmp_path: Path) -> None:
    noisy = LARGE + np.random.default_rng(0).normal(0, 9, LARGE.shape)
    whole = saved(np.clip(noisy, 0, 255).astype(np.uint8), "JPEG", quality=95, progressive=True)
    undamaged, _ = read(tmp_path / "whole.jpg", whole)
    picture, notes = read(tmp_path / "a.jpg", whole[: int(0.9 * len(whole))])
    assert np.abs(picture - undamaged).mean() < 3
    assert notes == ["it is cut short; its finest details are missing."]
    with pytest.raises(RefusedFile, match="damaged or cut short"):
        read(tmp_path / "b.jpg", whole[: int(0.2 * len(whole))])


def test_the_first_frame_of_an_animation_that_is_cut_behind_it(tmp_path: Path) -> None:
    frames = [Image.fromarray(LARGE).rotate(90 * n) for n in range(4)]
    for kind in ("WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        whole = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        picture, notes = read(tmp_path / f"a.{kind}", whole[: int(0.7 * len(whole))])
        np.testing.assert_array_equal(picture, LARGE)
        assert notes == []


def test_only_the_first_of_several_pictures_in_a_jpeg(tmp_path: Path) -> None:
    second = [Image.fromarray(255 - LARGE)]
    whole = saved(Image.fromarray(LARGE), "MPO", save_all=True, append_images=second, quality=95)
    plain, _ = read(tmp_path / "a.jpg", saved(LARGE, "JPEG", quality=95))
    for name, content in (("a.mpo", whole), ("b.mpo", whole[: int(0.8 * len(whole))])):
        picture, notes = read(tmp_path / name, content)
        np.testing.assert_array_equal(picture, plain)
        assert notes == []


def test_a_deep_tiff_that_is_cut_short(tmp_path: Path) -> None:
    whole = saved(LARGE[:, :, 0].astype("u2") * 257, "TIFF")
    undamaged, _ = read(tmp_path / "whole.tif", whole)
    picture, notes = read(tmp_path / "cut.tif", whole[: int(0.9 * len(whole))])
    assert np.abs(picture[:170] - undamaged[:170]).max() <= 3  # what is lost changes the range
    assert len(notes) == 1
