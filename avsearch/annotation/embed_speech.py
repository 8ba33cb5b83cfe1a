"""Vectors of the speech segments of a recording, in one pass and in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from avsearch.annotation.audio_source import ProgressCallback, Recording, ignore_progress
from avsearch.annotation.identification.speaker_model import MIN_SPEECH_S, SpeechSegment
from avsearch.annotation.resume import SavedVectors
from avsearch.annotation.turns import Diarization, Turn, intersect_turns, speech_by_speaker
from avsearch.media.audio import MIN_AUDIO_S
from avsearch.media.samples import Samples
from avsearch.media.speech_segments import Span
from avsearch.media.vad import find_speech_in_stream
from indexer.types import Embedder, Media, Vectors

_BATCH: Final = 64  # segments in memory: at most 41 MB of audio


def cut_silence(recording: Recording, diarization: Diarization) -> tuple[list[Turn], list[str]]:
    """Return the turns of a recording without the silence in them, and notes.

    Turns that are marked by hand hold pauses, which distort the vector of a voice. The turns of a
    speaker with hardly any detected speech stay as they are, with a note.
    """
    parts = intersect_turns(diarization.turns, find_speech_in_stream(recording.stream))
    spoken_s = {
        speaker: sum(span.duration_s for span in spans)
        for speaker, spans in speech_by_speaker(parts).items()
    }
    silent = [
        speaker
        for speaker, spans in speech_by_speaker(diarization.turns).items()
        if spoken_s.get(speaker, 0.0) < min(MIN_SPEECH_S, sum(s.duration_s for s in spans) / 2)
    ]
    kept = [part for part in parts if part.speaker not in silent]
    kept += [turn for turn in diarization.turns if turn.speaker in silent]
    notes = [f"speakers in whose turns no speech was found: {', '.join(silent)}."] if silent else []
    return kept, notes


class SpeechEmbedder:
    """Embeds segments of a recording.

    ``saved`` holds the vectors of an interrupted run; ``on_progress`` receives the seconds that
    were read. Afterwards ``duration_s`` is the length of the recording.
    """

    def __init__(
        self,
        recording: Recording,
        embedder: Embedder,
        saved: SavedVectors | None = None,
        on_progress: ProgressCallback = ignore_progress,
    ) -> None:
        self.duration_s = 0.0
        self._recording, self._embedder = recording, embedder
        self._saved, self._on_progress = saved, on_progress

    def embed(self, wanted: Sequence[tuple[str, Span]]) -> Iterator[SpeechSegment]:
        """Yield the segments of (speaker, span) pairs, each with a unit vector, by their starts.

        Segments beyond the end of the audio, and those without a finite vector, are left out.
        """
        audio = self._recording.cut((span for _, span in wanted), self._progress)
        pairs = zip((speaker for speaker, _ in wanted), audio, strict=True)
        while batch := list(itertools.islice(pairs, _BATCH)):
            audible = [
                (speaker, span, samples)
                for speaker, (span, samples) in batch
                if span.duration_s >= MIN_AUDIO_S
            ]
            vectors = self._vectors({span: samples for _, span, samples in audible})
            for speaker, span, _ in audible:
                vector = vectors[span]
                length = np.linalg.norm(vector)
                if np.isfinite(length) and length > 0:
                    yield SpeechSegment(speaker, span, vector / length)

    def _progress(self, seconds: float) -> None:
        self.duration_s = seconds
        self._on_progress(seconds)

    def _vectors(self, audio: Mapping[Span, Samples]) -> Mapping[Span, Vectors]:
        known = {} if self._saved is None else self._saved.vectors
        new = [span for span in audio if span not in known]
        path = self._recording.display_path
        media = [Media(path, "voice", *span, data=audio[span]) for span in new]
        made = dict(zip(new, self._embedder.embed(media).vectors, strict=True)) if new else {}
        if self._saved is not None:
            for span, vector in made.items():
                self._saved.add(span, vector)
        return {span: known[span] if span in known else made[span] for span in audio}
