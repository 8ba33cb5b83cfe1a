"""A diarization in whatever form a user has it."""

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
from avsearch.annotation.formats.pyannote import annotation_in, from_annotation
from avsearch.annotation.formats.rttm import is_rttm, read_rttm
from avsearch.annotation.formats.tab_separated import is_labels, is_table, read_labels, read_table
from avsearch.annotation.formats.tiers import is_eaf, is_textgrid, read_eaf, read_textgrid
from avsearch.annotation.turns import Diarization
from indexer.errors import BadRequest, os_reason, printable

STANDARD_INPUT: Final = "-"
_LARGEST: Final = 256 * 2**20  # bytes: no diarization is so long, a film given by mistake is


def read_diarization(
    source: Any, recording: str | None = None, recording_id: str | None = None
) -> Diarization:
    """Return the turns of a file, of an ``Annotation`` or a pipeline's output, or of segments.

    A file is in one of :data:`avsearch.annotation.formats.FORMATS`, told by its content;
    "-" is standard input, and an open file is read. Segments are (start, end, speaker) or
    WhisperX's, as
    a list, an object with a list in it, or a data frame. Of turns of several recordings those of
    ``recording_id`` are taken, or else those of ``recording``, the stem of its file. Raises
    BadRequest for what is none of these, has no turn, or is of other recordings.
    """
    wanted = RecordingChoice(recording, recording_id)
    said = _read(source, wanted)
    if recording_id is not None:
        if said.recording is None:
            raise BadRequest(
                "The turns do not say which recording they are of; leave out "
                f"--recording {recording_id}."
            )
        wanted.among([said.recording])
    return said


def _read(source: Any, wanted: RecordingChoice) -> Diarization:
    if isinstance(source, Diarization):
        return source
    if isinstance(source, str | Path) or hasattr(source, "read"):
        return _read_file(source, wanted)
    annotation = annotation_in(source)
    if annotation is not None:
        return from_annotation(annotation)
    if isinstance(source, tuple) and source and rows_of_frame(source[0]) is not None:
        source = source[0]  # WhisperX gives embeddings beside the frame where it is asked to
    rows = rows_of_frame(source)
    return from_values(source if rows is None else rows, wanted)


def _read_file(source: Any, wanted: RecordingChoice) -> Diarization:
    name, content = _content(source)
    try:
        return _turns(content, wanted)
    except BadRequest as error:
        raise BadRequest(f"{name}: {error}") from error


def _content(source: Any) -> tuple[str, bytes]:
    """Return the name of a file for messages, and the bytes in it."""
    stream = sys.stdin.buffer if str(source) == STANDARD_INPUT else source
    path = Path(stream) if isinstance(stream, str | Path) else None
    called = str(getattr(stream, "name", "")) if path is None else str(path)
    # What is open may have a name, or a number, or be called <stdin>.
    named = path is not None or not (called[:1] in ("", "<") or called.isdecimal())
    name = printable(Path(called)) if named else "standard input"
    try:
        with contextlib.nullcontext(stream) if path is None else path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise BadRequest(f"{name} cannot be read: {os_reason(error)}.") from error
    if len(content) > _LARGEST:
        raise BadRequest(f"{name} is no diarization: it has over 256 MB.")
    return name, content.encode() if isinstance(content, str) else content


def _turns(content: bytes, wanted: RecordingChoice) -> Diarization:
    """Return the turns of a file by the reader that knows its format."""
    if is_textgrid(content):
        return read_textgrid(content)
    if is_eaf(content):
        return read_eaf(content)
    text = decoded(content)
    for knows, read in _READERS:
        if knows(text):
            return read(text, wanted)
    what = "is in no format that is known" if text.strip() else "is empty"
    raise BadRequest(f"it {what}. Turns are taken as {FORMAT_LIST}.")


def _is_json(text: str) -> bool:
    """Return True if a text begins as JSON, and not as a transcript does with [SPEAKER_00]."""
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
