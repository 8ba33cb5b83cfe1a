from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avsearch.annotation.turns import Turn, build_diarization
from benchmarks.quality.conversations import PADDING_S, padded

TURNS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 40), st.sampled_from("abc")).map(
        lambda one: Turn(one[0] / 8, (one[0] + one[1]) / 8, one[2])
    ),
    min_size=1,
    max_size=8,
)


@given(TURNS)
def test_turns_marked_by_hand_hold_the_true_ones_and_silence_beside_them(turns: list[Turn]) -> None:
    truth = build_diarization(turns)
    wide = padded(truth)
    for turn in truth.turns:
        assert any(
            each.speaker == turn.speaker
            and each.start_s <= turn.start_s
            and turn.end_s <= each.end_s
            for each in wide.turns
        )
    assert wide.turns[0].start_s == max(0.0, truth.turns[0].start_s - PADDING_S)
    latest_s = max(each.end_s for each in truth.turns)
    assert latest_s <= max(each.end_s for each in wide.turns) <= latest_s + PADDING_S


def test_a_pause_goes_to_both_neighbours_up_to_two_seconds() -> None:
    wide = padded(build_diarization([Turn(1, 2, "a"), Turn(3, 4, "b"), Turn(10, 11, "b")]))
    assert wide.turns == (Turn(0, 3, "a"), Turn(2, 13, "b"))
