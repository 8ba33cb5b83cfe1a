"""Speaker diarization by clustering, for recordings without a diarization.

It is simple on purpose: speech is cut into short windows, and the most similar clusters are merged
until none are similar enough. Overlapping speech gets one speaker, and a change of speaker inside
a window is missed. The file of a diarizer is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.identification.speaker_model import SpeechSegment
from avsearch.annotation.turns import Turn
from avsearch.calibration import Calibration
from indexer.types import Vectors

Floats = NDArray[np.float64]
Calibrations = Mapping[str, Calibration]  # by direction, such as V-V

_BLOCK: Final = 512  # vectors clustered at once, to bound the memory; then their clusters
_PER_SPEAKER: Final = 8  # clusters of a block for each speaker, if the number of speakers is known
_MAX_CLUSTERS: Final = 8 * _BLOCK  # more are not compared
_BRIDGED_S: Final = 0.5  # a pause inside a turn
_UNCALIBRATED: Final = 0.5  # the cosine of equal odds for a model without calibration


def equal_odds_score(calibrations: Calibrations, direction: str) -> float:
    """Return the score at which one person is as likely as two."""
    known = calibrations.get(direction)
    return _UNCALIBRATED if known is None else -known.offset / known.scale


def label_speakers(
    segments: Sequence[SpeechSegment], min_cosine: float, count: int | None = None
) -> list[SpeechSegment]:
    """Return segments with the labels SPEAKER_00 and so on, by when they first speak.

    Clusters are merged while the mean cosine between their segments, weighted by length, is at
    least ``min_cosine``; or until ``count`` speakers are left, if it is given.
    """
    if not segments:
        return []
    lengths_s = np.array([each.span.duration_s for each in segments])
    vectors = np.stack([each.vector for each in segments])
    clusters = cluster(vectors, lengths_s, min_cosine, count).tolist()
    order = {number: at for at, number in enumerate(dict.fromkeys(clusters))}
    return [
        SpeechSegment(f"SPEAKER_{order[number]:02d}", each.span, each.vector)
        for each, number in zip(segments, clusters, strict=True)
    ]


def cluster(
    vectors: Vectors, weights: Floats, min_cosine: float, count: int | None = None
) -> NDArray[np.int64]:
    """Return the cluster (n,) of each of (n, dim) unit vectors, by weighted average linkage.

    More than 512 are clustered in blocks first, and then their clusters, so that the memory does
    not grow with the square of their number.
    """
    sums = vectors.astype(np.float64) * weights[:, None]
    clusters = np.arange(len(vectors))
    if len(vectors) > _BLOCK:
        in_block = None if count is None else _PER_SPEAKER * count
        blocks = [slice(first, first + _BLOCK) for first in range(0, len(vectors), _BLOCK)]
        clusters = np.concatenate(
            [
                block.start + _merge(sums[block], weights[block], min_cosine, in_block)
                for block in blocks
            ]
        )
    numbers, clusters = np.unique(clusters, return_inverse=True)
    total, weight = np.zeros((len(numbers), sums.shape[1])), np.zeros(len(numbers))
    np.add.at(total, clusters, sums)
    np.add.at(weight, clusters, weights)
    if len(numbers) > _MAX_CLUSTERS:  # hardly any are similar
        return clusters
    return _merge(total, weight, min_cosine, count)[clusters]


def _merge(
    sums: Floats, weights: Floats, min_cosine: float, count: int | None
) -> NDArray[np.int64]:
    """Return the cluster (n,) of each of n clusters, named by its first member.

    ``sums`` (n, dim) are weighted sums of unit vectors.
    """
    sums, weights = sums.copy(), weights.copy()
    owner, live = np.arange(len(sums)), np.ones(len(sums), bool)
    cosines = (sums @ sums.T) / (weights[:, None] * weights[None])
    np.fill_diagonal(cosines, -np.inf)
    for _ in range(len(sums) - max(1, count or 1)):
        a, b = sorted(divmod(int(np.argmax(cosines)), len(sums)))
        if count is None and cosines[a, b] < min_cosine:
            break
        owner[owner == b], live[b] = a, False
        sums[a] += sums[b]
        weights[a] += weights[b]
        row = (sums[a] @ sums.T) / (weights[a] * weights)
        row[~live], row[a] = -np.inf, -np.inf
        for number, values in ((a, row), (b, -np.inf)):
            cosines[number], cosines[:, number] = values, values
    return owner


def segments_to_turns(segments: Sequence[SpeechSegment]) -> list[Turn]:
    """Return turns of labelled segments: those of one speaker are joined over short pauses."""
    turns: list[Turn] = []
    for each in segments:
        last = turns[-1] if turns else None
        if (
            last is not None
            and last.speaker == each.speaker
            and each.span.start_s - last.end_s <= _BRIDGED_S
        ):
            turns[-1] = last._replace(end_s=each.span.end_s)
        else:
            turns.append(Turn(*each.span, each.speaker))
    return turns
