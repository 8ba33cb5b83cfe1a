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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from avsearch.annotation.identification.assignment import assign
from avsearch.annotation.identification.clustering import cluster
from avsearch.annotation.identification.speaker_llr import Calibrations, even_score
from avsearch.annotation.identification.speaker_model import weighted_mean
from avsearch.annotation.resume import KeptTracks
from avsearch.annotation.turns import Turn, clean_speech
from avsearch.media.face_tracks import EVERY_S, Track, follow
from avsearch.media.faces import FaceDetector
from avsearch.media.speech_segments import Span
from avsearch.media.video import sample_frames
from indexer.errors import RefusedFile
from indexer.types import Embedder, Media, OnNote, Vectors, ignore_note

_MINUTE_S: Final = 60.0  # of a video whose pictures are in memory: 25 MB a face
LEAST_S: Final = 1.0  # that a face is seen alone with a speaker
LEAST_SHARE: Final = 0.5  # of the time in which a face is seen alone with the speaker


@dataclasses.dataclass(frozen=True, slots=True)
class Appearance:
    """A face through one shot: when, its unit vector (dim,), its best views, the best first."""

    span: Span
    vector: Vectors
    views: tuple[Media, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Sight:
    """The face of one speaker: a unit vector (dim,), and the seconds it was seen alone with them.

    ``appearances`` are all of its own, those without the speaker's voice too.
    """

    vector: Vectors
    seconds: float
    appearances: tuple[Appearance, ...]

    @property
    def views(self) -> list[Media]:
        """The best view of every appearance, then the second best, and so on."""
        ranks = itertools.zip_longest(*(each.views for each in self.appearances))
        return [view for rank in ranks for view in rank if view is not None]


def embed_tracks(
    path: Path,
    embedder: Embedder,
    detector: FaceDetector,
    kept: KeptTracks | None = None,
    *,
    on_note: OnNote = ignore_note,
) -> Iterator[tuple[Track, Vectors]]:
    """The tracks of a video with a unit vector each, (dim,): the mean of its best views.

    A minute at a time, at whose end a track ends too. Pictures are let go of as they are
    embedded; who wants one reads it from the file again. ``kept`` holds what a run that was
    stopped has seen. ``on_note`` receives what of the pictures was lost or chosen between.
    """
    if kept is not None:
        yield from kept.known
    from_s = 0.0 if kept is None else kept.until_s
    frames = sample_frames(path, EVERY_S, from_s, on_note=on_note)
    for minute, some in itertools.groupby(frames, lambda frame: frame.time_s // _MINUTE_S):
        tracks = list(follow(path, some, detector))
        found = list(zip(tracks, _means(tracks, embedder), strict=True))
        for track in tracks:
            track.views = [view.without_picture() for view in track.views]
        if kept is not None:
            kept.add((minute + 1) * _MINUTE_S, found)
        yield from found


def _means(tracks: Sequence[Track], embedder: Embedder) -> Vectors:
    if not tracks:
        return np.empty((0, embedder.space.dim), np.float32)
    media = [view.media for track in tracks for view in track.views]
    ends = np.cumsum([len(track.views) for track in tracks])
    parts = np.split(embedder.embed(media).vectors, ends[:-1])
    return np.stack([weighted_mean(part, np.ones(len(part))) for part in parts])


def look(
    path: Path,
    turns: Sequence[Turn],
    embedder: Embedder,
    calibrations: Calibrations,
    kept: KeptTracks | None = None,
) -> tuple[dict[str, Sight], tuple[str, ...]]:
    """Return the faces of the speakers of a video, and notes on what was not seen of it.

    The turns are on the clock of the file. Two tracks are of one face where the evidence speaks
    for it.
    """
    notes: list[str] = []
    try:
        found = list(embed_tracks(path, embedder, FaceDetector(), kept, on_note=notes.append))
    except RefusedFile as refusal:  # its sound was heard: the voices are enough
        return {}, (f"No face was looked for: {refusal.reason}",)
    said = tuple(f"{path.name}: {note}" for note in notes)
    if not found:
        alone = "No clear face was found in the video; the voices alone were compared."
        return {}, (*said, alone)
    tracks, vectors = [track for track, _ in found], np.stack([vector for _, vector in found])
    return sights(turns, tracks, vectors, EVERY_S, even_score(calibrations, "F-F")), said


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
            tuple(_appearance(tracks[at], vectors[at], step_s) for at in theirs),
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


def _appearance(track: Track, vector: Vectors, step_s: float) -> Appearance:
    span = Span(track.start_s, track.end_s + step_s)
    return Appearance(span, vector, tuple(view.media for view in track.views))
