"""Turns as JSON, in the shapes that tools write: WhisperX, pyannote, Label Studio, plain lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from avsearch.annotation.lines import read_text
from avsearch.annotation.turns import Diarization, Turn, diarization
from indexer.errors import BadRequest, printable

_LISTS: Final = ("segments", "diarization", "speaker_diarization", "content", "output")
_SPEAKERS: Final = ("speaker", "label", "speaker_id")


def read_json(path: Path) -> Diarization:
    """The turns of a JSON file; BadRequest for one that is cut short or of no shape known."""
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise BadRequest(f"{printable(path)} is no JSON ({error}); write it again.") from error
    try:
        return from_values(value)
    except BadRequest as error:
        raise BadRequest(f"{printable(path)}: {error}") from error


def from_values(value: Any) -> Diarization:
    """Turns of what JSON gives, or Python has: an object with a list in it, or the list.

    An element is an object with start, end and speaker, or (start, end, speaker). Those that
    name no speaker, as WhisperX leaves some, are left out with a note.
    """
    turns = list(_turns(value))
    named = [turn for turn in turns if turn is not None]
    if turns and not named:
        raise BadRequest("no segment says its speaker; run the diarization first.")
    missing = len(turns) - len(named)
    notes = [f"segments that name no speaker, left out: {missing}."] if missing else []
    return diarization(named, _recording(value), notes)


def label_studio(turns: Iterable[Turn], address: str, model: str, duration_s: float) -> str:
    """Turns as a task of Label Studio with predictions, to be imported as JSON.

    For a labelling set-up of ``<Labels name="speaker" toName="audio">`` beside
    ``<Audio name="audio" value="$audio">``; ``address`` is where it finds the recording.
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


def _turns(value: Any) -> Iterator[Turn | None]:
    for number, element in enumerate(_elements(value), 1):
        try:
            yield _turn(element)
        except (TypeError, ValueError, KeyError) as error:
            raise BadRequest(
                f"segment {number} is {_short(element)}; it needs a start and an end in seconds, "
                "and a speaker."
            ) from error


def _elements(value: Any) -> Iterable[Any]:
    """The list of segments, wherever it is."""
    if isinstance(value, Mapping):
        for key in _LISTS:
            if key in value:
                return _elements(value[key])
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        elements = list(value)
        tasks = [one for one in elements if isinstance(one, Mapping) and "data" in one]
        return [region for task in tasks for region in _regions(task)] if tasks else elements
    raise BadRequest(
        f"{_short(value)} holds no list of segments; give start, end and speaker of each."
    )


def _regions(task: Mapping[str, Any]) -> list[Any]:
    """The labelled regions of a task: what a person said, or else what was predicted."""
    said = task.get("annotations") or task.get("predictions") or []
    return [region for each in said[-1:] for region in each["result"] if region["type"] == "labels"]


def _turn(element: Any) -> Turn | None:
    if isinstance(element, Turn):
        return element
    if not isinstance(element, Mapping):
        start, end, speaker = _three(element)
        return Turn(float(start), float(end), str(speaker))
    inner = element.get("value") or element.get("segment") or element
    speaker = next((element[key] for key in _SPEAKERS if element.get(key) is not None), None)
    if speaker is None and inner.get("labels"):
        speaker = inner["labels"][0]
    start, end = float(inner["start"]), float(inner["end"])
    text = element.get("text")
    said = text.strip() if isinstance(text, str) else None
    return None if speaker is None else Turn(start, end, str(speaker), said)


def _three(element: Any) -> Sequence[Any]:
    if isinstance(element, str) or len(element) != 3:
        raise ValueError("not three values")
    three: Sequence[Any] = element
    return three


def _recording(value: Any) -> str | None:
    named = value.get("uri") or value.get("recording") if isinstance(value, Mapping) else None
    return named if isinstance(named, str) else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
