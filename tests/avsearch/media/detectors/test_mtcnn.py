"""MTCNN by NumPy and onnxruntime, beside plain loops and beside facenet-pytorch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torchvision.ops import nms

from avsearch.media.detectors.mtcnn import Areas, Mtcnn, suppress
from avsearch.media.faces import MIN_FACE_PX, FaceDetector
from avsearch.media.images.read import read_image
from indexer.errors import LibraryUnusable

ONNX = Mtcnn(MIN_FACE_PX)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """MTCNN of facenet-pytorch."""
    package = pytest.importorskip("facenet_pytorch")
    return package.MTCNN(keep_all=True, min_face_size=MIN_FACE_PX).eval()


def assert_same_faces(rgb: np.ndarray, theirs: Any) -> int:
    """Return the number of faces that both find, within a pixel and 1e-3 in probability."""
    corners, probabilities = ONNX.detect(rgb)
    with torch.inference_mode():
        wanted, likely = theirs.detect(rgb)
    if wanted is None:
        assert len(corners) == 0
        return 0
    assert len(corners) == len(wanted)
    np.testing.assert_allclose(corners, wanted.astype(np.float64), atol=1)
    np.testing.assert_allclose(probabilities, likely.astype(np.float64), atol=1e-3)
    return len(corners)


def test_it_finds_what_facenet_pytorch_finds(theirs: Any, test_data: Path) -> None:
    paths = sorted((test_data / "lfw_full").glob("*/*.jpg"))[::34]
    found = [assert_same_faces(read_image(path), theirs) for path in paths]
    assert sum(found) > len(found) >= 15  # some with nobody else, some with somebody behind


def test_so_it_does_in_a_large_picture_of_many(theirs: Any, test_data: Path) -> None:
    paths = sorted((test_data / "lfw_full").glob("*/*.jpg"))[::40][:12]
    rows = [np.concatenate([read_image(p) for p in paths[at : at + 4]], 1) for at in (0, 4, 8)]
    assert assert_same_faces(np.concatenate(rows)[:711, :997], theirs) >= 12


@pytest.mark.parametrize("shape", [(40, 40), (32, 900), (33, 57)])
def test_where_nobody_is_nobody_is_found(theirs: Any, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert assert_same_faces(noise, theirs) == 0
    assert assert_same_faces(np.zeros_like(noise), theirs) == 0


sides = st.integers(1, 40)


@settings(max_examples=40)
@given(height=sides, width=sides, to_height=sides, to_width=sides, seed=st.integers(0, 9))
def test_a_picture_is_resized_by_the_means_of_its_areas(height, width, to_height, to_width, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    found = Areas(rgb).resize(to_height, to_width)
    pixels = torch.from_numpy(rgb).movedim(2, 0)[None].double()
    wanted = functional.interpolate(pixels, size=(to_height, to_width), mode="area")
    np.testing.assert_allclose(found, (wanted - 127.5) / 128, atol=1e-6)


@settings(max_examples=30)
@given(data=st.data())
def test_boxes_are_cut_as_small_pictures_would_be_resized(data):
    rgb = np.random.default_rng(1).integers(0, 256, (30, 50, 3), np.uint8)
    boxes = []
    for _ in range(data.draw(st.integers(1, 4))):
        left, top = data.draw(st.integers(0, 48)), data.draw(st.integers(0, 28))
        right, bottom = data.draw(st.integers(left + 1, 50)), data.draw(st.integers(top + 1, 30))
        boxes.append((left, top, right, bottom))
    found = Areas(rgb).crop(np.array(boxes), 24)
    for (left, top, right, bottom), cut in zip(boxes, found, strict=True):
        alone = Areas(rgb[top:bottom, left:right]).resize(24, 24)[0]
        np.testing.assert_allclose(cut, alone, atol=1e-6)


def plain_suppress(corners, scores, overlap, of_smaller):
    """By the definition, box by box."""
    edge = 1.0 if of_smaller else 0.0
    kept = []
    for at in sorted(range(len(scores)), key=lambda at: -scores[at]):
        left, top, right, bottom = corners[at]
        own = (right - left + edge) * (bottom - top + edge)
        for other in kept:
            a, b, c, d = corners[other]
            width = max(0.0, min(right, c) - max(left, a) + edge)
            height = max(0.0, min(bottom, d) - max(top, b) + edge)
            size = (c - a + edge) * (d - b + edge)
            whole = min(own, size) if of_smaller else own + size - width * height
            if width * height > overlap * whole:
                break
        else:
            kept.append(at)
    return kept


@settings(max_examples=60)
@given(
    n=st.integers(0, 30),
    seed=st.integers(0, 999),
    overlap=st.sampled_from([0.3, 0.5, 0.7]),
    of_smaller=st.booleans(),
)
def test_of_boxes_that_overlap_the_likeliest_is_kept(n, seed, overlap, of_smaller):
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 40, (n, 2))
    corners = np.concatenate([first, first + rng.uniform(1, 40, (n, 2))], 1).astype(np.float32)
    scores = rng.permutation(n).astype(np.float32) / 100
    found = suppress(corners, scores, overlap, of_smaller=of_smaller)
    assert found.tolist() == plain_suppress(corners.tolist(), scores, overlap, of_smaller)
    if not of_smaller:
        theirs = nms(torch.from_numpy(corners), torch.from_numpy(scores), overlap)
        assert found.tolist() == theirs.tolist()


def test_where_onnxruntime_is_missing_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(LibraryUnusable, match=r"faces .*pip install 'avsearch\[search\]'"):
        FaceDetector().detect(np.zeros((64, 64, 3), np.uint8))
