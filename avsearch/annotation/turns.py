"""Who speaks when, as a diarizer says it, and which of that speech is somebody's alone."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from avsearch.media.speech_segments import BRIDGED_GAP_S, LONGEST_S, Span
from indexer.errors import BadRequest
from indexer.unicode_names import normalised

# What programs write for a missing value: no speaker, and never somebody's name.
_MISSING: Final = frozenset(
    ("", "nan", "NaN", "-nan", "None", "null", "NULL", "NaT", "<NA>", "<na>", "NA", "N/A", "n/a")
)
_DECIMALS: Final = 6  # of a second: what every format but WebVTT can say, so that nothing is lost


class Turn(NamedTuple):
    """One stretch of one speaker's speech, in seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str
    text: str | None = None  # what was said, where a transcript says so


@dataclasses.dataclass(frozen=True, slots=True)
class Diarization:
    """Turns in order of their starts; those of two speakers may overlap.

    ``recording`` is what the diarizer calls the recording, if it says so. ``notes`` are
    sentences on what was odd in it.
    """

    turns: tuple[Turn, ...]
    recording: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def speakers(self) -> list[str]:
        """The speakers in the order in which they first speak."""
        return list(dict.fromkeys(turn.speaker for turn in self.turns))


def speaker_text(value: object) -> str:
    """Return the label of a speaker that a value is, or "" where it names none.

    Text and whole numbers are labels; 1.0 is "1", as a column of whole numbers with a gap in it
    has it. Blank text, words for a missing value such as "nan", and anything else name nobody.
    """
    if isinstance(value, str):
        return "" if value.strip() in _MISSING else value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return ""
    number = float(value)
    return str(int(number)) if number.is_integer() else ""


def diarization(
    turns: Iterable[Turn], recording: str | None = None, notes: Sequence[str] = ()
) -> Diarization:
    """Return turns in order, their times rounded to microseconds.

    Turns without length or without a speaker are left out, with a note. Raises BadRequest for one
    that begins before 0 or ends before it begins, and where none is left.
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


def clipped(said: Diarization, duration_s: float) -> Diarization:
    """The turns inside a recording of this length; what was cut off is noted.

    Raises BadRequest where nothing is left: the diarization is of another recording.
    """
    beyond = [turn for turn in said.turns if turn.end_s > duration_s + 10**-_DECIMALS]
    if not beyond:
        return said
    end_s = round(duration_s, _DECIMALS)
    turns = tuple(
        turn._replace(end_s=min(turn.end_s, end_s)) for turn in said.turns if turn.start_s < end_s
    )
    if not turns:
        raise BadRequest(
            f"Every turn begins after the end of the sound, which lasts {duration_s:.2f} s; check "
            "that the turns are of this recording and their times in seconds."
        )
    note = (
        f"turns that reach beyond the end of the sound at {duration_s:.2f} s, cut there: "
        f"{len(beyond)}."
    )
    return Diarization(turns, said.recording, (*said.notes, note))


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time as spans in order that do not touch."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start_s <= merged[-1].end_s:
            merged[-1] = Span(merged[-1].start_s, max(merged[-1].end_s, span.end_s))
        else:
            merged.append(span)
    return merged


def speech_of(turns: Iterable[Turn]) -> dict[str, list[Span]]:
    """When each speaker speaks, alone or not; spans in order that do not touch."""
    spans: dict[str, list[Span]] = {}
    for turn in turns:
        spans.setdefault(turn.speaker, []).append(Span(turn.start_s, turn.end_s))
    return {speaker: union(each) for speaker, each in spans.items()}


def cut_to_speech(turns: Iterable[Turn], speech: Sequence[Span]) -> list[Turn]:
    """Return the parts of turns in which somebody speaks; speech is in order and apart."""
    parts: list[Turn] = []
    ends = [span.end_s for span in speech]
    for turn in turns:
        for at in range(bisect.bisect_right(ends, turn.start_s), len(speech)):
            start_s, end_s = speech[at]
            if start_s >= turn.end_s:
                break
            within = Span(max(start_s, turn.start_s), min(end_s, turn.end_s))
            parts.append(turn._replace(start_s=within.start_s, end_s=within.end_s))
    return parts


def clean_speech(turns: Sequence[Turn]) -> dict[str, list[Span]]:
    """When each speaker speaks and nobody else does; spans in order, maybe none."""
    speech = speech_of(turns)
    crossed = union(_overlaps(span for spans in speech.values() for span in spans))
    return {speaker: without(spans, crossed) for speaker, spans in speech.items()}


def _overlaps(spans: Iterable[Span]) -> list[Span]:
    """Where two or more of spans are at once."""
    overlaps: list[Span] = []
    latest_s = 0.0
    for span in sorted(spans):
        if span.start_s < latest_s:
            overlaps.append(Span(span.start_s, min(span.end_s, latest_s)))
        latest_s = max(latest_s, span.end_s)
    return overlaps


def without(spans: Sequence[Span], holes: Sequence[Span]) -> list[Span]:
    """Spans less the time of others; both in order and apart from each other."""
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


def clean_stretches(turns: Sequence[Turn]) -> list[tuple[str, Span]]:
    """The speech of each speaker alone in stretches of at most 10 s, by their starts.

    Pauses of up to a second in which nobody else speaks stay inside a stretch.
    """
    anybody = union(span for spans in speech_of(turns).values() for span in spans)
    pauses = [
        Span(a.end_s, b.start_s)
        for a, b in itertools.pairwise(anybody)
        if b.start_s - a.end_s <= BRIDGED_GAP_S
    ]
    found = [
        (speaker, part)
        for speaker, spans in clean_speech(turns).items()
        for span in _bridged(spans, pauses)
        for part in _equal_parts(span)
    ]
    return sorted(found, key=lambda one: one[1])


def _bridged(spans: Sequence[Span], pauses: Sequence[Span]) -> list[Span]:
    """Spans joined over pauses that lie exactly between two of them."""
    silent = set(pauses)
    joined: list[Span] = []
    for span in spans:
        if joined and Span(joined[-1].end_s, span.start_s) in silent:
            joined[-1] = Span(joined[-1].start_s, span.end_s)
        else:
            joined.append(span)
    return joined


def _equal_parts(span: Span) -> list[Span]:
    count = max(1, math.ceil(span.duration_s / LONGEST_S))
    cuts = [span.start_s + span.duration_s * i / count for i in range(count)]
    return [Span(*ends) for ends in zip(cuts, [*cuts[1:], span.end_s], strict=True)]
