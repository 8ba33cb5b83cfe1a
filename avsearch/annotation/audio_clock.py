"""The two clocks of a recording: that of the file, and that of its audio without gaps.

A player shows the first. A diarizer uses the second if it reads the audio alone, as
``ffmpeg -i FILE sound.wav`` extracts it. They differ where the audio of a video starts after its
frames, or has gaps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from avsearch.annotation.audio_source import Recording
from avsearch.annotation.turns import Turn, subtract, union
from avsearch.media.speech_segments import Span
from avsearch.media.vad import find_speech_in_stream

_MARGIN_S: Final = 0.5  # the speech by which the clock of the file must be better


class Gap(NamedTuple):
    """A gap in the audio: the seconds of audio before it, and its length."""

    at_s: float
    length_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class AudioClock:
    """The clock of audio without its gaps; the clock of the file if ``gaps`` is empty."""

    gaps: tuple[Gap, ...] = ()

    def on_file(self, span: Span) -> Span:
        """Return a span of the audio on the clock of the file, without gaps at its ends."""
        before_s = sum(gap.length_s for gap in self.gaps if gap.at_s <= span.start_s)
        within_s = sum(gap.length_s for gap in self.gaps if span.start_s < gap.at_s < span.end_s)
        return Span(span.start_s + before_s, span.end_s + before_s + within_s)

    def turns_on_file(self, turns: Iterable[Turn]) -> tuple[Turn, ...]:
        """Return turns of the audio on the clock of the file."""
        return tuple(
            Turn(*self.on_file(Span(turn.start_s, turn.end_s)), turn.speaker, turn.text)
            for turn in turns
        )

    def fits(self, turns: Sequence[Turn], speech: Sequence[Span]) -> bool:
        """Return True if turns are on this clock, False if on that of the file.

        The right clock is the one on which they contain more of the speech, whose spans are on the
        clock of the file.
        """
        here_s = _speech_in(self.turns_on_file(turns), speech)
        return here_s >= _speech_in(turns, speech) - _MARGIN_S


class ClockedRecording(NamedTuple):
    """A recording on the clock of some turns, that clock, and notes on it."""

    recording: Recording
    clock: AudioClock
    notes: tuple[str, ...]


def match_clock(recording: Recording, turns: Sequence[Turn]) -> ClockedRecording:
    """Return a recording on the clock of turns, or on that of the file without turns.

    The audio is decoded for this only if the two clocks differ.
    """
    if not turns or not recording.has_gaps():
        return ClockedRecording(recording, AudioClock(), ())
    gaps: list[Gap] = []
    for _ in recording.without_gaps(lambda *gap: gaps.append(Gap(*gap))).stream():
        pass
    clock, silent_s = AudioClock(tuple(gaps)), sum(gap.length_s for gap in gaps)
    silent = f"The file has no audio for {silent_s:.1f} s in all. The turns fit"
    if clock.fits(turns, find_speech_in_stream(recording.stream)):
        note = f"{silent} its audio without these gaps, and so do the times of the result."
        return ClockedRecording(recording.without_gaps(lambda *_: None), clock, (note,))
    return ClockedRecording(recording, AudioClock(), (f"{silent} the clock of the file.",))


def _speech_in(turns: Iterable[Turn], speech: Sequence[Span]) -> float:
    """Return the seconds of speech in turns."""
    spoken = union(Span(turn.start_s, turn.end_s) for turn in turns)
    missed = subtract(spoken, speech)
    return sum(span.duration_s for span in spoken) - sum(span.duration_s for span in missed)
