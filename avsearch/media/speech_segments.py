"""Turns of speech grouped into stretches of a length that is good to embed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

LONGEST_S: Final = 10.0  # longer says little more about a voice, and may hold two people
BRIDGED_GAP_S: Final = 1.0  # a breath or a pause for thought inside what one person says
LEAST_SPEECH_S: Final = 0.25  # less is a cough or a click
WINDOW_S: Final = 3.0  # long enough to know a voice, short enough to be of one speaker mostly
_SHORT_S: Final = 1.0  # too short to know a voice well
_WITHIN_S: Final = 0.3  # a pause that seldom lies between two speakers


class Span(NamedTuple):
    """A range of time in a sound, in seconds from its start."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return self.end_s - self.start_s


def stretches(turns: Iterable[Span], longest_s: float = LONGEST_S) -> list[Span]:
    """Group turns of speech, in order and not overlapping, into stretches.

    None is longer than ``longest_s``, none overlaps another, and each begins and ends with
    speech. Pauses of up to a second stay inside a stretch. A longer turn is cut into equal
    parts. Stretches with less than 0.25 s of speech are dropped, unless that leaves nothing.
    """
    groups: list[list[Span]] = []
    for turn in turns:
        for part in _equal_parts(turn, longest_s):
            if groups and _belongs(part, groups[-1], longest_s):
                groups[-1].append(part)
            else:
                groups.append([part])
    kept = [group for group in groups if _speech_s(group) >= LEAST_SPEECH_S] or groups
    return [Span(group[0].start_s, group[-1].end_s) for group in kept]


def windows(turns: Iterable[Span]) -> list[Span]:
    """Turns of speech in equal parts of at most three seconds."""
    return [part for turn in turns for part in _equal_parts(turn, WINDOW_S)]


def joined_windows(turns: Iterable[Span]) -> list[Span]:
    """Return the windows of turns, of which short ones are joined to their neighbours.

    That is where the pause between them is short, and both together are at most three seconds.
    """
    joined: list[Span] = []
    for window in windows(turns):
        before = joined[-1] if joined else None
        if (
            before is not None
            and 0 < window.start_s - before.end_s <= _WITHIN_S
            and min(window.duration_s, before.duration_s) < _SHORT_S
            and window.end_s - before.start_s <= WINDOW_S
        ):
            joined[-1] = Span(before.start_s, window.end_s)
        else:
            joined.append(window)
    return joined


def _equal_parts(turn: Span, longest_s: float) -> list[Span]:
    count = max(1, math.ceil(turn.duration_s / longest_s))
    cuts = [turn.start_s + turn.duration_s * i / count for i in range(count)]
    return [Span(*ends) for ends in zip(cuts, [*cuts[1:], turn.end_s], strict=True)]


def _belongs(part: Span, group: Sequence[Span], longest_s: float) -> bool:
    gap_s = part.start_s - group[-1].end_s
    return gap_s <= BRIDGED_GAP_S and part.end_s - group[0].start_s <= longest_s


def _speech_s(group: Sequence[Span]) -> float:
    return sum(turn.duration_s for turn in group)
