"""Tell the people in a file apart by their faces and voices.

Every face of an image is another person. Faces of a video and windows of speech are clustered by
similarity. Two clusters are two people only where the evidence is against one, so that what a
person says in different moods stays together, as far as the model knows how much that differs.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.identification.clustering import Calibrations, cluster, equal_odds_score
from avsearch.annotation.identification.plda import PLDA, VoiceVectors
from avsearch.annotation.identification.speaker_model import inliers, weighted_mean
from avsearch.calibration import direction
from avsearch.media.file_types import kind_of
from avsearch.media.speech_segments import Span, group_turns
from indexer.ingest.subjects import People
from indexer.records import NewItem
from indexer.types import MODALITIES, Modality, Vectors

Floats = NDArray[np.float64]
Groups = list[list[NewItem]]

MIN_PERSON_S: Final = 2.0  # of speech; less does not tell another person from another mood
_UNKNOWN_S: Final = 4.0  # a typical segment, for one whose length is not known


@dataclasses.dataclass(frozen=True, slots=True)
class PersonMatcher:
    """Tells people apart by the log-likelihood ratios of a model's scores.

    ``plda`` compares two voices in place of their calibration. Without a calibration of a
    modality, all of an audio file or video is of one person, and of several faces the most similar
    one matches.
    """

    calibrations: Calibrations
    plda: PLDA | None = None

    @property
    def settings(self) -> str:
        """The settings in a few words."""
        known = [self.calibrations.get(direction(each, each)) for each in MODALITIES]
        scores = [None if each is None else (each.scale, each.offset) for each in known]
        lengths = None if self.plda is None else (self.plda.scale, self.plda.offset)
        return f"scores {scores}, voices {lengths}, from {MIN_PERSON_S} s"

    def separate(self, path: Path, items: Sequence[NewItem]) -> Groups:
        """Return the items of a file, of one modality, by the people in it, the largest first.

        The speech of an audio file comes in windows, which are joined to their segments.
        """
        kind, modality = kind_of(path), items[0].modality
        whole = modality == "face" and items[0].box is None
        calibrated = direction(modality, modality) in self.calibrations
        if kind == "image" and not whole:
            people = [[item] for item in items]
        elif whole or not (calibrated or (modality == "voice" and self.plda is not None)):
            people = [list(items)]
        else:
            people = self._cluster(items)
        people.sort(key=_size, reverse=True)
        return [_join_windows(each) for each in people] if kind == "audio" else people

    def ratios(self, some: People, others: People) -> Floats:
        """Return log-likelihood ratios (n, m), above 0 where two people are rather one."""
        return self._compare(some[0][0].modality, _mean_vectors(some), _mean_vectors(others))

    def _compare(self, modality: Modality, some: VoiceVectors, others: VoiceVectors) -> Floats:
        if modality == "voice" and self.plda is not None:
            return self.plda(some, others)
        return self._calibrate(modality, some, others)

    def _calibrate(self, modality: Modality, some: VoiceVectors, others: VoiceVectors) -> Floats:
        """Return the ratios of cosines; without a calibration, numbers above 0 in their order."""
        cosines = (some.vectors @ others.vectors.T).astype(np.float64)
        known = self.calibrations.get(direction(modality, modality))
        return 1 + cosines if known is None else known.unbounded(cosines)

    def _cluster(self, items: Sequence[NewItem]) -> Groups:
        """Return the items by person: similar ones first, then clusters that may be one person.

        A cluster with little speech is no person of its own, and joins the most similar one.
        """
        modality = items[0].modality
        vectors, weights = _unit_vectors(items)
        min_cosine = equal_odds_score(self.calibrations, direction(modality, modality))
        _, owners = np.unique(cluster(vectors, weights, min_cosine), return_inverse=True)
        numbers = range(int(owners.max()) + 1)
        sums = np.stack([weights[owners == at] @ vectors[owners == at] for at in numbers])
        seconds = np.array([weights[owners == at].sum() for at in numbers])
        ratios = self._ratios_with_all(modality, sums, seconds, numbers)
        while np.isfinite(ratios).any():  # two are left
            a, b = divmod(int(np.argmax(ratios)), len(numbers))
            if ratios[a, b] <= 0:
                a = int(np.argmin(seconds))
                b = int(np.argmax(ratios[a]))
                if modality == "face" or seconds[a] >= MIN_PERSON_S:
                    break
            owners[owners == a] = b
            sums[b] += sums[a]
            seconds[b] += seconds[a]
            seconds[a], ratios[a], ratios[:, a] = np.inf, -np.inf, -np.inf
            row = self._ratios_with_all(modality, sums, seconds, [b])[0]
            ratios[b] = ratios[:, b] = np.where(np.isinf(seconds), -np.inf, row)
        people = dict.fromkeys(owners.tolist())
        return [[items[at] for at in np.flatnonzero(owners == one).tolist()] for one in people]

    def _ratios_with_all(
        self, modality: Modality, sums: Floats, seconds: Floats, rows: Sequence[int]
    ) -> Floats:
        """Return the ratios of some clusters with all, -inf of one with itself.

        Two voices are two people only where both the calibration and PLDA say so: PLDA alone is too
        sure of a voice that is acted.
        """
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        units = np.asarray(sums / np.where(lengths > 0, lengths, 1), np.float32)
        every, some = VoiceVectors(units, seconds), VoiceVectors(units[rows], seconds[rows])
        ratios = self._compare(modality, some, every)
        if direction(modality, modality) in self.calibrations:
            ratios = np.maximum(ratios, self._calibrate(modality, some, every))
        ratios[np.arange(len(rows)), rows] = -np.inf
        return ratios


def _unit_vectors(items: Sequence[NewItem]) -> tuple[Vectors, Floats]:
    """Return unit vectors (n, dim) and their weights: the seconds of a voice; 1 for a face."""
    vectors = np.stack([item.vector for item in items])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    seconds = [_seconds(item) if item.modality == "voice" else 1.0 for item in items]
    weights = np.array(seconds, np.float64)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32), weights


def _mean_vectors(people: People) -> VoiceVectors:
    """Return the mean of each person's items without outliers, and their seconds."""
    means, seconds = [], []
    for items in people:
        vectors, weights = _unit_vectors(items)
        kept = inliers(vectors, weights)
        means.append(weighted_mean(vectors[kept], weights[kept]))
        seconds.append(float(weights[kept].sum()))
    return VoiceVectors(np.stack(means), np.array(seconds))


def _seconds(item: NewItem) -> float:
    if item.seconds is not None:
        return item.seconds
    return _UNKNOWN_S if item.end_s is None else item.end_s - item.start_s


def _size(items: Sequence[NewItem]) -> float:
    """Return the seconds of speech, or the sum of the sides of faces in pixels."""
    boxes = [item.box for item in items if item.box is not None]
    sides = sum(((box.right - box.left) * (box.bottom - box.top)) ** 0.5 for box in boxes)
    return sides if boxes else sum(_seconds(item) for item in items)


def _join_windows(windows: Sequence[NewItem]) -> list[NewItem]:
    """Return segments of speech in place of their windows, with the mean vector by length."""
    spans = [
        Span(window.start_s, window.start_s if window.end_s is None else window.end_s)
        for window in windows
    ]
    turns: list[Span] = []
    for span in spans:
        if turns and span.start_s == turns[-1].end_s:  # a turn that was cut
            turns[-1] = Span(turns[-1].start_s, span.end_s)
        else:
            turns.append(span)
    middles_s = [sum(span) / 2 for span in spans]
    joined = []
    for segment in group_turns(turns):
        first, last = (bisect.bisect_left(middles_s, side_s) for side_s in segment)
        own = windows[first:last]
        if len(own) == 1 and spans[first] == segment:
            joined.append(own[0])
            continue
        vectors, seconds = _unit_vectors(own)
        length = np.float32(np.mean([np.linalg.norm(window.vector) for window in own]))
        vector = weighted_mean(vectors, seconds) * length
        person, total_s = own[0].person, float(seconds.sum())
        joined.append(NewItem(person, "voice", *segment, None, vector, total_s))
    return joined
