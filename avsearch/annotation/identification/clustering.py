"""Who speaks when, without a diarizer: turns of speech grouped by how alike they sound.

Simple on purpose: speech is cut into short windows, and the most alike groups of them are joined
until none are alike enough. Overlapping speech is given to one speaker, and a change of speaker
inside a window is not seen. A diarizer's file is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.identification.speaker_model import Stretch
from avsearch.annotation.turns import Turn
from indexer.types import Vectors

Floats = NDArray[np.float64]

_BLOCK: Final = 512  # windows grouped at once, so that memory stays small; then their groups
_PER_SPEAKER: Final = 8  # groups a speaker of a block may leave to the whole, if a number is asked
_BRIDGED_S: Final = 0.5  # a pause inside a turn


def grouped(
    stretches: Sequence[Stretch], least: float, speakers: int | None = None
) -> list[Stretch]:
    """Stretches with labels SPEAKER_00 and so on, in the order in which they first speak.

    Two groups are joined while the mean cosine between their stretches, weighted by length, is
    at least ``least``; or, where a number of ``speakers`` is asked for, until so many are left.
    """
    if not stretches:
        return []
    lengths_s = np.array([each.span.duration_s for each in stretches])
    vectors = np.stack([each.vector for each in stretches])
    numbers = cluster(vectors, lengths_s, least, speakers)
    order = {number: at for at, number in enumerate(dict.fromkeys(numbers.tolist()))}
    return [
        Stretch(f"SPEAKER_{order[number]:02d}", each.span, each.vector)
        for each, number in zip(stretches, numbers.tolist(), strict=True)
    ]


def cluster(
    vectors: Vectors, weights: Floats, least: float, count: int | None = None
) -> NDArray[np.int64]:
    """Numbers (n,) of the groups of (n, dim) unit vectors, by weighted average linkage.

    More than 512 are grouped in blocks first, and then the groups; memory does not grow with
    the square of their number.
    """
    sums = vectors.astype(np.float64) * weights[:, None]
    numbers = np.arange(len(vectors))
    if len(vectors) > _BLOCK:
        in_block = None if count is None else _PER_SPEAKER * count
        firsts = range(0, len(vectors), _BLOCK)
        numbers = np.concatenate(
            [first + _linked(*_block(sums, weights, first), least, in_block) for first in firsts]
        )
    groups, numbers = np.unique(numbers, return_inverse=True)
    total, weight = np.zeros((len(groups), sums.shape[1])), np.zeros(len(groups))
    np.add.at(total, numbers, sums)
    np.add.at(weight, numbers, weights)
    if len(groups) > 8 * _BLOCK:  # next to nothing is alike: no more can be done in bounded memory
        return numbers
    return _linked(total, weight, least, count)[numbers]


def _block(sums: Floats, weights: Floats, first: int) -> tuple[Floats, Floats]:
    return sums[first : first + _BLOCK], weights[first : first + _BLOCK]


def _linked(sums: Floats, weights: Floats, least: float, count: int | None) -> NDArray[np.int64]:
    """The group (n,) of each, named by its first member; sums of vectors and their weights."""
    sums, weights = sums.copy(), weights.copy()
    owner, alive = np.arange(len(sums)), np.ones(len(sums), bool)
    alike = _likeness(sums, sums, weights, weights)
    np.fill_diagonal(alike, -np.inf)
    for _ in range(len(sums) - max(1, count or 1)):
        a, b = sorted(divmod(int(np.argmax(alike)), len(sums)))
        if count is None and alike[a, b] < least:
            break
        owner[owner == b], alive[b] = a, False
        sums[a] += sums[b]
        weights[a] += weights[b]
        row = _likeness(sums[[a]], sums, weights[[a]], weights)[0]
        row[~alive], row[a] = -np.inf, -np.inf
        for group, values in ((a, row), (b, -np.inf)):
            alike[group], alike[:, group] = values, values
    return owner


def _likeness(a: Floats, b: Floats, weights_a: Floats, weights_b: Floats) -> Floats:
    """Mean cosines (n, m) between the members of groups given by the sums of theirs."""
    means: Floats = (a @ b.T) / (weights_a[:, None] * weights_b[None])
    return means


def turns_of(stretches: Sequence[Stretch]) -> list[Turn]:
    """Turns of labelled stretches: neighbours of one speaker joined over short pauses."""
    turns: list[Turn] = []
    for each in stretches:
        if (
            turns
            and turns[-1].speaker == each.speaker
            and each.span.start_s - turns[-1].end_s <= _BRIDGED_S
        ):
            turns[-1] = turns[-1]._replace(end_s=each.span.end_s)
        else:
            turns.append(Turn(*each.span, each.speaker))
    return turns
