"""The two clocks of a recording: that of the file, and that of its sound without gaps.

A player shows the first. A diarizer uses the second if it reads the sound alone, as
``ffmpeg -i FILE sound.wav`` extracts it. They differ where the sound of a video starts after its
pictures, or has gaps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from avsearch.annotation.audio_source import Recording
from avsearch.annotation.turns import Turn, union, without
from avsearch.media.speech_segments import Span
from avsearch.media.vad import find_speech_in_stream

_BETTER_S: Final = 0.5  # more speech in the turns decides for the clock of the file


class Gap(NamedTuple):
    """A gap in a sound: the seconds of sound before it, and its length."""

    at_s: float
    length_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class SoundClock:
    """The clock of a sound without its gaps; the clock of the file if ``gaps`` is empty."""

    gaps: tuple[Gap, ...] = ()

    def on_file(self, span: Span) -> Span:
        """Return a span of the sound on the clock of the file, without gaps at its ends."""
        before_s = sum(gap.length_s for gap in self.gaps if gap.at_s <= span.start_s)
        within_s = sum(gap.length_s for gap in self.gaps if span.start_s < gap.at_s < span.end_s)
        return Span(span.start_s + before_s, span.end_s + before_s + within_s)

    def turns_on_file(self, turns: Iterable[Turn]) -> tuple[Turn, ...]:
        """Return turns of the sound on the clock of the file."""
        return tuple(
            Turn(*self.on_file(Span(turn.start_s, turn.end_s)), turn.speaker, turn.text)
            for turn in turns
        )

    def has(self, turns: Sequence[Turn], speech: Sequence[Span]) -> bool:
        """Return True if turns are on this clock, False if on that of the file.

        They are on the one on which they contain more speech. ``speech`` is on that of the file.
        """
        here_s = _held_s(self.turns_on_file(turns), speech)
        return here_s >= _held_s(turns, speech) - _BETTER_S


class Clocked(NamedTuple):
    """A recording on the clock of some turns, that clock, and notes on it."""

    recording: Recording
    clock: SoundClock
    notes: tuple[str, ...]


def clocked_by(recording: Recording, turns: Sequence[Turn]) -> Clocked:
    """Return a recording on the clock of turns, or on that of the file without turns.

    The sound is only decoded for this if the two clocks differ.
    """
    if not turns or not recording.has_gaps():
        return Clocked(recording, SoundClock(), ())
    gaps: list[Gap] = []
    gapless = recording.without_gaps(lambda *gap: gaps.append(Gap(*gap)))
    for _ in gapless.stream():
        pass
    clock, silent_s = SoundClock(tuple(gaps)), sum(gap.length_s for gap in gaps)
    silent = f"The file has no sound for {silent_s:.1f} s in all. The turns fit"
    if clock.has(turns, find_speech_in_stream(recording.stream)):
        note = f"{silent} its sound without these gaps, and so do the times of the result."
        return Clocked(recording.without_gaps(lambda *_: None), clock, (note,))
    return Clocked(recording, SoundClock(), (f"{silent} the clock of the file.",))


def _held_s(turns: Iterable[Turn], speech: Sequence[Span]) -> float:
    """Return the seconds of speech in turns."""
    spoken = union(Span(turn.start_s, turn.end_s) for turn in turns)
    return _length_s(spoken) - _length_s(without(spoken, speech))


def _length_s(spans: Iterable[Span]) -> float:
    return sum(span.duration_s for span in spans)
