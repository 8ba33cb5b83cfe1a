"""Vectors of the stretches of a recording, in one pass over it and in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from avsearch.annotation.audio_source import Heard, Recording
from avsearch.annotation.identification.speaker_model import LEAST_SPEECH_S, Stretch
from avsearch.annotation.resume import KeptVectors
from avsearch.annotation.turns import Diarization, Turn, cut_to_speech, speech_of
from avsearch.media.audio import SHORTEST_S, Samples
from avsearch.media.speech_segments import Span
from avsearch.media.vad import find_speech_in_stream
from indexer.types import Embedder, Media, Vectors

_AT_ONCE: Final = 64  # stretches held in memory: at most 41 MB of sound


def spoken_parts(recording: Recording, said: Diarization) -> tuple[list[Turn], list[str]]:
    """Return the turns of a recording without the silence in them, and notes.

    Turns that are marked by hand hold pauses, which make a voice less like itself. The turns of a
    speaker in which hardly any speech is found are left as they are, with a note.
    """
    parts = cut_to_speech(said.turns, find_speech_in_stream(recording.stream))
    found = {who: sum(span.duration_s for span in spans) for who, spans in speech_of(parts).items()}
    silent = [
        who
        for who, spans in speech_of(said.turns).items()
        if found.get(who, 0.0) < min(LEAST_SPEECH_S, sum(each.duration_s for each in spans) / 2)
    ]
    kept = [part for part in parts if part.speaker not in silent]
    kept += [turn for turn in said.turns if turn.speaker in silent]
    notes = [f"speakers in whose turns no speech was found: {', '.join(silent)}."] if silent else []
    return kept, notes


class Listener:
    """Embeds stretches of a recording; knows afterwards how long it was.

    ``kept`` holds what a run that was stopped has embedded already; ``heard`` is told the
    seconds that were read.
    """

    def __init__(
        self,
        recording: Recording,
        embedder: Embedder,
        kept: KeptVectors | None = None,
        heard: Heard = lambda _: None,
    ) -> None:
        self.duration_s = 0.0
        self._recording, self._embedder = recording, embedder
        self._kept, self._told = kept, heard

    def listen(self, wanted: Sequence[tuple[str, Span]]) -> Iterator[Stretch]:
        """The stretches that could be embedded, each with a unit vector, by their starts.

        Left out is what lies beyond the end of the sound, and what gives no finite vector.
        """
        speakers = [speaker for speaker, _ in wanted]
        sounds = self._recording.cut((span for _, span in wanted), self._hear)
        pairs = zip(speakers, sounds, strict=True)
        while some := list(itertools.islice(pairs, _AT_ONCE)):
            yield from self._embedded([(who, *sound) for who, sound in some])

    def _hear(self, seconds: float) -> None:
        self.duration_s = seconds
        self._told(seconds)

    def _embedded(self, some: Iterable[tuple[str, Span, Samples]]) -> Iterator[Stretch]:
        long_enough = [one for one in some if one[1].duration_s >= SHORTEST_S]
        vectors = self._vectors({span: samples for _, span, samples in long_enough})
        for speaker, span, _ in long_enough:
            vector = vectors[span]
            length = np.linalg.norm(vector)
            if np.isfinite(length) and length > 0:
                yield Stretch(speaker, span, vector / length)

    def _vectors(self, sounds: Mapping[Span, Samples]) -> Mapping[Span, Vectors]:
        known = {} if self._kept is None else self._kept.known
        new = [span for span in sounds if span not in known]
        media = [Media(self._recording.shown, "voice", *span, data=sounds[span]) for span in new]
        made = dict(zip(new, self._embedder.embed(media).vectors, strict=True)) if new else {}
        if self._kept is not None:
            for span, vector in made.items():
                self._kept.add(span, vector)
        return {span: known[span] if span in known else made[span] for span in sounds}
