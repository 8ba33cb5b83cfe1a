from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsearch.media.speech_segments import (
    BRIDGED_GAP_S,
    MAX_SEGMENT_S,
    MIN_SEGMENT_SPEECH_S,
    Span,
    group_turns,
)

ROUNDING_S = 1e-9


@st.composite
def turns(draw: st.DrawFn) -> list[Span]:
    """Turns of speech in order, apart from each other."""
    lengths = st.floats(0.05, 40) | st.floats(0.05, 0.5)
    pairs = draw(st.lists(st.tuples(st.floats(0.01, 5), lengths), min_size=1, max_size=20))
    found, now = list[Span](), 0.0
    for gap, length in pairs:
        found.append(Span(now + gap, now + gap + length))
        now = found[-1].end_s
    return found


def covered_s(turn: Span, spans: list[Span]) -> float:
    return sum(
        max(0.0, min(turn.end_s, span.end_s) - max(turn.start_s, span.start_s)) for span in spans
    )


@given(turns())
def test_none_is_too_long(given_turns: list[Span]) -> None:
    assert all(0 < s.duration_s <= MAX_SEGMENT_S + ROUNDING_S for s in group_turns(given_turns))


@given(turns())
def test_they_are_in_order_and_do_not_overlap(given_turns: list[Span]) -> None:
    spans = group_turns(given_turns)
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(spans))


@given(turns())
def test_they_begin_and_end_with_speech(given_turns: list[Span]) -> None:
    for span in group_turns(given_turns):
        assert any(turn.start_s <= span.start_s < turn.end_s for turn in given_turns)
        assert any(turn.start_s < span.end_s <= turn.end_s for turn in given_turns)


@given(turns())
def test_no_speech_is_lost_but_scraps(given_turns: list[Span]) -> None:
    spans = group_turns(given_turns)
    for turn in given_turns:
        if turn.duration_s >= MIN_SEGMENT_SPEECH_S:
            assert covered_s(turn, spans) == pytest.approx(turn.duration_s)


@given(turns())
def test_something_is_left(given_turns: list[Span]) -> None:
    assert group_turns(given_turns)


@given(turns())
def test_no_long_pause_is_inside(given_turns: list[Span]) -> None:
    for before, after in itertools.pairwise(given_turns):
        if after.start_s - before.end_s > BRIDGED_GAP_S:
            gap = Span(before.end_s, after.start_s)
            assert covered_s(gap, group_turns(given_turns)) == 0


def test_pauses_for_breath_are_kept() -> None:
    assert group_turns([Span(1, 3), Span(3.8, 5)]) == [Span(1, 5)]
    assert group_turns([Span(1, 3), Span(4.2, 5)]) == [Span(1, 3), Span(4.2, 5)]


def test_a_long_turn_is_cut_into_equal_parts() -> None:
    assert group_turns([Span(1, 25)]) == [Span(1, 9), Span(9, 17), Span(17, 25)]


def test_scraps_are_dropped_unless_they_are_all() -> None:
    assert group_turns([Span(1, 1.2), Span(5, 8)]) == [Span(5, 8)]
    assert group_turns([Span(1, 1.2)]) == [Span(1, 1.2)]
    assert group_turns([]) == []
