"""Which face is seen while a speaker speaks.

Where exactly one face is seen and exactly one speaker speaks, the face may be the speaker's. Faces
that look alike are one face; speakers and faces then belong together one to one so that as much
of this time as possible agrees. Lips are not looked at.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from avsearch.annotation.assignment import assign
from avsearch.annotation.clustering import cluster
from avsearch.annotation.speakers import weighted_mean
from avsearch.annotation.turns import Turn, clean_speech
from avsearch.media.stretches import Span
from avsearch.media.tracks import Track
from indexer.types import Embedder, Media, Vectors

_AT_ONCE: Final = 32  # tracks whose pictures are in memory: at most 32 MB
LEAST_S: Final = 1.0  # that a face is seen alone with a speaker
LEAST_SHARE: Final = 0.5  # of the time in which a face is seen alone with the speaker


@dataclasses.dataclass(frozen=True, slots=True)
class Sight:
    """The face of one speaker: a unit vector (dim,), and the seconds it was seen alone with them.

    ``tracks`` are its appearances, those without the speaker's voice too, and ``views`` its best
    pictures, the best first.
    """

    vector: Vectors
    seconds: float
    tracks: tuple[Span, ...]
    views: tuple[Media, ...]


def embed_tracks(found: Iterable[Track], embedder: Embedder) -> tuple[list[Track], Vectors]:
    """Tracks with a unit vector each, (n, dim): the mean of its best views.

    The pictures are let go of as they are embedded; who wants one reads it from the file again.
    """
    tracks: list[Track] = []
    vectors = [np.empty((0, embedder.space.dim), np.float32)]
    while some := list(itertools.islice(found, _AT_ONCE)):
        vectors.append(_means(some, embedder))
        for track in some:
            track.views = [view.without_picture() for view in track.views]
        tracks += some
    return tracks, np.concatenate(vectors)


def _means(tracks: Sequence[Track], embedder: Embedder) -> Vectors:
    media = [view.media for track in tracks for view in track.views]
    ends = np.cumsum([len(track.views) for track in tracks])
    parts = np.split(embedder.embed(media).vectors, ends[:-1])
    return np.stack([weighted_mean(part, np.ones(len(part))) for part in parts])


def sights(
    turns: Sequence[Turn],
    tracks: Sequence[Track],
    vectors: Vectors,
    step_s: float,
    least: float,
) -> dict[str, Sight]:
    """The faces of the speakers who have one.

    ``vectors`` (n, dim) are of the tracks, which were sampled every ``step_s``; tracks whose mean
    cosine is ``least`` are of one face.
    """
    if not tracks:
        return {}
    lengths = np.array([float(len(track.times_s)) for track in tracks])
    faces = cluster(vectors, lengths, least)
    together = _together(turns, tracks, faces.tolist(), step_s)
    found: dict[str, Sight] = {}
    for speaker, face in _matched(together).items():
        theirs = np.flatnonzero(faces == face).tolist()
        found[speaker] = Sight(
            weighted_mean(vectors[theirs], lengths[theirs]),
            together[speaker][face],
            tuple(Span(tracks[at].start_s, tracks[at].end_s + step_s) for at in theirs),
            _views([tracks[at] for at in theirs]),
        )
    return found


def _together(
    turns: Sequence[Turn], tracks: Sequence[Track], faces: Sequence[int], step_s: float
) -> dict[str, dict[int, float]]:
    """Of each speaker who speaks alone, the seconds each face is seen alone with them."""
    seen: dict[float, list[int]] = collections.defaultdict(list)
    for track, face in zip(tracks, faces, strict=True):
        for time_s in track.times_s:
            seen[time_s].append(face)
    alone = {time_s: who[0] for time_s, who in seen.items() if len(who) == 1}
    together: dict[str, dict[int, float]] = {}
    for speaker, spans in clean_speech(turns).items():
        counts = collections.Counter(
            face for time_s, face in alone.items() if _inside(time_s, spans)
        )
        together[speaker] = {face: count * step_s for face, count in counts.items()}
    return together


def _inside(time_s: float, spans: Sequence[Span]) -> bool:
    at = bisect.bisect_right(spans, time_s, key=lambda span: span.start_s) - 1
    return at >= 0 and time_s < spans[at].end_s


def _matched(together: Mapping[str, Mapping[int, float]]) -> dict[str, int]:
    """Speakers with their faces, one to one, for as much time together as possible."""
    speakers = list(together)
    faces = sorted({face for each in together.values() for face in each})
    seconds = np.array([[together[who].get(face, 0.0) for face in faces] for who in speakers])
    padded = np.pad(seconds, ((0, 0), (0, len(speakers))))  # a column each for no face at all
    chosen = assign(padded)
    return {
        who: faces[column]
        for row, (who, column) in enumerate(zip(speakers, chosen.tolist(), strict=True))
        if padded[row, column] >= max(LEAST_S, LEAST_SHARE * padded[row].sum())
    }


def _views(tracks: Sequence[Track]) -> tuple[Media, ...]:
    """The best view of each track, then the second best, and so on, the best first in each."""
    ranked = [
        (rank, -view.quality, number, view.media)
        for number, track in enumerate(tracks)
        for rank, view in enumerate(track.views)
    ]
    return tuple(media for *_, media in sorted(ranked, key=lambda one: one[:3]))
