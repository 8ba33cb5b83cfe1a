"""Turns on the clock of a file, and on that of its audio without gaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsearch.annotation import audio_clock, embed_speech, face_association
from avsearch.annotation.audio_clock import AudioClock, Gap
from avsearch.annotation.enrol import enrol_recording
from avsearch.annotation.pipeline import AnnotateOptions, annotate_recording
from avsearch.annotation.turns import Turn
from avsearch.media import load_media
from avsearch.media.speech_segments import Span
from indexer.index import Index
from indexer.types import Box, Media
from tests.avsearch.annotation.test_face_association import Detector
from tests.helpers.ears import CALIBRATIONS, RATE, Ear, conversation, index_of
from tests.helpers.making import record

HOW = AnnotateOptions(calibrations=CALIBRATIONS)
SPOKEN = [Turn(0.5, 2.5, "ann"), Turn(3.0, 5.0, "bob"), Turn(6.0, 8.0, "ann")]
LATE_S, GAP_S, GAP_AT_S = 8.0, 5.0, 5.5
ON_FILE = [
    Turn(8.5, 10.5, "ann"),
    Turn(11.0, 13.0, "bob"),
    Turn(19.0, 21.0, "ann"),
]
LABELS = {"ann": "S1", "bob": "S2"}


def labelled(turns: list[Turn]) -> list[Turn]:
    return [turn._replace(speaker=LABELS[turn.speaker]) for turn in turns]


def late(kind: str, time_s: float) -> float:
    """The sound begins eight seconds after the picture, and pauses for five."""
    return time_s if kind == "video" else time_s + LATE_S + GAP_S * (time_s >= GAP_AT_S)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = [np.full((96, 96, 3), 120, np.uint8)] * (25 * 23)
    sound = conversation(SPOKEN, 8.5)
    return record(
        tmp_path / "talk.mkv",
        pictures=[frames],
        sounds=[sound],
        codecs=("mpeg4", "flac"),
        rate=RATE,
        stamp=late,
    )


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with index_of(tmp_path / "index", ["ann", "bob"]) as it:
        yield it


@pytest.fixture(autouse=True)
def chords_are_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = [Span(turn.start_s, turn.end_s) for turn in ON_FILE]
    monkeypatch.setattr(audio_clock, "find_speech_in_stream", lambda _: speech)


CLOCK = AudioClock((Gap(0, 8), Gap(5.5, 5)))


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 2), (8, 10)),
        ((3, 5.5), (11, 13.5)),
        ((5.5, 6), (18.5, 19)),
        ((5, 6), (13, 19)),
        ((7, 8), (20, 21)),
    ],
)
def test_a_span_of_the_sound_is_found_in_the_file(span: Any, expected: Any) -> None:
    assert CLOCK.on_file(Span(*span)) == pytest.approx(Span(*expected))


def test_a_sound_without_gaps_has_the_clock_of_the_file() -> None:
    assert AudioClock().turns_on_file(SPOKEN) == tuple(SPOKEN)


@pytest.mark.parametrize(("turns", "ours"), [(SPOKEN, True), (ON_FILE, False)])
def test_turns_are_on_the_clock_on_which_they_hold_speech(turns: list[Turn], ours: bool) -> None:
    speech = [Span(turn.start_s, turn.end_s) for turn in ON_FILE]
    assert CLOCK.fits(turns, speech) is ours


@pytest.mark.parametrize(
    ("turns", "clock"),
    [(SPOKEN, "its audio without these gaps"), (ON_FILE, "the clock of the file")],
)
def test_voices_are_named_by_turns_of_either_clock(
    video: Path, index: Index, turns: list[Turn], clock: str
) -> None:
    named = annotate_recording(video, labelled(turns), index, Ear(), HOW)
    assert named.labels == {"S1": "ann", "S2": "bob"}
    assert named.turns == tuple(labelled(turns))  # on the clock on which they were given
    assert sum(clock in note for note in named.notes) == 1
    assert "no audio for 13.0 s" in " ".join(named.notes)


@pytest.mark.parametrize("turns", [SPOKEN, ON_FILE])
def test_the_faces_are_those_that_are_seen_meanwhile(
    video: Path, index: Index, turns: list[Turn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A face is seen from the fourth second on, half a second being a frame."""
    shown = [[] if number < 22 else [Box(10, 10, 80, 80)] for number in range(60)]
    monkeypatch.setattr(face_association, "FaceDetector", lambda: Detector(shown))
    named = annotate_recording(video, labelled([turns[1]]), index, Ear(), HOW)
    (bob,) = named.speakers
    assert bob.face is not None
    assert bob.face.seconds == pytest.approx(2, abs=0.6)


@pytest.mark.parametrize("turns", [SPOKEN, ON_FILE])
def test_what_is_enrolled_lies_where_it_is_in_the_file(
    video: Path, index: Index, turns: list[Turn]
) -> None:
    enrol_recording(video, labelled(turns), index, Ear(), {"S2": "zoe"})
    ids, vectors = index.vectors_of("zoe", "voice")
    with index.catalog.read() as read:
        item = read.items(ids)[int(ids[0])]
    assert (item.start_s, item.end_s) == pytest.approx((11, 13), abs=0.05)
    media = Media(item.path, "voice", item.start_s, item.end_s)
    again = Ear().embed([dataclasses.replace(media, data=load_media(media))]).vectors[0]
    assert vectors[0] @ again / np.linalg.norm(again) > 0.99


def test_an_ordinary_recording_is_heard_once(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_speech, "find_speech_in_stream", lambda stream: [Span(0.0, 8.5)])
    sound = conversation(SPOKEN, 8.5)
    path = record(tmp_path / "a.mka", sounds=[sound], codecs=("", "flac"), rate=RATE)
    ear = Ear()
    named = annotate_recording(path, labelled(SPOKEN), index, ear, HOW)
    assert ear.embedded == 3
    assert named.notes == ()
