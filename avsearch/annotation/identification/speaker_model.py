"""One vector per speaker, from segments in which nobody else speaks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.media.speech_segments import Span
from indexer.types import Vectors

MIN_SPEECH_S: Final = 0.5  # of a speaker alone; less says nothing about a voice
_MIN_SEGMENTS: Final = 4  # among which an outlier can be told
_DEVIATIONS: Final = 3.0  # from the median, beyond which a segment is an outlier
_MAX_SHARE: Final = 0.25  # of a speaker's speech that may be outliers
_MAD_TO_SIGMA: Final = 1.4826  # of a normal distribution


@dataclasses.dataclass(frozen=True, slots=True)
class SpeechSegment:
    """A segment of a speaker's speech and its unit vector (dim,)."""

    speaker: str
    span: Span
    vector: Vectors


@dataclasses.dataclass(frozen=True, slots=True)
class SpeakerModel:
    """The voice of one speaker.

    Attributes:
        vector: A unit vector (dim,), the mean of the segments by their lengths.
        speech_s: The seconds of the segments.
        segments: The segments without outliers.
        dropped: The number of outliers.
    """

    vector: Vectors
    speech_s: float
    segments: tuple[SpeechSegment, ...]
    dropped: int


def speaker_models(segments: Sequence[SpeechSegment]) -> dict[str, SpeakerModel]:
    """Return the model of each speaker who has a segment."""
    by_speaker: dict[str, list[SpeechSegment]] = {}
    for segment in segments:
        by_speaker.setdefault(segment.speaker, []).append(segment)
    models: dict[str, SpeakerModel] = {}
    for speaker, own in by_speaker.items():
        vectors = np.stack([segment.vector for segment in own])
        lengths_s = np.array([segment.span.duration_s for segment in own])
        kept = inliers(vectors, lengths_s)
        models[speaker] = SpeakerModel(
            weighted_mean(vectors[kept], lengths_s[kept]),
            float(lengths_s[kept].sum()),
            tuple(each for each, keep in zip(own, kept, strict=True) if keep),
            int((~kept).sum()),
        )
    return models


def inliers(vectors: Vectors, weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask (n,) of the (n, dim) unit vectors that are no outliers.

    The cosine of an outlier with the weighted mean of all is below the median by more than three
    deviations, estimated from the median absolute deviation. Fewer than four vectors have no
    outliers. If they would have over a quarter of the weight, there are none either.
    """
    everything = np.ones(len(vectors), bool)
    if len(vectors) < _MIN_SEGMENTS:
        return everything
    cosines = vectors @ weighted_mean(vectors, weights)
    median = np.median(cosines)
    sigma = _MAD_TO_SIGMA * np.median(np.abs(cosines - median))
    kept: NDArray[np.bool_] = cosines >= median - _DEVIATIONS * sigma
    lost = weights[~kept].sum() / weights.sum()
    return kept if lost <= _MAX_SHARE else everything


def weighted_mean(vectors: Vectors, weights: NDArray[np.float64]) -> Vectors:
    """Return the unit vector (dim,) in the direction of the weighted sum of (n, dim)."""
    total = weights @ vectors.astype(np.float64)
    return np.asarray(total / (np.linalg.norm(total) or 1.0), np.float32)
