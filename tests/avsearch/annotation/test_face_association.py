"""The face of each speaker of a video, with images of one colour per person."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from avsearch.annotation.face_association import embed_tracks, match_faces
from avsearch.annotation.render import render_contact_sheet
from avsearch.annotation.resume import SavedTracks
from avsearch.annotation.turns import Turn
from avsearch.media.face_tracks import FaceTrack, FaceView, track_faces
from avsearch.media.faces import Face
from avsearch.media.speech_segments import Span
from avsearch.media.video import Frame
from indexer.types import Box, Media
from tests.helpers.ears import EAR, Ear
from tests.helpers.making import encode

NOWHERE = Path("talk.mp4")
AXES = np.eye(4, dtype=np.float32)
STEP_S = 0.5


def track(times_s: Sequence[float], grey: int = 100) -> FaceTrack:
    crop = np.full((64, 64, 3), grey, np.uint8)
    views = [
        FaceView(Media(NOWHERE, "face", t, box=Box(0, 0, 64, 64), data=crop), 1.0)
        for t in times_s[:2]
    ]
    return FaceTrack(list(times_s), views)


def times(start_s: float, end_s: float) -> list[float]:
    return np.arange(start_s, end_s, STEP_S).tolist()


def test_the_face_that_is_seen_alone_with_a_speaker_is_theirs() -> None:
    turns = [Turn(0, 5, "a"), Turn(5, 10, "b")]
    tracks = [track(times(0, 5)), track(times(5, 9))]
    found = match_faces(turns, tracks, AXES[:2], STEP_S, 0.5)
    assert found["a"].seconds == 5
    assert found["b"].seconds == 4
    np.testing.assert_array_equal(found["b"].vector, AXES[1])
    assert [each.span for each in found["b"].tracks] == [Span(5, 9)]


def test_tracks_that_look_alike_are_one_face() -> None:
    turns = [Turn(0, 4, "a"), Turn(4, 8, "b"), Turn(8, 12, "a")]
    tracks = [track(times(0, 4)), track(times(4, 8)), track(times(8, 12))]
    found = match_faces(turns, tracks, AXES[[0, 1, 0]], STEP_S, 0.5)
    assert found["a"].seconds == 8
    assert [each.span for each in found["a"].tracks] == [Span(0, 4), Span(8, 12)]
    assert [view.start_s for view in found["a"].views] == [0, 8, 0.5, 8.5]


def test_a_listener_who_is_shown_now_and_then_does_not_become_the_speaker() -> None:
    turns = [Turn(0, 10, "a"), Turn(10, 20, "b")]
    tracks = [track(times(0, 7)), track(times(7, 10)), track(times(10, 18)), track(times(18, 20))]
    found = match_faces(turns, tracks, AXES[[0, 1, 1, 0]], STEP_S, 0.5)
    np.testing.assert_array_equal(found["a"].vector, AXES[0])
    np.testing.assert_array_equal(found["b"].vector, AXES[1])


def test_faces_seen_together_say_nothing() -> None:
    turns = [Turn(0, 5, "a")]
    assert match_faces(turns, [track(times(0, 5)), track(times(0, 5))], AXES[:2], STEP_S, 0.5) == {}


def test_speech_of_two_at_once_says_nothing() -> None:
    turns = [Turn(0, 5, "a"), Turn(0, 5, "b")]
    assert match_faces(turns, [track(times(0, 5))], AXES[:1], STEP_S, 0.5) == {}


def test_a_glimpse_is_not_enough_nor_a_face_among_many() -> None:
    assert match_faces([Turn(0, 5, "a")], [track([1.0])], AXES[:1], STEP_S, 0.5) == {}
    three = [track(times(0, 2)), track(times(2, 4)), track(times(4, 6))]
    assert match_faces([Turn(0, 6, "a")], three, AXES[:3], STEP_S, 0.5) == {}
    assert match_faces([Turn(0, 6, "a")], [], AXES[:0], STEP_S, 0.5) == {}


def test_a_face_belongs_to_one_speaker() -> None:
    turns = [Turn(0, 5, "a"), Turn(5, 12, "off")]
    found = match_faces(turns, [track(times(0, 12))], AXES[:1], STEP_S, 0.5)
    assert list(found) == ["off"]


class Detector:
    """Returns given boxes, frame by frame."""

    def __init__(self, boxes: Sequence[Sequence[Box]]) -> None:
        self._boxes = iter(boxes)

    def detect(self, rgb: np.ndarray) -> list[Face]:
        return [Face(box, 0.999) for box in next(self._boxes)]


def frames(greys: Sequence[int]) -> list[Frame]:
    return [Frame(STEP_S * n, np.full((200, 300, 3), g, np.uint8)) for n, g in enumerate(greys)]


def followed(greys: Sequence[int], boxes: Sequence[Sequence[Box]]) -> list[list[float]]:
    found = track_faces(NOWHERE, frames(greys), Detector(boxes))
    return sorted(each.times_s for each in found)


HERE, NEAR, THERE, TINY = (
    Box(10, 10, 110, 110),
    Box(30, 20, 130, 120),
    Box(180, 50, 280, 150),
    Box(10, 10, 30, 30),
)


@pytest.mark.parametrize(
    ("greys", "boxes", "expected"),
    [
        ([90, 90, 90], [[HERE], [NEAR], [HERE]], [[0, 0.5, 1.0]]),
        ([90, 90, 90], [[HERE], [THERE], [THERE]], [[0], [0.5, 1.0]]),
        ([90, 90, 90], [[HERE], [], [HERE]], [[0], [1.0]]),
        ([90, 90, 200], [[HERE], [HERE], [HERE]], [[0, 0.5], [1.0]]),
        ([90, 90], [[HERE, THERE], [THERE, NEAR]], [[0, 0.5], [0, 0.5]]),
        ([90, 90], [[HERE], [HERE, NEAR]], [[0, 0.5], [0.5]]),
        ([90], [[TINY]], []),
        ([], [], []),
    ],
)
def test_a_face_is_followed_while_it_stays_and_looks_the_same(
    greys: Sequence[int], boxes: Sequence[Sequence[Box]], expected: list[list[float]]
) -> None:
    assert followed(greys, boxes) == expected


def test_the_largest_views_of_a_track_are_kept_with_where_they_are() -> None:
    boxes = [[Box(10, 10, 60 + 5 * n, 60 + 5 * n)] for n in range(9)]
    (found,) = track_faces(NOWHERE, frames([90] * 9), Detector(boxes))
    assert [view.media.start_s for view in found.views] == [4.0, 3.5, 3.0, 2.5, 2.0]
    assert found.views[0].media.box == boxes[-1][0]
    assert (found.start_s, found.end_s) == (0, 4.0)


def video_of(path: Path, greys: Sequence[int]) -> Path:
    """A frame a second of each grey."""
    return encode(path, frames=[np.full((96, 96, 3), grey, np.uint8) for grey in greys], fps=1)


def whole(count: int) -> Detector:
    return Detector([[Box(10, 10, 80, 80)]] * count)


def test_a_track_is_the_mean_of_its_views_and_lets_go_of_its_pictures(tmp_path: Path) -> None:
    video = video_of(tmp_path / "a.mp4", [220] * 4 + [30] * 4)
    found = list(embed_tracks(video, Ear(), whole(8)))
    assert [track.times_s for track, _ in found] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert found[0][1] @ found[1][1] < 0
    for track, vector in found:
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        assert all(view.media.data is None for view in track.views)


def test_a_stopped_look_goes_on_where_it_was(tmp_path: Path) -> None:
    video = video_of(tmp_path / "a.mp4", [220] * 70 + [30] * 60)
    expected = list(embed_tracks(video, Ear(), whole(130)))
    assert [len(track.times_s) for track, _ in expected] == [60, 10, 50, 10]
    kept = tmp_path / "kept"
    with suppress(KeyboardInterrupt), SavedTracks(kept, video, EAR, "a") as keeper:
        for track, _ in embed_tracks(video, Ear(), whole(130), keeper):
            if track.start_s >= 60:
                raise KeyboardInterrupt
    with kept.open("a") as file:
        file.write('{"until": 180.0, "tra')  # what a stop in the middle of a line leaves
    with SavedTracks(kept, video, EAR, "a") as keeper:
        assert keeper.until_s == 120
        found = list(embed_tracks(video, Ear(), whole(10), keeper))
    assert [track.times_s for track, _ in found] == [track.times_s for track, _ in expected]
    for (_, vector), (_, as_before) in zip(found, expected, strict=True):
        np.testing.assert_allclose(vector, as_before, atol=1e-6)
    assert not kept.exists()


def test_faces_of_another_video_are_not_used(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for about in ("a", "b"):
        with suppress(KeyboardInterrupt), SavedTracks(kept, NOWHERE, EAR, about) as keeper:
            assert (keeper.tracks, keeper.until_s) == ([], 0.0)
            keeper.add(60.0, [(track([1.0]), AXES[0])])
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (144, 128)), (4, (144, 512)), (8, (288, 768)), (30, (576, 768))]
)
def test_a_contact_sheet_shows_the_views_by_time(count: int, shape: tuple[int, int]) -> None:
    import io

    from PIL import Image

    views = [
        Media(NOWHERE, "face", 30.0 - n, data=np.full((50, 50, 3), 7 * n, np.uint8))
        for n in range(count)
    ]
    sheet = np.asarray(Image.open(io.BytesIO(render_contact_sheet(views))))
    assert sheet.shape[:2] == shape
    assert sheet[64, 64, 0] == 7 * (min(count, 24) - 1)  # the earliest comes first
