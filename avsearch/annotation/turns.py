"""Diarizations: turns of speakers, and the speech in which only one of them speaks."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from avsearch.media.speech_segments import BRIDGED_GAP_S, MAX_SEGMENT_S, Span, equal_parts
from indexer.errors import BadRequest
from indexer.unicode_names import normalised

# What programs write for a missing value; never a speaker.
_MISSING: Final = frozenset(
    ("", "nan", "NaN", "-nan", "None", "null", "NULL", "NaT", "<NA>", "<na>", "NA", "N/A", "n/a")
)
_DECIMALS: Final = 6  # of a second: every format but WebVTT can hold them


class Turn(NamedTuple):
    """A turn of one speaker, in seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str
    text: str | None = None  # the transcript, if there is one


@dataclasses.dataclass(frozen=True, slots=True)
class Diarization:
    """Turns in order of their starts; those of two speakers may overlap.

    Attributes:
        turns: The turns.
        recording: The diarizer's name for the recording, if it has one.
        notes: Sentences on what was unusual.
    """

    turns: tuple[Turn, ...]
    recording: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def speakers(self) -> list[str]:
        """The speakers in the order in which they first speak."""
        return list(dict.fromkeys(turn.speaker for turn in self.turns))


def speaker_text(value: object) -> str:
    """Return a value as the label of a speaker, or "" if it names none.

    Text and whole numbers are labels; 1.0 is "1", as a column of whole numbers with a gap has it.
    Blank text, words for a missing value such as "nan", and anything else name no speaker.
    """
    if isinstance(value, str):
        return "" if value.strip() in _MISSING else value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return ""
    number = float(value)
    return str(int(number)) if number.is_integer() else ""


def build_diarization(
    turns: Iterable[Turn], recording: str | None = None, notes: Sequence[str] = ()
) -> Diarization:
    """Return turns in order, with times rounded to microseconds.

    Turns without length or without a speaker are left out, with a note.

    Raises:
        BadRequest: A turn starts before 0 or ends before its start, or no turn is left.
    """
    every = list(turns)
    named = [_rounded(turn) for turn in every if speaker_text(turn.speaker)]
    if every and not named:
        raise BadRequest("no turn says its speaker; run a diarization first.")
    kept = sorted((turn for turn in named if turn.end_s > turn.start_s), key=lambda turn: turn[:3])
    if not kept:
        raise BadRequest(
            "there is no turn of speech in it; leave it out to have speech found and grouped."
        )
    lost = {
        "turns that name no speaker": len(every) - len(named),
        "turns of no length": len(named) - len(kept),
    }
    more = [f"{what}, left out: {count}." for what, count in lost.items() if count]
    return Diarization(tuple(kept), recording, (*notes, *more))


def _rounded(turn: Turn) -> Turn:
    start_s, end_s, speaker, text = turn
    if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 <= start_s <= end_s):
        raise BadRequest(
            f"the turn of {speaker!r} from {start_s:g} s to {end_s:g} s is no range of time; "
            "a turn begins at 0 s or later and ends after its beginning."
        )
    times = round(start_s, _DECIMALS), round(end_s, _DECIMALS)
    return Turn(*times, normalised(speaker), text or None)


def clip_turns(diarization: Diarization, duration_s: float) -> Diarization:
    """Return the turns inside a recording of this length, with a note on those that were cut.

    Raises:
        BadRequest: No turn is left; the diarization is of another recording.
    """
    beyond = [turn for turn in diarization.turns if turn.end_s > duration_s + 10**-_DECIMALS]
    if not beyond:
        return diarization
    end_s = round(duration_s, _DECIMALS)
    turns = tuple(
        turn._replace(end_s=min(turn.end_s, end_s))
        for turn in diarization.turns
        if turn.start_s < end_s
    )
    if not turns:
        raise BadRequest(
            f"Every turn begins after the end of the audio, which lasts {duration_s:.2f} s; check "
            "that the turns are of this recording and their times in seconds."
        )
    note = (
        f"turns that reach beyond the end of the audio at {duration_s:.2f} s, cut there: "
        f"{len(beyond)}."
    )
    return dataclasses.replace(diarization, turns=turns, notes=(*diarization.notes, note))


def union(spans: Iterable[Span]) -> list[Span]:
    """Return the same time as spans in order that do not touch."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start_s <= merged[-1].end_s:
            merged[-1] = Span(merged[-1].start_s, max(merged[-1].end_s, span.end_s))
        else:
            merged.append(span)
    return merged


def subtract(spans: Sequence[Span], holes: Sequence[Span]) -> list[Span]:
    """Return spans without the time of others; both are in order and do not overlap."""
    rest: list[Span] = []
    ends = [hole.end_s for hole in holes]
    for start_s, end_s in spans:
        for hole in holes[bisect.bisect_right(ends, start_s) :]:
            if hole.start_s >= end_s:
                break
            if hole.start_s > start_s:
                rest.append(Span(start_s, hole.start_s))
            start_s = hole.end_s
        if start_s < end_s:
            rest.append(Span(start_s, end_s))
    return rest


def speech_by_speaker(turns: Iterable[Turn]) -> dict[str, list[Span]]:
    """Return the speech of each speaker, alone or not, as spans in order that do not touch."""
    spans: dict[str, list[Span]] = {}
    for turn in turns:
        spans.setdefault(turn.speaker, []).append(Span(turn.start_s, turn.end_s))
    return {speaker: union(each) for speaker, each in spans.items()}


def intersect_turns(turns: Iterable[Turn], speech: Sequence[Span]) -> list[Turn]:
    """Return the parts of turns that lie in speech, whose spans are in order and apart."""
    parts: list[Turn] = []
    ends = [span.end_s for span in speech]
    for turn in turns:
        for at in range(bisect.bisect_right(ends, turn.start_s), len(speech)):
            start_s, end_s = speech[at]
            if start_s >= turn.end_s:
                break
            times = max(start_s, turn.start_s), min(end_s, turn.end_s)
            parts.append(Turn(*times, turn.speaker, turn.text))
    return parts


def single_speaker_speech(turns: Sequence[Turn]) -> dict[str, list[Span]]:
    """Return the time in which each speaker speaks alone, as spans in order, maybe none."""
    speech = speech_by_speaker(turns)
    overlaps: list[Span] = []
    latest_s = 0.0
    for span in sorted(span for spans in speech.values() for span in spans):
        if span.start_s < latest_s:
            overlaps.append(Span(span.start_s, min(span.end_s, latest_s)))
        latest_s = max(latest_s, span.end_s)
    crosstalk = union(overlaps)
    return {speaker: subtract(spans, crosstalk) for speaker, spans in speech.items()}


def single_speaker_segments(turns: Sequence[Turn]) -> list[tuple[str, Span]]:
    """Return the speech of each speaker alone in segments of at most 10 s, by their starts.

    Pauses of up to a second in which nobody else speaks stay inside a segment.
    """
    anybody = union(span for spans in speech_by_speaker(turns).values() for span in spans)
    pauses = {
        Span(a.end_s, b.start_s)
        for a, b in itertools.pairwise(anybody)
        if b.start_s - a.end_s <= BRIDGED_GAP_S
    }
    found: list[tuple[str, Span]] = []
    for speaker, spans in single_speaker_speech(turns).items():
        bridged: list[Span] = []
        for span in spans:
            if bridged and Span(bridged[-1].end_s, span.start_s) in pauses:
                bridged[-1] = Span(bridged[-1].start_s, span.end_s)
            else:
                bridged.append(span)
        found += [(speaker, part) for span in bridged for part in equal_parts(span, MAX_SEGMENT_S)]
    return sorted(found, key=lambda one: one[1])
