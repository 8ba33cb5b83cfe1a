"""The voices of a video as an index has them: one item a speaker."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avsearch.annotation.identification.clustering import grouped, turns_of
from avsearch.annotation.identification.speaker_model import LEAST_SPEECH_S, Stretch, Voice, voices
from avsearch.media.file_types import kind_of
from avsearch.media.speech_segments import LONGEST_S, Span
from indexer.records import NewItem


@dataclasses.dataclass(frozen=True, slots=True)
class BySpeaker:
    """Joins the windows of speech of a video by speaker; an ``indexer.ingest.ingest.MergeItems``.

    Windows whose cosine is ``least`` may be one speaker's.
    """

    least: float

    def __call__(self, path: Path, items: Sequence[NewItem]) -> list[NewItem]:
        """The items of a file; of a video with one a speaker in place of the windows."""
        if kind_of(path) != "video":
            return list(items)
        faces = [item for item in items if item.modality == "face"]
        windows = [item for item in items if item.modality == "voice"]
        people = dict.fromkeys(item.person for item in windows)
        theirs = [[item for item in windows if item.person == who] for who in people]
        return [*faces, *(item for each in theirs for item in self._speakers(each))]

    def _speakers(self, windows: Sequence[NewItem]) -> Sequence[NewItem]:
        """An item a speaker: where they speak longest, and the mean of all they say.

        A group of under half a second is a cough or a word, and is left out beside others.
        """
        if len(windows) == 1:
            return windows
        lengths = [float(np.linalg.norm(window.vector)) or 1.0 for window in windows]
        units = [_unit(*each) for each in zip(windows, lengths, strict=True)]
        stretches = grouped(units, self.least)
        turns, heard = turns_of(stretches), voices(stretches)
        enough = {who for who, voice in heard.items() if voice.speech_s >= LEAST_SPEECH_S}
        return [
            _item(
                windows[0].person,
                max(_first_part(*turn[:2]) for turn in turns if turn.speaker == speaker),
                voice,
                float(np.mean(lengths)),
            )
            for speaker, voice in heard.items()
            if speaker in enough or not enough
        ]


def _unit(window: NewItem, length: float) -> Stretch:
    end_s = window.start_s if window.end_s is None else window.end_s
    return Stretch("", Span(window.start_s, end_s), window.vector / np.float32(length))


def _first_part(start_s: float, end_s: float) -> tuple[float, Span]:
    """A turn as far as an item goes, after its length."""
    span = Span(start_s, min(end_s, start_s + LONGEST_S))
    return span.duration_s, span


def _item(person: str, longest: tuple[float, Span], voice: Voice, length: float) -> NewItem:
    vector = voice.vector * np.float32(length)
    return NewItem(person, "voice", *longest[1], None, vector, voice.speech_s)
