"""Tasks of Label Studio: turns that were annotated or predicted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.times import SECONDS
from avsearch.annotation.turns import Diarization, Turn, build_diarization, speaker_text
from indexer.errors import BadRequest

_ANNOTATIONS: Final = ("annotations", "completions")  # the second before version 1
_PREDICTIONS: Final = ("predictions",)
_MEDIA: Final = ("audio", "video", "sound", "media", "url", "file_upload")  # usual keys of data
_MEDIA_FILE: Final = re.compile(
    r"\.(?:wav|mp[34]|m4a|ogg|opus|flac|webm|mkv|mov|aac)\b", re.IGNORECASE
)


def write_label_studio(turns: Iterable[Turn], address: str, model: str, duration_s: float) -> str:
    """Return turns as a task of Label Studio with predictions, to be imported as JSON.

    The labelling configuration has ``<Labels name="speaker" toName="audio">`` and
    ``<Audio name="audio" value="$audio">``; ``address`` is that of the recording.
    """
    regions = [
        {
            "id": f"turn{number}",
            "from_name": "speaker",
            "to_name": "audio",
            "type": "labels",
            "original_length": duration_s,
            "value": {
                "start": turn.start_s,
                "end": turn.end_s,
                "channel": 0,
                "labels": [turn.speaker],
            },
        }
        for number, turn in enumerate(turns)
    ]
    task = {
        "data": {"audio": address},
        "predictions": [{"model_version": model, "result": regions}],
    }
    return json.dumps([task], ensure_ascii=False, indent=1) + "\n"


def is_task(value: Any) -> bool:
    """Return True for a task, in the full form or in the short one (JSON_MIN)."""
    if not isinstance(value, Mapping):
        return False
    if isinstance(value.get("data"), Mapping):
        return True
    if any(isinstance(value.get(key), list) for key in (*_ANNOTATIONS, *_PREDICTIONS)):
        return True
    return any(
        isinstance(each, list) and each and all(_has_labels(one) for one in each)
        for each in value.values()
    )


def read_tasks(tasks: Sequence[Mapping[str, Any]], choice: RecordingChoice) -> Diarization:
    """Return the turns of the task of the chosen recording.

    A task names its recording by an address in its data; of several tasks of one recording the last
    with regions is taken. Of its annotations the last is taken that was not cancelled and has a
    region; if all were cancelled or there are none, the last prediction. The notes name the choice.

    Raises:
        BadRequest: A task lacks a field, or no task is of the recording.
    """
    addresses = [_address(task, choice) or f"task {at}" for at, task in enumerate(tasks, 1)]
    chosen, notes = choice.select(addresses)
    own = [at for at, address in enumerate(addresses) if address == chosen]
    if len(own) > 1:
        notes.append(f"tasks of this recording: {len(own)}; the last one with regions was taken.")
    for at in reversed(own):
        turns, more = _turns(tasks[at], f"task {at + 1}")
        if turns:
            return build_diarization(turns, chosen, [*notes, *more])
    raise BadRequest(
        f"task {own[-1] + 1} has no region with a label that somebody marked or predicted."
    )


def _has_labels(region: Any) -> bool:
    return isinstance(region, Mapping) and "labels" in region


def _address(task: Mapping[str, Any], choice: RecordingChoice) -> str | None:
    """Return the address of the recording in the data of a task, the chosen one if it is there."""
    data = task.get("data", task)
    fields = data if isinstance(data, Mapping) else {}
    texts = {key: each for key, each in fields.items() if isinstance(each, str) and each}
    if isinstance(task.get("file_upload"), str):
        texts.setdefault("file_upload", task["file_upload"])
    matching = [each for each in texts.values() if choice.matches(each)]
    media = [each for key, each in texts.items() if key in _MEDIA or _MEDIA_FILE.search(each)]
    return next(iter([*matching, *media, *texts.values()]), None)


def _turns(task: Mapping[str, Any], where: str) -> tuple[list[Turn], list[str]]:
    """Return the turns of a task, and notes on the choice among its annotations."""
    annotations, predictions = (
        [
            (f"{where}, {kind} {at}", each)
            for at, each in enumerate((each for key in keys for each in task.get(key) or []), 1)
        ]
        for kind, keys in (("annotation", _ANNOTATIONS), ("prediction", _PREDICTIONS))
    )
    notes = []
    valid = _by_date([pair for pair in annotations if not _is_cancelled(*pair)])
    if len(valid) < len(annotations):
        notes.append(f"annotations that were cancelled, left out: {len(annotations) - len(valid)}.")
    if annotations and not valid:
        notes.append("every annotation was cancelled; the last prediction was taken.")
    used = valid or predictions
    found = [_regions(at, _field(at, each, "result", list)) for at, each in used]
    if not annotations and not used:
        short = [each for each in task.values() if isinstance(each, list)]
        found = [_regions(where, each) for each in short if each and _has_labels(each[0])]
    turns = [each for each in found if each]
    if len(turns) > 1:
        notes.append(f"annotations or predictions: {len(turns)}; the last one was taken.")
    return (turns[-1] if turns else []), notes


def _by_date(annotations: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return annotations by the time of their last change, if all have one; else as they are."""
    dates = [each.get("updated_at") or each.get("created_at") for _, each in annotations]
    if not all(isinstance(date, str) for date in dates):
        return annotations
    return [each for _, each in sorted(zip(dates, annotations, strict=True), key=lambda it: it[0])]


def _is_cancelled(where: str, annotation: Any) -> bool:
    if not isinstance(annotation, Mapping):
        raise BadRequest(f"{where} is {annotation!r} and no object; export the tasks as JSON.")
    return bool(annotation.get("was_cancelled") or annotation.get("skipped"))


def _regions(where: str, result: Sequence[Any]) -> list[Turn]:
    """Return the turns of the regions of an annotation, one for each label."""
    transcripts = {}
    for each in result:
        if isinstance(each, Mapping) and each.get("type") == "textarea" and "id" in each:
            value = each.get("value")
            text = value.get("text") if isinstance(value, Mapping) else None
            if isinstance(text, list) and all(isinstance(line, str) for line in text):
                transcripts[each["id"]] = " ".join(text)
    turns = []
    for at, region in enumerate(result, 1):
        here = f"{where}, region {at}"
        value = _label_value(here, region)
        if value is None:
            continue
        start_s, end_s = (_seconds(here, value, key) for key in ("start", "end"))
        labels = value.get("labels") or [""]
        for label in [labels] if isinstance(labels, str) else labels:
            text = transcripts.get(region.get("id"))
            turns.append(Turn(start_s, end_s, speaker_text(label), text))
    return turns


def _label_value(where: str, region: Any) -> Mapping[str, Any] | None:
    """Return the part of a region with its times and labels; None for any other result."""
    if not isinstance(region, Mapping):
        raise BadRequest(f"{where} is {region!r} and no object.")
    kind, value = region.get("type"), region.get("value", region if "labels" in region else None)
    if kind == "labels" and value is None:
        raise BadRequest(f"{where} has no field 'value'.")
    if kind not in (None, "labels") or not isinstance(value, Mapping):
        return None
    return value if kind == "labels" or "labels" in value else None


def _seconds(where: str, value: Mapping[str, Any], key: str) -> float:
    try:
        return SECONDS.seconds(_field(where, value, key, object))
    except (TypeError, ValueError) as error:
        raise BadRequest(f"{where}: its {key} is {value[key]!r}, no number of seconds.") from error


def _field(where: str, value: Any, key: str, kind: type) -> Any:
    if not isinstance(value, Mapping) or key not in value:
        raise BadRequest(f"{where} has no field {key!r}.")
    if not isinstance(value[key], kind):
        raise BadRequest(f"{where}: its {key!r} is {value[key]!r} and no {kind.__name__}.")
    return value[key]
