from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from avsearch.media.faces import MARGIN, UPWARD_SHIFT, FaceDetector, crop_face
from avsearch.media.images.read import read_image
from avsearch.media.video import sample_frames
from indexer.types import Box


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


def coordinates(height: int, width: int) -> np.ndarray:
    """An image with its coordinates as pixels: (row, column, 0)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


def test_the_crop_is_a_square_around_the_box() -> None:
    crop = crop_face(coordinates(200, 200), Box(80, 70, 120, 130), margin=0.5)
    side = round(1.5 * math.sqrt(40 * 60))
    assert crop.shape == (side, side, 3)
    top, left = crop[0, 0, :2]
    assert left + side / 2 == pytest.approx(100, abs=1)
    assert top + side / 2 == pytest.approx(100 - UPWARD_SHIFT * 60, abs=1)


def test_beyond_the_picture_its_edge_is_repeated() -> None:
    crop = crop_face(coordinates(60, 60), Box(0, 0, 40, 40), margin=1.0)
    assert crop.shape == (80, 80, 3)
    assert crop[0, 0, 0] == crop[15, 0, 0] == 0
    assert crop[-1, -1, 1] == 59


def test_a_crop_is_a_copy() -> None:
    picture = coordinates(60, 60)
    crop_face(picture, Box(10, 10, 50, 50), margin=0.0)[:] = 255
    np.testing.assert_array_equal(picture, coordinates(60, 60))


@pytest.mark.parametrize("shape", [(16, 16), (31, 400), (33, 33), (20, 3000)])
def test_small_and_thin_pictures_have_no_face(
    detector: FaceDetector, shape: tuple[int, int]
) -> None:
    assert detector.detect(np.full((*shape, 3), 127, np.uint8)) == []


def test_noise_has_no_face(detector: FaceDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    assert detector.detect(noise) == []


def test_one_face_in_a_still_and_in_a_frame(
    detector: FaceDetector, portrait: np.ndarray, test_data: Path
) -> None:
    still = read_image(test_data / "ravdess" / "Actor_01" / "face.png")
    frame = next(sample_frames(min((test_data / "grid").glob("*/*.mpg")))).rgb
    for picture in (portrait, still, frame):
        (face,) = detector.detect(picture)
        assert face.probability > 0.99
        assert 0 <= face.box.left < face.box.right <= picture.shape[1]
        assert 0 <= face.box.top < face.box.bottom <= picture.shape[0]


def test_faces_come_largest_first(detector: FaceDetector, portrait: np.ndarray) -> None:
    small = np.zeros_like(portrait)
    small[:125, :125] = portrait[::2, ::2]
    faces = detector.detect(np.concatenate([small, portrait], axis=1))
    assert len(faces) == 2
    assert faces[0].box.left > 250 > faces[1].box.right


def test_a_large_picture_is_searched_scaled_down(
    detector: FaceDetector, portrait: np.ndarray
) -> None:
    (face,) = detector.detect(portrait)
    (large,) = detector.detect(portrait.repeat(7, axis=0).repeat(7, axis=1))
    np.testing.assert_allclose(np.divide(large.box, 7), face.box, atol=8)


def test_threads_share_a_detector(portrait: np.ndarray) -> None:
    fresh = FaceDetector()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fresh.detect, [portrait] * 6))
    for faces in found:
        np.testing.assert_allclose(faces[0].box, found[0][0].box, atol=1e-3)


def test_crops_show_a_face_as_the_training_pictures_do(
    detector: FaceDetector, test_data: Path
) -> None:
    """On average the middle 160 x 160 of LFW's 250 x 250 deep-funneled pictures."""
    sides, above, beside = [], [], []
    for path in sorted((test_data / "lfw_full").glob("*/*.jpg"))[::43]:
        box = max((face.box for face in detector.detect(read_image(path))), key=nearness)
        width, height = box.right - box.left, box.bottom - box.top
        sides.append((1 + MARGIN) * math.sqrt(width * height))
        above.append((box.top + box.bottom) / 2 - UPWARD_SHIFT * height)
        beside.append((box.left + box.right) / 2)
    assert len(sides) == 13
    assert np.mean(sides) == pytest.approx(160, abs=6)
    assert np.mean(above) == pytest.approx(125, abs=3)
    assert np.mean(beside) == pytest.approx(125, abs=6)


def nearness(box: Box) -> float:
    return -math.hypot((box.left + box.right) / 2 - 125, (box.top + box.bottom) / 2 - 125)
