"""Turns as JSON and as values of Python: WhisperX, pyannote, data frames, plain lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.columns import Columns, Role, columns_of, has_times
from avsearch.annotation.formats.label_studio import is_task, read_tasks
from avsearch.annotation.turns import Diarization, Turn, build_diarization, speaker_text
from indexer.errors import BadRequest

_LISTS: Final = ("segments", "diarization", "speaker_diarization", "content", "output", "data")
_INNER: Final = ("segment", "value")  # where some tools put the start and the end
_NEEDED: Final = "it needs a start and an end in seconds, and a speaker."


def read_json(text: str, wanted: RecordingChoice) -> Diarization:
    """Return the turns of a JSON text, or of one with an object a line.

    Raises BadRequest for one that is cut short or of no shape that is known.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        try:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise BadRequest(f"it is no JSON ({error}); write it again.") from error
    return from_values(value, wanted)


def from_values(value: Any, wanted: RecordingChoice | None = None) -> Diarization:
    """Return the turns of what JSON gives, or Python has.

    That is a list, or an object with a list in it; of objects with a start, an end and a speaker,
    of (start, end, speaker), or of (segment, speaker) with pyannote's segments; or an object of
    columns, or of such lists by recording; or tasks of Label Studio. Where the objects, or the
    object around them, name the recording, those of the wanted one are taken.
    """
    wanted = wanted or RecordingChoice()
    if isinstance(value, Mapping):
        return _from_object(value, wanted)
    if not isinstance(value, Iterable) or isinstance(value, str | bytes):
        raise _no_list(value)
    elements = list(value)
    tasks = [each for each in elements if is_task(each)]
    return read_tasks(tasks, wanted) if tasks else _from_elements(elements, wanted)


def rows_of_frame(value: Any) -> list[Mapping[str, Any]] | None:
    """Return the rows of a data frame of pandas or polars, or of a table of Arrow.

    None for another value.
    """
    rows: list[Mapping[str, Any]] | None = None
    if hasattr(value, "to_dicts"):
        rows = value.to_dicts()
    elif hasattr(value, "to_pylist") and hasattr(value, "columns"):
        rows = value.to_pylist()
    elif hasattr(value, "to_dict") and not hasattr(value, "to_frame"):  # which a single column has
        rows = value.to_dict("records")
    return rows


def _from_object(value: Mapping[Any, Any], wanted: RecordingChoice) -> Diarization:
    if is_task(value):
        return read_tasks([value], wanted)
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        # As pandas writes JSON with orient="split".
        rows = [dict(zip(value["columns"], row, strict=False)) for row in value["data"]]
        return _from_elements(rows, wanted)
    for key in _LISTS:
        if key in value:
            named = value.get("uri") or value.get("recording")
            return _named(from_values(value[key], wanted), named, wanted)
    parts = list(value.values())
    are_columns = has_times([str(key) for key in value])
    if parts and all(isinstance(each, Mapping) for each in parts):
        # As pandas writes JSON with orient="columns" or "index".
        if are_columns:
            parts = [{key: each.get(at) for key, each in value.items()} for at in parts[0]]
        return _from_elements(parts, wanted)
    if not parts or any(isinstance(each, str) or not hasattr(each, "__len__") for each in parts):
        raise _no_list(value)
    if are_columns:
        return _from_elements(_rows(value), wanted)
    chosen, notes = wanted.among([str(key) for key in value])
    said = from_values(next(each for key, each in value.items() if str(key) == chosen))
    return Diarization(said.turns, chosen, (*notes, *said.notes))


def _named(said: Diarization, named: Any, wanted: RecordingChoice) -> Diarization:
    """Return turns with the recording that the object around them names, if they name none."""
    if said.recording is not None or not isinstance(named, str):
        return said
    chosen, notes = wanted.among([named])
    return Diarization(said.turns, chosen, (*said.notes, *notes))


def _rows(columns: Mapping[Any, Sequence[Any]]) -> list[dict[Any, Any]]:
    """Return the rows of columns by their names."""
    if len({len(each) for each in columns.values()}) > 1:
        raise BadRequest(f"the lists {', '.join(map(str, columns))} are not of one length.")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _from_elements(elements: Sequence[Any], wanted: RecordingChoice) -> Diarization:
    plain = [_plain(number, each) for number, each in enumerate(elements, 1)]
    recordings = [each.recording for each in plain]
    recording, notes = None, list[str]()
    if any(recordings):
        recording, notes = wanted.among([each for each in recordings if each])
    turns = [each.turn for each in plain if each.recording in ("", recording)]
    return build_diarization(turns, recording, notes)


class _Element(NamedTuple):
    turn: Turn
    recording: str


def _plain(number: int, element: Any) -> _Element:
    """Return the turn that an element is, and the recording it names, if any."""
    if isinstance(element, Turn):
        return _Element(element, "")
    try:
        values = _values(element)
        return _element(_columns(values), list(values.values()))
    except (TypeError, ValueError, KeyError) as error:
        raise BadRequest(f"segment {number} is {_short(element)}; {_NEEDED}") from error


def _columns(values: Mapping[Any, Any]) -> Columns:
    names = tuple(str(key) for key in values)
    if not has_times(names):
        raise KeyError
    return columns_of(names)


def _element(columns: Columns, values: Sequence[Any]) -> _Element:
    def value(role: Role) -> Any:
        place = columns.place(role)
        return None if place is None else values[place]

    start_s = columns.units["start"].seconds(value("start"))
    end_s = columns.units[columns.ending].seconds(value(columns.ending))
    if columns.ending == "duration":
        end_s += start_s
    text, recording = value("text"), value("recording")
    said = text.strip() if isinstance(text, str) else None
    turn = Turn(start_s, end_s, speaker_text(value("speaker")), said)
    return _Element(turn, recording if isinstance(recording, str) else "")


def _values(element: Any) -> Mapping[Any, Any]:
    """Return an element as an object with a start, an end and a speaker; TypeError for others."""
    if hasattr(element, "_asdict"):  # a row of a data frame
        return _values(element._asdict())
    if isinstance(element, Mapping):
        inner: Any = next((element[key] for key in _INNER if _has_ends(element.get(key))), {})
        times = inner if isinstance(inner, Mapping) else {"start": inner.start, "end": inner.end}
        labels = times.get("labels")
        return {**({"label": labels[0]} if labels else {}), **times, **element}
    if isinstance(element, str | bytes) or not isinstance(element, Iterable):
        raise TypeError
    parts = list(element)
    if parts and _has_ends(parts[0]):  # of pyannote, with a track or without
        return {"start": parts[0].start, "end": parts[0].end, "speaker": parts[-1]}
    if len(parts) not in (3, 4):
        raise TypeError
    return dict(zip(("start", "end", "speaker", "text"), parts, strict=False))


def _has_ends(value: Any) -> bool:
    """Return True for a segment: an object of JSON, or one of pyannote."""
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
