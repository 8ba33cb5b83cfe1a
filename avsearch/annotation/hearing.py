"""Vectors of the stretches of a recording, in one pass over it and in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from avsearch.annotation.kept import KeptVectors
from avsearch.annotation.recording import Heard, Recording
from avsearch.annotation.speakers import Stretch
from avsearch.media.sound import SHORTEST_S, Samples
from avsearch.media.stretches import Span
from indexer.types import Embedder, Media, Vectors

_AT_ONCE: Final = 64  # stretches held in memory: at most 41 MB of sound


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
