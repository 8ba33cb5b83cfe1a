from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from avsearch.media.containers.display_matrix import upright
from avsearch.media.video import sample_frames
from tests.helpers.making import record

EIGHT = [(turned, mirrored) for turned, mirrored in itertools.product(range(4), [False, True])]
ONE = 1 << 16


def as_stored(shown: NDArray[np.uint8], matrix: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the stored image that a display matrix shows as ``shown``, point by point."""
    a, b, _, c, d = matrix[:5]
    height, width = shown.shape[:2] if b == 0 else shown.shape[1::-1]
    points = {(x, y): (a * x + c * y, b * x + d * y) for x in range(width) for y in range(height)}
    left, top = (min(place[axis] for place in points.values()) for axis in (0, 1))
    stored = np.empty((height, width, 3), np.uint8)
    for (x, y), (across, down) in points.items():
        stored[y, x] = shown[down - top, across - left]
    return stored


def matrix_of(turned: int, mirrored: bool) -> tuple[int, ...]:
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][turned]
    flip = -1 if mirrored else 1
    return (flip * cos, flip * sin, 0, -sin, cos, 0, 0, 0, 1)


@pytest.mark.parametrize(("turned", "mirrored"), EIGHT)
def test_every_turn_and_mirror_is_undone(turned: int, mirrored: bool) -> None:
    shown = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    matrix = matrix_of(turned, mirrored)
    np.testing.assert_array_equal(upright(as_stored(shown, matrix), matrix), shown)


def test_a_matrix_of_zeros_changes_nothing() -> None:
    shown = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(upright(shown, [0] * 9), shown)


def set_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Write a display matrix into the header of a video track of MP4."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    scaled = [value * ONE for value in matrix[:8]] + [1 << 30]
    content[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in scaled)
    path.write_bytes(content)


def picture() -> NDArray[np.uint8]:
    """Four corners that no turn and no mirror leaves where they are."""
    shown = np.full((64, 96, 3), 128, np.uint8)
    shown[:24, :24], shown[:24, -24:] = (255, 0, 0), (0, 255, 0)
    shown[-24:, :24], shown[-24:, -24:] = (0, 0, 255), (255, 255, 255)
    return shown


@pytest.mark.parametrize(("turned", "mirrored"), EIGHT)
@pytest.mark.parametrize("wider", [1, 2])
def test_a_video_is_seen_as_it_is_played(
    tmp_path: Path, turned: int, mirrored: bool, wider: int
) -> None:
    """Pixels that are wider than high are so in the picture that is stored."""
    matrix = matrix_of(turned, mirrored)
    stored = np.ascontiguousarray(as_stored(picture(), matrix)[:, ::wider])
    path = record(tmp_path / "a.mp4", pictures=[[stored] * 10], aspect=Fraction(wider))
    set_matrix(path, matrix)
    with av.open(str(path)) as file:
        assert file.streams.video[0].sample_aspect_ratio == wider
    frame = next(sample_frames(path)).rgb
    assert frame.shape == (64, 96, 3)
    for corner in (np.ix_([8, -8], [8, -8]),):
        np.testing.assert_allclose(frame[corner], picture()[corner], atol=60)
