"""Annotations of pyannote.core, in and out. Its only importer, and only to create one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from avsearch.annotation.turns import Diarization, Turn, build_diarization, speaker_text
from indexer.runtime import optional_libraries


def find_annotation(value: Any) -> Any | None:
    """Return the ``Annotation`` that a value is, or that a pipeline's output holds, or None."""
    held = getattr(value, "speaker_diarization", value)
    return held if hasattr(held, "itertracks") else None


def from_annotation(annotation: Any) -> Diarization:
    """Return the turns of an ``Annotation``."""
    tracks = annotation.itertracks(yield_label=True)
    turns = [Turn(segment.start, segment.end, speaker_text(label)) for segment, _, label in tracks]
    return build_diarization(turns, annotation.uri)


def to_annotation(turns: Iterable[Turn], recording: str) -> Any:
    """Return turns as an ``Annotation``, one track each.

    Raises:
        LibraryUnusable: pyannote.core is not installed.
    """
    core = optional_libraries.load("pyannote.core", "An Annotation", "annotate")
    annotation = core.Annotation(uri=recording)
    for track, turn in enumerate(turns):
        annotation[core.Segment(turn.start_s, turn.end_s), track] = turn.speaker
    return annotation
