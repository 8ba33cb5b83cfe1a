"""Turns as JSON, as lists and as data frames."""

from __future__ import annotations

import datetime
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.formats.json_segments import from_values, read_json
from avsearch.annotation.turns import Turn
from indexer.errors import BadRequest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pandas
    pandas = pytest.importorskip("pandas")
    from pyannote.core import Annotation, Segment

EXPECTED = (Turn(0, 1, "A"), Turn(1, 2.5, "B"))
OBJECTS = [{"start": 0, "end": 1, "speaker": "A"}, {"start": 1, "end": 2.5, "speaker": "B"}]


@pytest.mark.parametrize(
    "value",
    [
        [(0, 1, "A"), (1, 2.5, "B")],
        [[0, 1, "A"], ["1", "2.5", "B"]],
        [[0, 1, "A", None], [1, 2.5, "B", None]],
        [{"start": 0, "end": 1, "speaker": "A"}, {"start": 1, "end": 2.5, "label": "B"}],
        [{"start_ms": 0, "end_ms": 1000, "spk": "A"}, {"startMs": 1000, "endMs": 2500, "who": "B"}],
        [
            {"start": "00:00:00", "duration": 1, "speaker": "A"},
            {"onset": 1, "offset": "00:00:02.5", "speaker": "B"},
        ],
        [
            {"segment": {"start": 0, "end": 1}, "label": "A"},
            {"value": {"start": 1, "end": 2.5, "labels": ["B"]}},
        ],
        {"segments": OBJECTS},
        {"diarization": OBJECTS},
        {"output": {"diarization": OBJECTS}},
        {"start": [0, 1], "end": [1, 2.5], "speaker": ["A", "B"]},
        {"0": OBJECTS[0], "1": OBJECTS[1]},
        {"columns": ["start", "end", "speaker"], "data": [[0, 1, "A"], [1, 2.5, "B"]]},
        {
            "start": {"0": 0, "1": 1},
            "end": {"0": 1, "1": 2.5},
            "speaker": {"0": "A", "1": "B"},
        },
    ],
)
def test_segments_of_many_tools_are_taken(value: object, tmp_path: Path) -> None:
    assert read_diarization(value).turns == EXPECTED
    file = tmp_path / "said.json"
    file.write_text(json.dumps(value))
    assert read_diarization(file).turns == EXPECTED


def test_an_object_a_line_is_taken() -> None:
    text = "\n".join(json.dumps(each) for each in OBJECTS)
    assert read_json(text, RecordingChoice()).turns == EXPECTED


def test_annotations_as_json_are_taken() -> None:
    """As pyannote.core before 6 writes them."""
    content = [{"segment": {"start": 0, "end": 1}, "track": "A", "label": "ann"}]
    said = read_diarization({"pyannote": "Annotation", "content": content, "uri": "talk"})
    assert said.turns == (Turn(0, 1, "ann"),)
    assert said.recording == "talk"


def test_a_transcript_of_whisperx_keeps_its_words_and_leaves_out_who_has_no_name() -> None:
    value = {
        "segments": [
            {"start": 0, "end": 1, "text": " Hello.", "speaker": "A", "words": []},
            {"start": 1, "end": 2, "text": " Who?"},
        ],
        "word_segments": [],
    }
    said = from_values(value)
    assert said.turns == (Turn(0, 1, "A", "Hello."),)
    assert said.notes == ("turns that name no speaker, left out: 1.",)


def test_of_json_of_several_recordings_one_is_taken() -> None:
    by_name = {"talk": [[0, 1, "A"]], "other": [["x", 1, "B"]]}
    assert from_values(by_name, RecordingChoice("talk")).turns == (Turn(0, 1, "A"),)
    with pytest.raises(BadRequest, match="is of talk, other and not of mine"):
        from_values(by_name, RecordingChoice("mine"))
    with pytest.raises(BadRequest, match=r"is of 2 recordings; .*: talk, other"):
        from_values([{**OBJECTS[0], "uri": name} for name in by_name] + OBJECTS)
    each = [{**OBJECTS[0], "file": "talk.wav"}, {**OBJECTS[1], "file": "other.wav"}]
    assert from_values(each, RecordingChoice("other")).turns == (EXPECTED[1],)
    assert from_values(each, RecordingChoice("x", "talk.wav")).turns == (EXPECTED[0],)


def whisperx_frame() -> Any:
    """As whisperx.DiarizationPipeline makes it."""
    said = Annotation()
    said[Segment(0.5, 3), "A"], said[Segment(4, 7), "B"] = "SPEAKER_00", "SPEAKER_01"
    names = ["segment", "label", "speaker"]
    frame = pandas.DataFrame(said.itertracks(yield_label=True), columns=names)
    frame["start"] = frame["segment"].apply(lambda each: each.start)
    frame["end"] = frame["segment"].apply(lambda each: each.end)
    return frame


WHISPERX = (Turn(0.5, 3, "SPEAKER_00"), Turn(4, 7, "SPEAKER_01"))


def test_the_frame_of_whisperx_is_taken(tmp_path: Path) -> None:
    frame = whisperx_frame()
    assert read_diarization(frame).turns == WHISPERX
    assert read_diarization((frame, {"SPEAKER_00": [0.1]})).turns == WHISPERX
    assert read_diarization(frame[["segment", "label", "speaker"]]).turns == WHISPERX
    assert read_diarization(frame.itertuples()).turns == WHISPERX
    assert read_diarization(frame.drop(columns="segment").set_index("label")).turns == WHISPERX
    for index in (True, False):
        frame.to_csv(tmp_path / "said.csv", index=index)
        assert read_diarization(tmp_path / "said.csv").turns == WHISPERX
    for orient in ("records", "columns", "index", "split", "table"):
        frame.to_json(tmp_path / "said.json", orient=orient)
        assert read_diarization(tmp_path / "said.json").turns == WHISPERX


@pytest.mark.parametrize(
    "nobody",
    [
        *(
            None,
            math.nan,
            np.nan,
            pandas.NA,
            pandas.NaT,
            "",
            "  ",
            "nan",
            "None",
            "<NA>",
            1.5,
            True,
        ),
        *(["A"], {"A": 1}, b"A", Segment(0, 1), np.float32("nan"), math.inf),
    ],
    ids=repr,
)
def test_a_value_that_is_no_label_is_no_speaker_and_never_a_person(nobody: object) -> None:
    frame = whisperx_frame()
    frame["speaker"] = frame["speaker"].astype(object)
    frame.at[0, "speaker"] = nobody
    said = read_diarization(frame)
    assert said.turns == WHISPERX[1:]
    assert said.notes == ("turns that name no speaker, left out: 1.",)
    assert read_diarization([(0.5, 3, nobody), WHISPERX[1][:3]]) == said
    frame["speaker"] = pandas.Series([nobody] * len(frame), dtype=object)
    with pytest.raises(BadRequest, match="no turn says its speaker"):
        read_diarization(frame)


def test_types_of_pandas_are_read_as_text_and_seconds(tmp_path: Path) -> None:
    for dtype in ("category", "string", object):
        frame = whisperx_frame()
        frame["speaker"] = frame["speaker"].astype(dtype)
        assert read_diarization(frame).turns == WHISPERX
    frame["start"] = pandas.to_timedelta(frame["start"], unit="s")
    frame["end"] = [datetime.timedelta(seconds=each) for each in frame["end"]]
    assert read_diarization(frame).turns == WHISPERX
    frame.to_csv(tmp_path / "said.csv")
    assert read_diarization(tmp_path / "said.csv").turns == WHISPERX


def test_speakers_that_are_whole_numbers_are_labels() -> None:
    """As clustering gives them; a gap makes them floats."""
    frame = whisperx_frame()
    frame["speaker"] = [0, 1]
    assert [turn.speaker for turn in read_diarization(frame).turns] == ["0", "1"]
    frame["speaker"] = [1.0, math.nan]
    assert [turn.speaker for turn in read_diarization(frame).turns] == ["1"]
    frame["speaker"] = np.array([3, 4], np.uint8)
    assert [turn.speaker for turn in read_diarization(frame).turns] == ["3", "4"]


def test_columns_in_memory_are_taken() -> None:
    columns = {"start": np.array([0, 1]), "end": (1, 2.5), "speaker": pandas.Series(["A", "B"])}
    assert read_diarization(columns).turns == EXPECTED


def test_frames_of_other_libraries_are_taken() -> None:
    arrow = pytest.importorskip("pyarrow")
    columns = {"start": [0, 1], "end": [1, 2.5], "speaker": ["A", "B"]}
    assert read_diarization(arrow.table(columns)).turns == EXPECTED

    class Polars:
        columns = ("start", "end", "speaker")

        def to_dicts(self) -> list[dict[str, object]]:
            return OBJECTS

        def to_dict(self, *, as_series: bool = True) -> object:
            raise AssertionError

    assert read_diarization(Polars()).turns == EXPECTED


def test_segments_of_pyannote_are_taken_with_and_without_tracks() -> None:
    said = Annotation()
    said[Segment(0, 1), "x"], said[Segment(1, 2.5), "y"] = "A", "B"
    assert read_diarization(said.itertracks(yield_label=True)).turns == EXPECTED
    assert read_diarization([(Segment(0, 1), "A"), (Segment(1, 2.5), "B")]).turns == EXPECTED


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([], "no turn of speech"),
        ({}, "holds no list of segments"),
        (7, "holds no list of segments"),
        ({"segments": "abc"}, "holds no list of segments"),
        ({"start": [0, 1], "end": [1], "speaker": ["A"]}, "are not of one length"),
        ([(1, 2)], r"segment 1 is \(1, 2\); it needs a start and an end"),
        ([(0, 1, "a"), (1, "x", "b")], "segment 2 is"),
        ([{"start": 0, "speaker": "a"}], "segment 1 is"),
        ([{"start": 0, "end": None, "speaker": "a"}], "segment 1 is"),
        ([{"start": 0, "end": 1}], "no turn says its speaker"),
        ([{"start_samples": 0, "end": 1, "speaker": "a"}], "is in 'samples', which is no unit"),
        ([(2, 1, "a")], "is no range of time"),
        ([None], "segment 1 is None"),
        ([(math.nan, 1, "a")], "segment 1 is"),
        (pandas.Series([1, 2]), "segment 1 is 1"),
        (pandas.DataFrame({"a": [1]}), "segment 1 is {'a': 1}"),
    ],
)
def test_what_is_no_diarization_is_refused_in_a_sentence(value: object, match: str) -> None:
    with pytest.raises(BadRequest, match=match):
        read_diarization(value)


@pytest.mark.parametrize(
    ("text", "match"), [("{", "is no JSON"), ("[1]", "segment 1 is 1"), ("[1", "is no JSON")]
)
def test_a_faulty_json_is_refused(text: str, match: str) -> None:
    with pytest.raises(BadRequest, match=match):
        read_json(text, RecordingChoice())
