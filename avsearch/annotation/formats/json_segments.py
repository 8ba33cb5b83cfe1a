"""Turns as JSON and as Python values: WhisperX, pyannote, data frames, plain lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.columns import Columns, Role, find_columns, has_times
from avsearch.annotation.formats.label_studio import is_task, read_tasks
from avsearch.annotation.turns import Diarization, Turn, build_diarization, speaker_text
from indexer.errors import BadRequest

_LISTS: Final = ("segments", "diarization", "speaker_diarization", "content", "output", "data")
_INNER: Final = ("segment", "value")  # where some tools put the start and the end
_NEEDED: Final = "it needs a start and an end in seconds, and a speaker."


def read_json(text: str, choice: RecordingChoice) -> Diarization:
    """Return the turns of a JSON text, or of one with an object a line.

    Raises:
        BadRequest: The text is cut short, or has no known structure.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        try:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise BadRequest(f"it is no JSON ({error}); write it again.") from error
    return from_values(value, choice)


def from_values(value: Any, choice: RecordingChoice | None = None) -> Diarization:
    """Return the turns of a JSON or Python value.

    The value is a list, or an object with a list in it: of objects with a start, an end and a
    speaker, of (start, end, speaker), or of (segment, speaker) with pyannote's segments. Or it is
    an object of columns, or of such lists by recording, or tasks of Label Studio. Where the objects
    or the object around them name the recording, those of the chosen one are taken.

    Raises:
        BadRequest: The value has no known structure.
    """
    choice = choice or RecordingChoice()
    if isinstance(value, Mapping):
        return _from_object(value, choice)
    if not isinstance(value, Iterable) or isinstance(value, str | bytes):
        raise _no_list(value)
    elements = list(value)
    tasks = [each for each in elements if is_task(each)]
    return read_tasks(tasks, choice) if tasks else _from_elements(elements, choice)


def rows_of_frame(value: Any) -> list[Mapping[str, Any]] | None:
    """Return the rows of a pandas or polars data frame or an Arrow table; None for others."""
    rows: list[Mapping[str, Any]] | None = None
    if hasattr(value, "to_dicts"):
        rows = value.to_dicts()
    elif hasattr(value, "to_pylist") and hasattr(value, "columns"):
        rows = value.to_pylist()
    elif hasattr(value, "to_dict") and not hasattr(value, "to_frame"):  # as a single column has
        rows = value.to_dict("records")
    return rows


def _from_object(value: Mapping[Any, Any], choice: RecordingChoice) -> Diarization:
    if is_task(value):
        return read_tasks([value], choice)
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        # As pandas writes JSON with orient="split".
        rows = [dict(zip(value["columns"], row, strict=False)) for row in value["data"]]
        return _from_elements(rows, choice)
    for key in _LISTS:
        if key in value:
            found = from_values(value[key], choice)
            named = value.get("uri") or value.get("recording")
            if found.recording is not None or not isinstance(named, str):
                return found
            chosen, notes = choice.select([named])
            return Diarization(found.turns, chosen, (*found.notes, *notes))
    parts = list(value.values())
    are_columns = has_times([str(key) for key in value])
    if parts and all(isinstance(each, Mapping) for each in parts):
        # As pandas writes JSON with orient="columns" or "index".
        if are_columns:
            parts = [{key: each.get(at) for key, each in value.items()} for at in parts[0]]
        return _from_elements(parts, choice)
    if not parts or any(isinstance(each, str) or not hasattr(each, "__len__") for each in parts):
        raise _no_list(value)
    if are_columns:
        return _from_elements(_rows(value), choice)
    chosen, notes = choice.select([str(key) for key in value])
    found = from_values(next(each for key, each in value.items() if str(key) == chosen))
    return Diarization(found.turns, chosen, (*notes, *found.notes))


def _rows(columns: Mapping[Any, Sequence[Any]]) -> list[dict[Any, Any]]:
    """Return the rows of columns by their names."""
    if len({len(each) for each in columns.values()}) > 1:
        raise BadRequest(f"the lists {', '.join(map(str, columns))} are not of one length.")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _from_elements(elements: Sequence[Any], choice: RecordingChoice) -> Diarization:
    pairs = [_turn(number, element) for number, element in enumerate(elements, 1)]
    named = [recording for _, recording in pairs if recording]
    chosen, notes = choice.select(named) if named else (None, list[str]())
    turns = [turn for turn, recording in pairs if recording in ("", chosen)]
    return build_diarization(turns, chosen, notes)


def _turn(number: int, element: Any) -> tuple[Turn, str]:
    """Return the turn that an element is, and the recording that it names, or ""."""
    if isinstance(element, Turn):
        return element, ""
    try:
        fields = _fields(element)
        columns, values = _columns(tuple(map(str, fields))), list(fields.values())

        def value(role: Role) -> Any:
            return values[columns.at[role]] if role in columns.at else None

        start_s = columns.units["start"].seconds(value("start"))
        end_s = columns.units[columns.ending].seconds(value(columns.ending))
    except (TypeError, ValueError, KeyError) as error:
        raise BadRequest(f"segment {number} is {_short(element)}; {_NEEDED}") from error
    if columns.ending == "duration":
        end_s += start_s
    text, recording = value("text"), value("recording")
    text = text.strip() if isinstance(text, str) else None
    turn = Turn(start_s, end_s, speaker_text(value("speaker")), text)
    return turn, recording if isinstance(recording, str) else ""


def _columns(names: tuple[str, ...]) -> Columns:
    if not has_times(names):
        raise KeyError
    return find_columns(names)


def _fields(element: Any) -> Mapping[Any, Any]:
    """Return an element as an object with a start, an end and a speaker; TypeError for others."""
    if hasattr(element, "_asdict"):  # a row of a data frame
        return _fields(element._asdict())
    if isinstance(element, Mapping):
        inner: Any = next((element[key] for key in _INNER if _has_ends(element.get(key))), {})
        times = inner if isinstance(inner, Mapping) else {"start": inner.start, "end": inner.end}
        labels = times.get("labels")
        return {**({"label": labels[0]} if labels else {}), **times, **element}
    if isinstance(element, str | bytes) or not isinstance(element, Iterable):
        raise TypeError
    parts = list(element)
    if parts and _has_ends(parts[0]):  # of pyannote, with or without a track
        return {"start": parts[0].start, "end": parts[0].end, "speaker": parts[-1]}
    if len(parts) not in (3, 4):
        raise TypeError
    return dict(zip(("start", "end", "speaker", "text"), parts, strict=False))


def _has_ends(value: Any) -> bool:
    """Return True for a segment: a JSON object, or one of pyannote."""
    if isinstance(value, Mapping):
        return "start" in value and "end" in value
    return hasattr(value, "start") and hasattr(value, "end")


def _no_list(value: Any) -> BadRequest:
    return BadRequest(
        f"{_short(value)} holds no list of segments; give start, end and speaker of each."
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
