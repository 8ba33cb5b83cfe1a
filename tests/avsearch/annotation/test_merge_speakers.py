from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avsearch.annotation.identification.clustering import equal_odds_score
from avsearch.annotation.merge_speakers import MergeBySpeaker
from avsearch.calibration import calibrations_of
from avsearch.media import MediaExtractor, read_audio
from avsearch.media.speech_segments import MAX_SEGMENT_S
from avsearch.models import load_model
from avsearch.runtime.weights import find_weights, model_record
from indexer.records import NewItem
from indexer.types import Box
from tests.helpers.making import encode

AXES = np.eye(3, dtype=np.float32)
VIDEO = Path("a.mp4")
JOIN = MergeBySpeaker(0.5)


def window(at: float, seconds: float, vector: np.ndarray, person: str = "ann") -> NewItem:
    return NewItem(person, "voice", at, at + seconds, None, vector)


def test_a_speaker_is_one_item_where_they_speak_longest() -> None:
    windows = [
        window(0.0, 2.0, AXES[0]),
        window(2.2, 3.0, AXES[0]),
        window(6.0, 3.0, AXES[1]),
        window(9.5, 1.0, AXES[0]),
    ]
    one, other = JOIN(VIDEO, windows)
    assert [(each.start_s, each.end_s) for each in (one, other)] == [(0.0, 5.2), (6.0, 9.0)]
    np.testing.assert_allclose(one.vector, AXES[0], atol=1e-6)
    np.testing.assert_allclose(other.vector, AXES[1], atol=1e-6)
    assert {each.person for each in (one, other)} == {"ann"}


@given(st.floats(0.1, 10))
def test_the_vector_is_the_mean_by_length_and_as_long_as_the_windows(length: float) -> None:
    near = (AXES[0] + AXES[1]) / np.sqrt(2)
    windows = [window(0, 3, length * AXES[0]), window(4, 1, length * near)]
    (item,) = JOIN(VIDEO, windows)
    mean = 3 * AXES[0] + near
    np.testing.assert_allclose(item.vector, length * mean / np.linalg.norm(mean), rtol=1e-5)


def test_a_cough_is_no_speaker_where_somebody_speaks() -> None:
    cough, speech = window(0.0, 0.3, AXES[1]), window(1.0, 3.0, AXES[0])
    (item,) = JOIN(VIDEO, [cough, speech])
    assert (item.start_s, item.end_s) == (1.0, 4.0)
    (item,) = JOIN(VIDEO, [cough, window(0.4, 0.1, AXES[1])])
    assert (item.start_s, item.end_s) == (0.0, 0.5)


def test_a_long_speech_is_shown_by_its_first_seconds() -> None:
    windows = [window(3.0 * at, 3.0, AXES[0]) for at in range(9)]
    (item,) = JOIN(VIDEO, windows)
    assert (item.start_s, item.end_s) == (0.0, MAX_SEGMENT_S)


def test_faces_and_the_only_window_stay_what_they_are() -> None:
    face = NewItem("ann", "face", 1.0, None, Box(0, 0, 9, 9), AXES[2])
    only = window(0.5, 2.0, 3 * AXES[0])
    assert JOIN(VIDEO, [only, face]) == [face, only]


def test_windows_of_two_people_of_the_index_are_not_joined() -> None:
    windows = [window(0, 2, AXES[0]), window(0, 2, AXES[0], "bob")]
    assert sorted(item.person for item in JOIN(VIDEO, windows)) == ["ann", "bob"]


def test_a_sound_keeps_its_stretches() -> None:
    stretches = [window(0, 9, AXES[0]), window(10, 9, AXES[0])]
    assert JOIN(Path("a.wav"), stretches) == stretches


def test_a_real_video_of_two_actors_has_an_item_each(test_data: Path, tmp_path: Path) -> None:
    """A woman and a man of RAVDESS in turns; the default model tells them apart."""
    sounds = {
        who: [read_audio(path) for path in sorted((test_data / "ravdess" / who).glob("*.ogg"))[:3]]
        for who in ("Actor_09", "Actor_10")
    }
    turns = [sound for pair in zip(*sounds.values(), strict=True) for sound in pair]
    blank = [np.full((96, 128, 3), 90, np.uint8)] * 4
    video = encode(tmp_path / "a.mp4", frames=blank, sound=np.concatenate(turns), rate=16_000)
    media = list(MediaExtractor(speakers=True).extract(video, "voice"))
    vectors = load_model(None, "cpu").embed(media).vectors
    one, other = MergeBySpeaker(
        equal_odds_score(calibrations_of(model_record(find_weights(None))), "V-V")
    )(
        video,
        [
            NewItem("both", "voice", each.start_s, each.end_s, None, vector)
            for each, vector in zip(media, vectors, strict=True)
        ],
    )
    assert float(one.vector @ other.vector) < 0.5
    assert min(one.seconds or 0, other.seconds or 0) > 3
    middle_s = [(item.start_s + (item.end_s or 0)) / 2 for item in (one, other)]
    ends_s = np.cumsum([len(sound) for sound in turns]) / 16_000
    assert {int(np.searchsorted(ends_s, at)) % 2 for at in middle_s} == {0, 1}
