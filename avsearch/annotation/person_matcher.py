"""Tell the people in a file apart by their faces and voices.

Every face of a picture is another person. Faces of a video and windows of speech are grouped by
likeness, and two groups are two people only where the evidence speaks against one. So what a
person says in different moods stays together as far as the model knows how much that differs.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.identification.clustering import cluster
from avsearch.annotation.identification.plda import PLDA, Means
from avsearch.annotation.identification.speaker_llr import Calibrations, even_score
from avsearch.annotation.identification.speaker_model import typical, weighted_mean
from avsearch.calibration import direction
from avsearch.media.file_types import kind_of
from avsearch.media.speech_segments import Span, stretches
from indexer.ingest.subjects import People
from indexer.records import NewItem
from indexer.types import MODALITIES, Modality, Vectors

Floats = NDArray[np.float64]
Groups = list[list[NewItem]]

LEAST_S: Final = 2.0  # of speech; less does not tell another person from another mood
_TYPICAL_S: Final = 4.0  # of a stretch of speech whose length is not known


@dataclasses.dataclass(frozen=True, slots=True)
class PersonMatcher:
    """Tells people apart by what scores of a model are worth.

    ``voices`` says it of two voices, in place of their calibration. Where nothing is known of a
    modality, all of a sound or video is one person's, and of several faces the most similar one
    agrees.
    """

    calibrations: Calibrations
    voices: PLDA | None = None

    @property
    def settings(self) -> str:
        """How people are told apart, in a few words."""
        known = [self.calibrations.get(direction(each, each)) for each in MODALITIES]
        scores = [None if each is None else (each.scale, each.offset) for each in known]
        lengths = None if self.voices is None else (self.voices.scale, self.voices.offset)
        return f"scores {scores}, voices {lengths}, from {LEAST_S} s"

    def separate(self, path: Path, items: Sequence[NewItem]) -> Groups:
        """Return the items of a file, of one modality, by the people in it, the largest first.

        The speech of a sound comes in windows, which are joined to the stretches they are from.
        """
        kind, whole = kind_of(path), items[0].modality == "face" and items[0].box is None
        if kind == "picture" and not whole:
            people = [[item] for item in items]
        elif whole or not self._knows(items[0].modality):
            people = [list(items)]
        else:
            people = self._told_apart(items)
        people.sort(key=_size, reverse=True)
        return [_stretches(each) for each in people] if kind == "sound" else people

    def ratios(self, some: People, others: People) -> Floats:
        """Return log-likelihood ratios (n, m): above 0 two people are rather one than two."""
        return self._compared(some[0][0].modality, _means(some), _means(others))

    def _knows(self, modality: Modality) -> bool:
        by_length = modality == "voice" and self.voices is not None
        return by_length or direction(modality, modality) in self.calibrations

    def _compared(self, modality: Modality, some: Means, others: Means) -> Floats:
        if modality == "voice" and self.voices is not None:
            return self.voices(some, others)
        return self._scored(modality, some, others)

    def _scored(self, modality: Modality, some: Means, others: Means) -> Floats:
        """Return what cosines are worth; where that is not known, a number above 0 as they are."""
        cosines = (some.vectors @ others.vectors.T).astype(np.float64)
        known = self.calibrations.get(direction(modality, modality))
        return 1 + cosines if known is None else known.unbounded(cosines)

    def _told_apart(self, items: Sequence[NewItem]) -> Groups:
        """Return the items by person: alike ones first, then groups that may be one person's.

        A group with little speech is nobody of its own, and goes with the most similar one.
        """
        modality = items[0].modality
        vectors, weights = _units(items)
        least = even_score(self.calibrations, direction(modality, modality))
        _, owners = np.unique(cluster(vectors, weights, least), return_inverse=True)
        groups = range(int(owners.max()) + 1)
        sums = np.stack([weights[owners == at] @ vectors[owners == at] for at in groups])
        seconds = np.array([weights[owners == at].sum() for at in groups])
        ratios = self._between(modality, sums, seconds, groups)
        while np.isfinite(ratios).any():  # two are left
            a, b = divmod(int(np.argmax(ratios)), len(groups))
            if ratios[a, b] <= 0:
                a = int(np.argmin(seconds))
                b = int(np.argmax(ratios[a]))
                if modality == "face" or seconds[a] >= LEAST_S:
                    break
            owners[owners == a] = b
            sums[b] += sums[a]
            seconds[b] += seconds[a]
            seconds[a], ratios[a], ratios[:, a] = np.inf, -np.inf, -np.inf
            row = self._between(modality, sums, seconds, [b])[0]
            ratios[b] = ratios[:, b] = np.where(np.isinf(seconds), -np.inf, row)
        people = dict.fromkeys(owners.tolist())
        return [[items[at] for at in np.flatnonzero(owners == one).tolist()] for one in people]

    def _between(
        self, modality: Modality, sums: Floats, seconds: Floats, rows: Sequence[int]
    ) -> Floats:
        """Return the ratios of some groups with all; of one with itself there is none.

        Two voices are two people only where both the scores and the lengths say so: lengths alone
        are too sure of one that is acted.
        """
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        means = Means(np.asarray(sums / np.where(lengths > 0, lengths, 1), np.float32), seconds)
        some = Means(means.vectors[rows], seconds[rows])
        ratios = self._compared(modality, some, means)
        if direction(modality, modality) in self.calibrations:
            ratios = np.maximum(ratios, self._scored(modality, some, means))
        ratios[np.arange(len(rows)), rows] = -np.inf
        return ratios


def _units(items: Sequence[NewItem]) -> tuple[Vectors, Floats]:
    """Return unit vectors (n, dim), and how much each counts: its seconds; a face counts 1."""
    vectors = np.stack([item.vector for item in items])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    seconds = [_seconds(item) if item.modality == "voice" else 1.0 for item in items]
    weights = np.array(seconds, np.float64)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32), weights


def _means(people: People) -> Means:
    """Return what is known of people: the mean of what is typical of each, and its seconds."""
    means, seconds = [], []
    for items in people:
        vectors, weights = _units(items)
        kept = typical(vectors, weights)
        means.append(weighted_mean(vectors[kept], weights[kept]))
        seconds.append(float(weights[kept].sum()))
    return Means(np.stack(means), np.array(seconds))


def _seconds(item: NewItem) -> float:
    if item.seconds is not None:
        return item.seconds
    return _TYPICAL_S if item.end_s is None else item.end_s - item.start_s


def _size(items: Sequence[NewItem]) -> float:
    """Return how much of somebody there is: seconds of speech, or the sides of faces in pixels."""
    boxes = [item.box for item in items if item.box is not None]
    sides = sum(((box.right - box.left) * (box.bottom - box.top)) ** 0.5 for box in boxes)
    return sides if boxes else sum(_seconds(item) for item in items)


def _stretches(windows: Sequence[NewItem]) -> list[NewItem]:
    """Return stretches of speech, as other extractors give them, in place of their windows."""
    turns: list[Span] = []
    for span in map(_span, windows):
        if turns and span.start_s == turns[-1].end_s:  # a turn that was cut
            turns[-1] = Span(turns[-1].start_s, span.end_s)
        else:
            turns.append(span)
    middles_s = [sum(_span(window)) / 2 for window in windows]
    joined = []
    for stretch in stretches(turns):
        first, last = (bisect.bisect_left(middles_s, side_s) for side_s in stretch)
        joined.append(_joined(windows[first:last], stretch))
    return joined


def _joined(windows: Sequence[NewItem], stretch: Span) -> NewItem:
    """Return one stretch of speech, whose vector is the mean of its windows by their lengths."""
    if len(windows) == 1 and _span(windows[0]) == stretch:
        return windows[0]
    vectors, seconds = _units(windows)
    length = np.float32(np.mean([np.linalg.norm(window.vector) for window in windows]))
    vector = weighted_mean(vectors, seconds) * length
    return NewItem(windows[0].person, "voice", *stretch, None, vector, float(seconds.sum()))


def _span(window: NewItem) -> Span:
    return Span(window.start_s, window.start_s if window.end_s is None else window.end_s)
