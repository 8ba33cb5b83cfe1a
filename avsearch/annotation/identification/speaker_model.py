"""One vector a speaker, from that speaker's clean speech."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.media.speech_segments import Span
from indexer.types import Vectors

LEAST_SPEECH_S: Final = 0.5  # of a speaker alone; less says nothing about a voice
_FEWEST: Final = 4  # stretches among which an outlier can be told
_DEVIATIONS: Final = 3.0  # from the median, beyond which a stretch is one
_LARGEST_SHARE: Final = 0.25  # of a speaker's speech: if more is odd, nothing is
_MAD_TO_SIGMA: Final = 1.4826  # of a normal distribution


@dataclasses.dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a speaker's clean speech and its unit vector (dim,)."""

    speaker: str
    span: Span
    vector: Vectors


@dataclasses.dataclass(frozen=True, slots=True)
class Voice:
    """The voice of one speaker: a unit vector (dim,), the seconds it was made of.

    ``stretches`` are those it was made of, ``dropped`` is how many were left out as outliers.
    """

    vector: Vectors
    speech_s: float
    stretches: tuple[Stretch, ...]
    dropped: int


def voices(stretches: Sequence[Stretch]) -> dict[str, Voice]:
    """The voice of each speaker who has a stretch."""
    by_speaker: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        by_speaker.setdefault(stretch.speaker, []).append(stretch)
    return {speaker: _voice(theirs) for speaker, theirs in by_speaker.items()}


def _voice(stretches: Sequence[Stretch]) -> Voice:
    vectors = np.stack([stretch.vector for stretch in stretches])
    lengths_s = np.array([stretch.span.duration_s for stretch in stretches])
    kept = typical(vectors, lengths_s)
    used = tuple(each for each, keep in zip(stretches, kept, strict=True) if keep)
    mean = weighted_mean(vectors[kept], lengths_s[kept])
    return Voice(mean, float(lengths_s[kept].sum()), used, int((~kept).sum()))


def typical(vectors: Vectors, weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of (n, dim) unit vectors lie with the others, (n,).

    An outlier is less like the weighted mean of all than the median of them is, by more than
    three deviations, told from the median absolute deviation. Fewer than four have none, and
    where over a quarter of the weight would go, nothing does: what is odd is then the rule.
    """
    everything = np.ones(len(vectors), bool)
    if len(vectors) < _FEWEST:
        return everything
    likeness = vectors @ weighted_mean(vectors, weights)
    middle = np.median(likeness)
    spread = _MAD_TO_SIGMA * np.median(np.abs(likeness - middle))
    kept: NDArray[np.bool_] = likeness >= middle - _DEVIATIONS * spread
    lost = weights[~kept].sum() / weights.sum()
    return kept if lost <= _LARGEST_SHARE else everything


def weighted_mean(vectors: Vectors, weights: NDArray[np.float64]) -> Vectors:
    """The unit vector (dim,) in the direction of the weighted sum of (n, dim)."""
    total = weights @ vectors.astype(np.float64)
    return np.asarray(total / (np.linalg.norm(total) or 1.0), np.float32)
