"""The voices of a video for an index: one item per speaker."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avsearch.annotation.identification.clustering import label_speakers, segments_to_turns
from avsearch.annotation.identification.speaker_model import (
    MIN_SPEECH_S,
    SpeechSegment,
    speaker_models,
)
from avsearch.media.file_types import kind_of
from avsearch.media.speech_segments import MAX_SEGMENT_S, Span
from indexer.records import NewItem


@dataclasses.dataclass(frozen=True, slots=True)
class MergeBySpeaker:
    """Merges the speech windows of a video by speaker; a MergeItems of the indexer.

    Windows whose cosine is at least ``min_cosine`` may be of one speaker.
    """

    min_cosine: float

    def __call__(self, path: Path, items: Sequence[NewItem]) -> list[NewItem]:
        """Return the items of a file; those of a video with one per speaker and not per window."""
        if kind_of(path) != "video":
            return list(items)
        by_person: dict[str, list[NewItem]] = {}
        for item in items:
            if item.modality == "voice":
                by_person.setdefault(item.person, []).append(item)
        merged = [item for windows in by_person.values() for item in self._merge(windows)]
        return [*(item for item in items if item.modality == "face"), *merged]

    def _merge(self, windows: Sequence[NewItem]) -> Sequence[NewItem]:
        """Return an item per speaker: the longest turn, and the mean of all windows.

        A speaker with under half a second is a cough or a word, and is left out beside others.
        """
        if len(windows) == 1:
            return windows
        lengths = [float(np.linalg.norm(window.vector)) or 1.0 for window in windows]
        units = [
            SpeechSegment("", _span(window), window.vector / np.float32(length))
            for window, length in zip(windows, lengths, strict=True)
        ]
        segments = label_speakers(units, self.min_cosine)
        turns, models = segments_to_turns(segments), speaker_models(segments)
        enough = {who for who, model in models.items() if model.speech_s >= MIN_SPEECH_S}
        merged = []
        for speaker, model in models.items():
            if enough and speaker not in enough:
                continue
            spans = [
                Span(turn.start_s, min(turn.end_s, turn.start_s + MAX_SEGMENT_S))
                for turn in turns
                if turn.speaker == speaker
            ]
            longest = max(spans, key=lambda span: (span.duration_s, span))
            vector = model.vector * np.float32(np.mean(lengths))
            person = windows[0].person
            merged.append(NewItem(person, "voice", *longest, None, vector, model.speech_s))
        return merged


def _span(window: NewItem) -> Span:
    return Span(window.start_s, window.start_s if window.end_s is None else window.end_s)
