"""Tasks of Label Studio: the choice of the task and of its annotation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.turns import Turn
from indexer.errors import BadRequest

Json = dict[str, Any]
ANN = (Turn(0, 2, "Ann"),)


def region(who: str = "Ann", start: float = 0, end: float = 2, **more: Any) -> Json:
    value = {"start": start, "end": end, "channel": 0, "labels": [who]}
    return {"type": "labels", "from_name": "speaker", "value": value, **more}


def marked(*regions: Json, **more: Any) -> Json:
    return {"result": list(regions), "was_cancelled": False, **more}


def task(*annotations: Json, audio: str = "/data/upload/1/3f2a1b0c-talk.wav", **more: Any) -> Json:
    return {"id": 1, "data": {"audio": audio}, "annotations": list(annotations), **more}


OTHER = task(marked(region("Zed", 0, 9)), audio="/data/upload/1/0123abcd-other.wav")


@pytest.fixture
def read(tmp_path: Path):
    def reading(value: Any, recording: str | None = "talk", chosen: str | None = None) -> Any:
        (tmp_path / "tasks.json").write_text(json.dumps(value))
        return read_diarization(tmp_path / "tasks.json", recording, chosen)

    return reading


@pytest.mark.parametrize(
    "data",
    [
        {"audio": "/data/upload/1/3f2a1b0c-talk.wav"},
        {"audio": "/data/local-files/?d=calls/talk.wav"},
        {"sound": "s3://bucket/talk.wav", "title": "a talk"},
        {"title": "a talk of two", "video": "https://host/x/talk.mp4?token=1"},
        {"text": "talk"},
    ],
)
def test_the_task_of_the_recording_is_taken(read, data: Json) -> None:
    mine = {"data": data, "annotations": [marked(region())]}
    for tasks in ([OTHER, mine], [mine, OTHER], [mine]):
        said = read(tasks)
        assert said.turns == ANN
        assert said.notes == ()
    assert read(mine).turns == ANN


def test_the_upload_of_a_task_says_its_recording_too(read) -> None:
    mine = task(marked(region()), audio="/tasks/1/resolve/?fileuri=czM6", file_upload="1-talk.wav")
    mine["file_upload"] = "3f2a1b0c-talk.wav"
    assert read([OTHER, mine]).turns == ANN


def test_tasks_of_other_recordings_are_never_merged(read) -> None:
    third = task(marked(region("Yan")), audio="third.wav")
    with pytest.raises(BadRequest, match=r"tasks.json: it is of .*other.wav, third.wav and not of"):
        read([OTHER, third])
    assert read([OTHER, third], "talk", "third.wav").turns == (Turn(0, 2, "Yan"),)
    assert read([OTHER, third], "talk", "third").turns == (Turn(0, 2, "Yan"),)
    with pytest.raises(BadRequest, match="is of task 1, task 2 and not of talk"):
        read([{"annotations": [marked(region())]}, {"annotations": [marked(region())]}])


def test_a_single_task_of_another_name_is_taken_with_a_note(read) -> None:
    said = read([OTHER])
    assert said.turns == (Turn(0, 9, "Zed"),)
    assert "they were taken for 'talk'" in said.notes[0]


def test_of_two_tasks_of_a_recording_the_last_is_taken_with_a_note(read) -> None:
    said = read([task(marked(region("Old"))), task(marked(region()))])
    assert said.turns == ANN
    assert said.notes == ("tasks of this recording: 2; the last one with regions was taken.",)
    assert read([task(marked(region())), task()]).turns == ANN


@pytest.mark.parametrize(
    "cancelled",
    [
        marked(region("Zed", 0, 9)) | {"was_cancelled": True},
        {"result": [], "was_cancelled": True},
        {"was_cancelled": True},
        {"result": [region("Zed")], "skipped": True},
    ],
)
def test_a_cancelled_annotation_never_wins(read, cancelled: Json) -> None:
    for both in ([marked(region()), cancelled], [cancelled, marked(region())]):
        said = read([task(*both)])
        assert said.turns == ANN
        assert said.notes == ("annotations that were cancelled, left out: 1.",)


def test_the_last_annotation_with_a_region_is_taken_and_a_note_says_that_there_are_more(
    read,
) -> None:
    said = read([task(marked(region("Old")), marked(region()), marked())])
    assert said.turns == ANN
    assert said.notes == ("annotations or predictions: 2; the last one was taken.",)
    new, old = "2024-05-02T10:00:00.1Z", "2024-05-01T10:00:00.2Z"
    dated = [marked(region(), updated_at=new), marked(region("Old"), updated_at=old)]
    assert read([task(*dated)]).turns == ANN
    assert read([task(*reversed(dated))]).turns == ANN


@pytest.mark.parametrize(
    "predictions",
    [
        [{"result": [region()]}],
        [{"result": [{"value": {"start": 0, "end": 2, "labels": ["Ann"]}}]}],
        [{"result": [{"value": {"start": "0.0", "end": 2, "labels": "Ann"}}], "score": None}],
        [{"result": [{"start": 0, "end": 2, "labels": ["Ann"]}]}],
        [{"model_version": "x", "result": [region("Old")]}, {"result": [region()]}],
    ],
)
def test_predictions_made_by_hand_need_no_more_than_times_and_labels(read, predictions) -> None:
    assert read([{"data": {"audio": "talk.wav"}, "predictions": predictions}]).turns == ANN
    all_cancelled = task(marked(region("Zed")) | {"was_cancelled": True}, predictions=predictions)
    said = read([all_cancelled])
    assert said.turns == ANN
    assert "every annotation was cancelled; the last prediction was taken." in said.notes


def test_the_short_form_and_completions_are_taken(read) -> None:
    short = {"audio": "/data/upload/1/3f2a1b0c-talk.wav", "id": 7, "annotator": 1}
    short["label"] = [{"start": 0, "end": 2, "channel": 0, "labels": ["Ann"]}]
    assert read([short]).turns == ANN
    assert read([OTHER, short]).turns == ANN
    old = {"data": {"audio": "talk.wav"}, "completions": [{"result": [region()]}]}
    assert read([old]).turns == ANN


def test_other_results_are_passed_over_and_transcripts_kept(read) -> None:
    results = [
        region(id="a"),
        {"id": "a", "type": "textarea", "value": {"start": 0, "end": 2, "text": ["hello", "you"]}},
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        {"type": "choices", "value": {"choices": ["good"]}},
        {"type": "rating", "value": {"rating": 3}},
        region("Bob", 3, 4),
    ]
    said = read([task(marked(*results))])
    assert said.turns == (Turn(0, 2, "Ann", "hello you"), Turn(3, 4, "Bob"))


def test_a_region_of_two_labels_is_a_turn_of_each_and_of_none_is_noted(read) -> None:
    both, nobody = region(), region(start=3, end=4)
    both["value"]["labels"] = ["Ann", "Bob"]
    nobody["value"]["labels"] = []
    said = read([task(marked(both, nobody))])
    assert said.turns == (Turn(0, 2, "Ann"), Turn(0, 2, "Bob"))
    assert said.notes == ("turns that name no speaker, left out: 1.",)


def without(key: str) -> Json:
    faulty = region()
    del faulty["value"][key]
    return faulty


@pytest.mark.parametrize(
    ("annotation", "match"),
    [
        ({"was_cancelled": False}, "task 1, annotation 1 has no field 'result'"),
        ({"result": 7}, "task 1, annotation 1: its 'result' is 7 and no list"),
        (1001, "task 1, annotation 1 is 1001 and no object"),
        (marked(region(), without("start")), "annotation 1, region 2 has no field 'start'"),
        (marked(without("end")), "annotation 1, region 1 has no field 'end'"),
        (marked({"type": "labels"}), "annotation 1, region 1 has no field 'value'"),
        (marked(region(start="soon")), "region 1: its start is 'soon', no number of seconds"),
        (marked(region(end=None)), "region 1: its end is None, no number of seconds"),
        (marked("x"), "region 1 is 'x' and no object"),
        (marked(), "task 1 has no region with a label"),
    ],
)
def test_a_missing_field_is_a_sentence_with_the_file_and_the_field(read, annotation, match) -> None:
    with pytest.raises(BadRequest, match=rf"tasks.json: .*{match}"):
        read([task(annotation)])
    assert read([task(annotation, audio="other.wav"), task(marked(region()))]).turns == ANN
