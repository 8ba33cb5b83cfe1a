from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avsearch.annotation.identification.clustering import (
    cluster,
    label_speakers,
    segments_to_turns,
)
from avsearch.annotation.identification.speaker_model import SpeechSegment
from avsearch.annotation.turns import Turn
from avsearch.media.speech_segments import Span, cut_windows

AXES = np.eye(3, dtype=np.float32)


def stretch(who: str, start_s: float, end_s: float, vector: np.ndarray) -> SpeechSegment:
    return SpeechSegment(who, Span(start_s, end_s), vector / np.linalg.norm(vector))


def test_windows_are_short_and_cover_the_turns() -> None:
    found = cut_windows([Span(0, 7), Span(8, 9)])
    assert found == [Span(0, 7 / 3), Span(7 / 3, 14 / 3), Span(14 / 3, 7), Span(8, 9)]


def test_voices_are_grouped_until_none_are_alike() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 60)
    vectors = AXES[truth] + 0.1 * rng.standard_normal((60, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for count in (None, 3):
        found = cluster(vectors, np.ones(60), 0.5, count)
        assert len({(a, b) for a, b in zip(found, truth, strict=True)}) == 3
    assert len(set(cluster(vectors, np.ones(60), 0.5, 1).tolist())) == 1
    assert len(set(cluster(vectors, np.ones(60), 2.0).tolist())) == 60


def test_long_recordings_are_grouped_in_blocks_as_short_ones_are() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 1300)
    vectors = AXES[truth] + 0.05 * rng.standard_normal((1300, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for count in (None, 3):
        found = cluster(vectors, rng.uniform(1, 3, 1300), 0.5, count)
        assert len({(a, b) for a, b in zip(found, truth, strict=True)}) == 3


@given(st.integers(0, 2**32 - 1), st.floats(-0.5, 0.9))
def test_groups_are_those_of_average_linkage(seed: int, least: float) -> None:
    rows = np.random.default_rng(seed).standard_normal((7, 3)).astype(np.float32)
    weights = np.arange(1.0, 8.0)
    found = cluster(rows, weights, least)
    assert same_groups(found.tolist(), plainly_linked(rows, weights, least))


def plainly_linked(rows: np.ndarray, weights: np.ndarray, least: float) -> list[int]:
    groups = [[at] for at in range(len(rows))]

    def alike(a: list[int], b: list[int]) -> float:
        pairs = [(weights[i] * weights[j], float(rows[i] @ rows[j])) for i in a for j in b]
        return sum(w * s for w, s in pairs) / sum(w for w, _ in pairs)

    while len(groups) > 1:
        best, a, b = max(
            (alike(x, y), i, j) for i, x in enumerate(groups) for j, y in enumerate(groups) if i < j
        )
        if best < least:
            break
        groups[a] += groups.pop(b)
    return [next(n for n, group in enumerate(groups) if at in group) for at in range(len(rows))]


def same_groups(a: list[int], b: list[int]) -> bool:
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


def test_groups_are_numbered_as_they_first_speak_and_neighbours_are_joined() -> None:
    said = [stretch("", n, n + 1, AXES[axis]) for n, axis in enumerate((1, 1, 0, 1))]
    assert segments_to_turns(label_speakers(said, 0.5)) == [
        Turn(0, 2, "SPEAKER_00"),
        Turn(2, 3, "SPEAKER_01"),
        Turn(3, 4, "SPEAKER_00"),
    ]
    assert label_speakers([], 0.5) == []
