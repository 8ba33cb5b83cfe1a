from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsearch.annotation.turns import (
    Turn,
    build_diarization,
    clip_turns,
    intersect_turns,
    single_speaker_segments,
    single_speaker_speech,
    speech_by_speaker,
    subtract,
    union,
)
from avsearch.media.speech_segments import Span
from indexer.errors import BadRequest

TENTHS = st.integers(0, 80)
TURNS = st.lists(
    st.tuples(TENTHS, st.integers(1, 30), st.sampled_from("abc")).map(
        lambda one: Turn(one[0] / 8, (one[0] + one[1]) / 8, one[2])
    ),
    min_size=1,
    max_size=12,
)
MOMENTS = [(at + 0.5) / 8 for at in range(120)]  # between all ends that the turns can have


def speaking(turns: list[Turn], time_s: float) -> set[str]:
    return {turn.speaker for turn in turns if turn.start_s < time_s < turn.end_s}


@given(TURNS)
def test_clean_speech_is_when_one_speaks_and_nobody_else(turns: list[Turn]) -> None:
    clean = single_speaker_speech(turns)
    for time_s in MOMENTS:
        expected = speaking(turns, time_s)
        for who in "abc":
            inside = any(a < time_s < b for a, b in clean.get(who, []))
            assert inside == (expected == {who})


@given(TURNS)
def test_speech_is_when_one_speaks_at_all_and_its_spans_are_apart(turns: list[Turn]) -> None:
    for who, spans in speech_by_speaker(turns).items():
        assert all(a.end_s < b.start_s for a, b in itertools.pairwise(spans))
        for time_s in MOMENTS:
            inside = any(a < time_s < b for a, b in spans)
            assert inside == (who in speaking(turns, time_s))


@given(TURNS)
def test_stretches_hold_no_other_speaker_and_all_of_the_clean_speech(turns: list[Turn]) -> None:
    stretches = single_speaker_segments(turns)
    assert stretches == sorted(stretches, key=lambda one: one[1])
    for who, span in stretches:
        assert 0 < span.duration_s <= 10
        for time_s in MOMENTS:
            if span.start_s < time_s < span.end_s:
                assert speaking(turns, time_s) <= {who}
    for who, spans in single_speaker_speech(turns).items():
        mine = [span for speaker, span in stretches if speaker == who]
        for span in spans:
            middle_s = (span.start_s + span.end_s) / 2
            assert any(a <= middle_s <= b for a, b in mine)


def test_a_breath_stays_in_a_stretch_and_a_word_of_another_does_not() -> None:
    breath = [Turn(0, 2, "a"), Turn(2.5, 4, "a")]
    assert single_speaker_segments(breath) == [("a", Span(0, 4))]
    word = [*breath, Turn(2.1, 2.3, "b")]
    assert single_speaker_segments(word) == [
        ("a", Span(0, 2)),
        ("b", Span(2.1, 2.3)),
        ("a", Span(2.5, 4)),
    ]


def test_spans_less_others() -> None:
    spans = [Span(0, 4), Span(5, 6)]
    assert subtract(spans, [Span(1, 2), Span(3, 5.5)]) == [Span(0, 1), Span(2, 3), Span(5.5, 6)]
    assert subtract(spans, []) == spans
    assert subtract(spans, [Span(0, 9)]) == []


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(-1, 2), (3, 2), (float("nan"), 1), (0, float("inf"))]
)
def test_a_turn_that_is_no_range_of_time_is_refused(start_s: float, end_s: float) -> None:
    with pytest.raises(BadRequest, match=r"'a' from .* is no range of time"):
        build_diarization([Turn(start_s, end_s, "a")])


def test_a_diarization_without_turns_is_refused() -> None:
    with pytest.raises(BadRequest, match="no turn of speech"):
        build_diarization([])
    with pytest.raises(BadRequest, match="no turn of speech"):
        build_diarization([Turn(1, 1, "a")])


@given(TURNS, TURNS)
def test_turns_cut_to_speech_are_when_somebody_speaks_in_them(
    turns: list[Turn], spoken: list[Turn]
) -> None:
    speech = union(Span(turn.start_s, turn.end_s) for turn in spoken)
    parts = intersect_turns(turns, speech)
    assert all(part.start_s < part.end_s for part in parts)
    for time_s in MOMENTS:
        heard = any(a < time_s < b for a, b in speech)
        assert speaking(parts, time_s) == (speaking(turns, time_s) if heard else set())


def test_turns_cut_to_speech_keep_their_speakers_and_words() -> None:
    said = [Turn(0, 5, "a", "one"), Turn(5, 6, "b")]
    speech = [Span(1, 2), Span(3, 5.5)]
    assert intersect_turns(said, speech) == [
        Turn(1, 2, "a", "one"),
        Turn(3, 5, "a", "one"),
        Turn(5, 5.5, "b"),
    ]
    assert intersect_turns(said, []) == []


@pytest.mark.parametrize("nobody", ["", " ", "nan", "NaN", "None", "<NA>", "null"])
def test_turns_of_nobody_are_left_out_and_noted(nobody: str) -> None:
    said = build_diarization([Turn(-5, 1, nobody), Turn(0, 1, "b")])
    assert said.turns == (Turn(0, 1, "b"),)
    assert said.notes == ("turns that name no speaker, left out: 1.",)
    with pytest.raises(BadRequest, match="no turn says its speaker"):
        build_diarization([Turn(0, 1, nobody)])


def test_turns_of_no_length_are_left_out_and_noted() -> None:
    said = build_diarization([Turn(1, 1, "a"), Turn(0, 1, "b")])
    assert said.turns == (Turn(0, 1, "b"),)
    assert said.notes == ("turns of no length, left out: 1.",)


def test_turns_beyond_the_end_are_cut_and_noted() -> None:
    said = build_diarization([Turn(0, 1, "a"), Turn(1, 3, "b"), Turn(2.5, 4, "a")])
    cut = clip_turns(said, 2.25)
    assert cut.turns == (Turn(0, 1, "a"), Turn(1, 2.25, "b"))
    assert cut.notes == ("turns that reach beyond the end of the audio at 2.25 s, cut there: 2.",)
    assert clip_turns(said, 4.0) is said


def test_a_diarization_all_beyond_the_end_is_of_another_recording() -> None:
    with pytest.raises(
        BadRequest, match=r"lasts 2\.00 s; check that the turns are of this recording"
    ):
        clip_turns(build_diarization([Turn(5, 6, "a")]), 2.0)
