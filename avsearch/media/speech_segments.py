"""Turns of speech to segments of a length that is good to embed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

MAX_SEGMENT_S: Final = 10.0  # longer says little more about a voice, and may hold two people
BRIDGED_GAP_S: Final = 1.0  # a breath or a pause for thought inside what one person says
MIN_SEGMENT_SPEECH_S: Final = 0.25  # less is a cough or a click
WINDOW_S: Final = 3.0  # long enough to know a voice, short enough to be mostly of one speaker
_SHORT_S: Final = 1.0  # too short to know a voice well
_SHORT_PAUSE_S: Final = 0.3  # seldom lies between two speakers


class Span(NamedTuple):
    """A range of time, in seconds from the start of the audio."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """The length in seconds."""
        return self.end_s - self.start_s


def group_turns(turns: Iterable[Span]) -> list[Span]:
    """Group turns of speech, in order and not overlapping, into segments.

    No segment is longer than 10 s or overlaps another one, and each starts and ends with speech.
    Pauses of up to a second stay inside a segment. A longer turn is cut into equal parts. Segments
    with less than 0.25 s of speech are dropped, unless that leaves none.
    """
    groups: list[list[Span]] = []
    for part in (part for turn in turns for part in equal_parts(turn, MAX_SEGMENT_S)):
        group = groups[-1] if groups else None
        if (
            group is not None
            and part.start_s - group[-1].end_s <= BRIDGED_GAP_S
            and part.end_s - group[0].start_s <= MAX_SEGMENT_S
        ):
            group.append(part)
        else:
            groups.append([part])
    kept = [
        group for group in groups if sum(turn.duration_s for turn in group) >= MIN_SEGMENT_SPEECH_S
    ]
    return [Span(group[0].start_s, group[-1].end_s) for group in kept or groups]


def cut_windows(turns: Iterable[Span]) -> list[Span]:
    """Cut turns of speech into equal parts of at most three seconds."""
    return [part for turn in turns for part in equal_parts(turn, WINDOW_S)]


def merged_windows(turns: Iterable[Span]) -> list[Span]:
    """Cut turns into windows, and join short windows to their neighbours.

    Two are joined where the pause between them is short and they have at most three seconds.
    """
    joined: list[Span] = []
    for window in cut_windows(turns):
        before = joined[-1] if joined else None
        if (
            before is not None
            and 0 < window.start_s - before.end_s <= _SHORT_PAUSE_S
            and min(window.duration_s, before.duration_s) < _SHORT_S
            and window.end_s - before.start_s <= WINDOW_S
        ):
            joined[-1] = Span(before.start_s, window.end_s)
        else:
            joined.append(window)
    return joined


def equal_parts(span: Span, max_s: float) -> list[Span]:
    """Cut a span into the fewest equal parts of at most ``max_s`` seconds."""
    count = max(1, math.ceil(span.duration_s / max_s))
    cuts = [span.start_s + span.duration_s * i / count for i in range(count)]
    return [Span(*ends) for ends in zip(cuts, [*cuts[1:], span.end_s], strict=True)]
