"""Read a diarization of any format."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from avsearch.annotation.formats import FORMAT_LIST
from avsearch.annotation.formats.captions import is_captions, read_captions
from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.json_segments import from_values, read_json, rows_of_frame
from avsearch.annotation.formats.lines import decoded
from avsearch.annotation.formats.pyannote import find_annotation, from_annotation
from avsearch.annotation.formats.rttm import is_rttm, read_rttm
from avsearch.annotation.formats.tab_separated import is_labels, is_table, read_labels, read_table
from avsearch.annotation.formats.tiers import is_eaf, is_textgrid, read_eaf, read_textgrid
from avsearch.annotation.turns import Diarization
from indexer.errors import BadRequest, os_reason, printable

STANDARD_INPUT: Final = "-"
_MAX_BYTES: Final = 256 * 2**20  # no diarization is so long; a video given by mistake is


def read_diarization(
    source: Any, recording: str | None = None, recording_id: str | None = None
) -> Diarization:
    """Return the turns of a file, of an ``Annotation`` or a pipeline's output, or of segments.

    Args:
        source: A file in one of :data:`avsearch.annotation.formats.FORMATS`, detected by its
            content: a path, "-" for standard input, or an open file. An ``Annotation``. Segments,
            which are (start, end, speaker) or WhisperX's, as a list, an object with a list in it,
            or a data frame. Or a :class:`Diarization`.
        recording: The stem of the recording's file, to choose among several recordings.
        recording_id: The id of the recording, in place of its name.

    Raises:
        BadRequest: The source is something else, has no turn, or is of other recordings.
    """
    choice = RecordingChoice(recording, recording_id)
    diarization = _read(source, choice)
    if recording_id is not None:
        if diarization.recording is None:
            raise BadRequest(
                "The turns do not say which recording they are of; leave out "
                f"--recording {recording_id}."
            )
        choice.select([diarization.recording])
    return diarization


def _read(source: Any, choice: RecordingChoice) -> Diarization:
    if isinstance(source, Diarization):
        return source
    if isinstance(source, str | Path) or hasattr(source, "read"):
        name, content = _content(source)
        try:
            return _parse(content, choice)
        except BadRequest as error:
            raise BadRequest(f"{name}: {error}") from error
    annotation = find_annotation(source)
    if annotation is not None:
        return from_annotation(annotation)
    if isinstance(source, tuple) and source and rows_of_frame(source[0]) is not None:
        source = source[0]  # WhisperX can return embeddings beside the frame
    rows = rows_of_frame(source)
    return from_values(source if rows is None else rows, choice)


def _content(source: Any) -> tuple[str, bytes]:
    """Return the name of a file for messages, and its bytes."""
    stream = sys.stdin.buffer if str(source) == STANDARD_INPUT else source
    path = Path(stream) if isinstance(stream, str | Path) else None
    called = str(getattr(stream, "name", "")) if path is None else str(path)
    # The name of an open file may be a number or <stdin>.
    named = path is not None or not (called[:1] in ("", "<") or called.isdecimal())
    name = printable(Path(called)) if named else "standard input"
    try:
        with contextlib.nullcontext(stream) if path is None else path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadRequest(f"{name} cannot be read: {os_reason(error)}.") from error
    if len(content) > _MAX_BYTES:
        raise BadRequest(f"{name} is no diarization: it has over 256 MB.")
    return name, content.encode() if isinstance(content, str) else content


def _parse(content: bytes, choice: RecordingChoice) -> Diarization:
    if is_textgrid(content):
        return read_textgrid(content)
    if is_eaf(content):
        return read_eaf(content)
    text = decoded(content)
    for detects, read in _READERS:
        if detects(text):
            return read(text, choice)
    what = "is in no format that is known" if text.strip() else "is empty"
    raise BadRequest(f"it {what}. Turns are taken as {FORMAT_LIST}.")


def _is_json(text: str) -> bool:
    """Return True if a text starts as JSON, and not as a transcript with [SPEAKER_00]."""
    return bool(re.match(r"\s*(?:\{|\[\s*(?:[\[{\]\"\d-]|null\b|$))", text))


# In this order: a header of a table may begin with SPEAKER, and a caption with numbers.
_READERS: Final[
    tuple[tuple[Callable[[str], bool], Callable[[str, RecordingChoice], Diarization]], ...]
] = (
    (is_captions, lambda text, _: read_captions(text)),
    (_is_json, read_json),
    (is_table, read_table),
    (is_rttm, read_rttm),
    (is_labels, lambda text, _: read_labels(text)),
)
