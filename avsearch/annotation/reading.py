"""A diarization in whatever form a user has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avsearch.annotation.lines import read_text
from avsearch.annotation.pyannotes import annotation_in, from_annotation
from avsearch.annotation.rttm import read_rttm
from avsearch.annotation.segments import from_values, read_json
from avsearch.annotation.tables import read_audacity, read_elan
from avsearch.annotation.turns import Diarization
from avsearch.annotation.webvtt import read_webvtt


def read_diarization(source: Any, recording: str | None = None) -> Diarization:
    """Turns of a file, of an ``Annotation`` or a pipeline's output, or of segments in memory.

    A file is RTTM, JSON, WebVTT, an Audacity label track or ELAN's tab-delimited text, told by
    what is in it. Segments are (start, end, speaker) or WhisperX's, as a list, an object with a
    list in it, or a data frame. ``recording`` chooses among the recordings of an RTTM file.
    Raises BadRequest for what is none of these, or has no turn.
    """
    if isinstance(source, Diarization):
        return source
    if isinstance(source, str | Path):
        return _read_file(Path(source), recording)
    annotation = annotation_in(source)
    if annotation is not None:
        return from_annotation(annotation)
    if hasattr(source, "to_dict"):  # a data frame, as WhisperX's own diarization gives it
        return from_values(source.to_dict("records"))
    return from_values(source)


def _read_file(path: Path, recording: str | None) -> Diarization:
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    if path.suffix.lower() == ".json" or first.lstrip()[:1] in ("{", "["):
        return read_json(path)
    if first.startswith("WEBVTT"):
        return read_webvtt(path)
    if "\t" in first and not first.startswith("SPEAKER"):
        return read_elan(path) if "tier" in first.lower() else read_audacity(path)
    return read_rttm(path, recording)
