from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from avsearch.media.containers.clock import MAX_GAP_S, Clock

STEP_S = 0.02


def times(stamps: Sequence[float], clock: Clock | None = None, stream: int = 0) -> list[float]:
    """The times of the packets of one stream, each as long as a step."""
    clock = clock or Clock(stamps[0])
    following = [*stamps[1:], None]
    return [
        stamp + clock.shift(stream, stamp, STEP_S, after)
        for stamp, after in zip(stamps, following, strict=True)
    ]


def even(start_s: float, count: int = 50) -> list[float]:
    return [start_s + STEP_S * number for number in range(count)]


def test_stamps_that_go_on_are_left_alone() -> None:
    stamps = [*even(1.4), *even(2.4)]
    clock = Clock(1.4)
    assert times(stamps, clock) == stamps
    assert clock.jumps == []


@pytest.mark.parametrize("gap_s", [0.5, 20, MAX_GAP_S - 1])
def test_a_gap_stays_as_long_as_it_is(gap_s: float) -> None:
    stamps = [*even(0), *even(1 + gap_s)]
    assert times(stamps) == stamps


@pytest.mark.parametrize("jump_s", [-1, -0.5, -95_443.7, MAX_GAP_S + 1, 95_443.7])
def test_behind_a_jump_the_clock_goes_on(jump_s: float) -> None:
    clock = Clock(0)
    assert times([*even(0), *even(1 + jump_s)], clock) == pytest.approx([*even(0), *even(1)])
    assert clock.jumps == pytest.approx([1])


@pytest.mark.parametrize("length", [10, 20, 50, 150])
def test_recordings_of_any_length_follow_one_another(length: int) -> None:
    clock = Clock(7)
    found = times(even(7, length) * 20, clock)
    assert found == pytest.approx(even(7, length * 20))
    assert len(clock.jumps) == 19


def test_gaps_count_together() -> None:
    starts = [500 * number for number in range(20)]
    found = times([stamp for start in starts for stamp in even(start)])
    assert found == sorted(found)
    assert 2000 < found[-1] < 3600 + 20


@pytest.mark.parametrize("wrong", [-1000.0, -0.6, 30, 1e6])
def test_one_wrong_stamp_moves_nothing(wrong: float) -> None:
    stamps = [*even(100), wrong, *even(101 + STEP_S)]
    assert times(stamps, Clock(100)) == pytest.approx(even(100, 101))


def test_a_wrong_first_stamp_moves_nothing() -> None:
    assert times([1e6, *even(STEP_S)], Clock(0)) == pytest.approx(even(0, 51))


def test_some_wrong_stamps_that_are_taken_back_move_nothing() -> None:
    stamps = [*even(0), *even(7000, 15), *even(1 + 15 * STEP_S)]
    assert times(stamps) == pytest.approx(even(0, 115))


def test_streams_jump_together() -> None:
    """The second goes on some packets longer, as it is written a little behind the first."""
    clock = Clock(0)
    assert times(even(0), clock, 0) == even(0)
    assert times(even(0.1, 40), clock, 1) == even(0.1, 40)
    assert times(even(-5, 10), clock, 0) == pytest.approx(even(1, 10))
    assert times(even(0.9, 5), clock, 1) == pytest.approx(even(0.9, 5))
    assert times(even(-4.9, 10), clock, 1) == pytest.approx(even(1.1, 10))
    assert len(clock.jumps) == 1


def test_a_stream_that_pauses_while_another_goes_on_has_no_gap() -> None:
    clock = Clock(0)
    times([0.0], clock, 0)
    for stamp, after in itertools.pairwise(range(2000)):
        clock.shift(1, stamp, 1, after)
    assert times([1999.0], clock, 0) == [1999]


def test_packets_without_stamps_follow_one_another() -> None:
    clock = Clock(3)
    assert [clock.next_time(0, 0.5) for _ in range(3)] == [3, 3.5, 4]
