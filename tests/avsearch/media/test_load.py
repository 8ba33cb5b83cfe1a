from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avsearch.media import MediaExtractor, load_media
from indexer.errors import BadRequest, RefusedFile
from indexer.types import Box, Media
from tests.helpers.making import encode, tone, write_wav


def test_decoded_data_is_taken_as_it_is() -> None:
    data = np.zeros((5, 5, 3), np.uint8)
    assert load_media(Media(Path("gone.jpg"), "face", data=data)) is data


@pytest.mark.parametrize("faces", ["detect", "whole"])
def test_what_was_extracted_is_loaded_again(test_data: Path, faces: str) -> None:
    """An item is embedded the same way when it is indexed and when it is asked with."""
    for path in [
        min((test_data / "ravdess").glob("*/face.png")),
        min((test_data / "librispeech").glob("*/*.ogg")),
        min((test_data / "grid").glob("*/*.mpg")),
    ]:
        for item in MediaExtractor(faces).extract(path):
            again = load_media(dataclasses.replace(item, data=None))
            np.testing.assert_array_equal(again, item.data)


def test_a_picture_without_a_box_is_taken_whole(tmp_path: Path) -> None:
    Image.new("RGB", (512, 300)).save(tmp_path / "a.png")
    assert load_media(Media(tmp_path / "a.png", "face")).shape == (150, 256, 3)


def test_a_box_is_cropped(tmp_path: Path) -> None:
    Image.new("RGB", (300, 300)).save(tmp_path / "a.png")
    media = Media(tmp_path / "a.png", "face", box=Box(100, 100, 200, 200))
    assert load_media(media).shape == (148, 148, 3)


@pytest.mark.parametrize("box", [Box(0, 0, 301, 10), Box(-1, 0, 9, 9), Box(9, 9, 9, 20)])
def test_a_box_outside_of_the_picture_is_a_bad_request(tmp_path: Path, box: Box) -> None:
    Image.new("RGB", (300, 300)).save(tmp_path / "a.png")
    with pytest.raises(BadRequest, match=r"a\.png: the box .* 300 x 300"):
        load_media(Media(tmp_path / "a.png", "face", box=box))


def test_a_range_of_time_is_cut_out(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(440, 16_000, 3))
    assert load_media(Media(path, "voice", 1, 2.5)).shape == (24_000,)
    assert load_media(Media(path, "voice")).shape == (48_000,)
    with pytest.raises(BadRequest, match="audio ends"):
        load_media(Media(path, "voice", 5, 6))


def test_a_face_of_a_video_is_its_frame(tmp_path: Path) -> None:
    frames = [np.full((64, 96, 3), level, np.uint8) for level in (0, 80, 160, 240)]
    path = encode(tmp_path / "a.mp4", frames=frames, fps=1)
    assert load_media(Media(path, "face", 2.0)).mean() == pytest.approx(160, abs=8)
    with pytest.raises(BadRequest, match="no frame at 9 s"):
        load_media(Media(path, "face", 9.0))


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match="no such file"):
        load_media(Media(tmp_path / "gone.wav", "voice"))
