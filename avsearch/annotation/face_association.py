"""The face of each speaker of a video.

A face that is seen alone while one speaker speaks alone may be the speaker's. Similar faces count
as one face. Speakers and faces are then assigned one to one, for the most time together. Lips are
not looked at.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from avsearch.annotation.identification.assignment import assign
from avsearch.annotation.identification.clustering import Calibrations, cluster, equal_odds_score
from avsearch.annotation.identification.speaker_model import weighted_mean
from avsearch.annotation.resume import SavedTracks
from avsearch.annotation.turns import Turn, single_speaker_speech
from avsearch.media.face_tracks import STEP_S, FaceTrack, track_faces
from avsearch.media.faces import FaceDetector
from avsearch.media.speech_segments import Span
from avsearch.media.video import sample_frames
from indexer.errors import RefusedFile
from indexer.types import Embedder, Media, OnNote, Vectors, ignore_note

_PART_S: Final = 60.0  # of a video whose crops are in memory: 25 MB for each face
MIN_TOGETHER_S: Final = 1.0  # that a face is seen alone with a speaker
MIN_SHARE: Final = 0.5  # of the time in which any face is seen alone with the speaker


@dataclasses.dataclass(frozen=True, slots=True)
class EmbeddedTrack:
    """A face through one shot: its time, its unit vector (dim,), its views, the best first."""

    span: Span
    vector: Vectors
    views: tuple[Media, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SpeakerFace:
    """The face of a speaker.

    Attributes:
        vector: A unit vector (dim,).
        seconds: The time in which it was seen alone with the speaker.
        tracks: All tracks of the face, also those without the speaker's voice.
    """

    vector: Vectors
    seconds: float
    tracks: tuple[EmbeddedTrack, ...]

    @property
    def views(self) -> list[Media]:
        """The best view of every track, then the second best, and so on."""
        ranks = itertools.zip_longest(*(each.views for each in self.tracks))
        return [view for rank in ranks for view in rank if view is not None]


def embed_tracks(
    path: Path,
    embedder: Embedder,
    detector: FaceDetector,
    saved: SavedTracks | None = None,
    *,
    on_note: OnNote = ignore_note,
) -> Iterator[tuple[FaceTrack, Vectors]]:
    """Yield the face tracks of a video, each with the unit mean (dim,) of its best views.

    The video is read a minute at a time, at the end of which a track ends too. Crops are dropped
    once they are embedded. ``saved`` holds the tracks of an interrupted run. ``on_note`` receives
    what of the frames was lost or chosen between.
    """
    if saved is not None:
        yield from saved.tracks
    from_s = 0.0 if saved is None else saved.until_s
    frames = sample_frames(path, STEP_S, from_s, on_note=on_note)
    for number, part in itertools.groupby(frames, lambda frame: frame.time_s // _PART_S):
        tracks = list(track_faces(path, part, detector))
        media = [view.media for track in tracks for view in track.views]
        rows = iter(embedder.embed(media).vectors if media else ())
        found = []
        for track in tracks:
            vectors: Vectors = np.stack(list(itertools.islice(rows, len(track.views))))
            track.views = [view.without_image() for view in track.views]
            found.append((track, weighted_mean(vectors, np.ones(len(vectors)))))
        if saved is not None:
            saved.add((number + 1) * _PART_S, found)
        yield from found


def find_speaker_faces(
    path: Path,
    turns: Sequence[Turn],
    embedder: Embedder,
    calibrations: Calibrations,
    saved: SavedTracks | None = None,
) -> tuple[dict[str, SpeakerFace], tuple[str, ...]]:
    """Return the faces of the speakers of a video, and notes.

    The turns are on the clock of the file. A video whose frames cannot be read gives no face and a
    note, because its voices may be enough.
    """
    notes: list[str] = []
    try:
        found = list(embed_tracks(path, embedder, FaceDetector(), saved, on_note=notes.append))
    except RefusedFile as refusal:
        return {}, (f"No face was looked for: {refusal.reason}",)
    file_notes = tuple(f"{path.name}: {note}" for note in notes)
    if not found:
        none = "No clear face was found in the video; the voices alone were compared."
        return {}, (*file_notes, none)
    tracks, vectors = [track for track, _ in found], np.stack([vector for _, vector in found])
    min_cosine = equal_odds_score(calibrations, "F-F")
    return match_faces(turns, tracks, vectors, STEP_S, min_cosine), file_notes


def match_faces(
    turns: Sequence[Turn],
    tracks: Sequence[FaceTrack],
    vectors: Vectors,
    step_s: float,
    min_cosine: float,
) -> dict[str, SpeakerFace]:
    """Return the faces of the speakers who have one.

    Args:
        turns: The turns of the speakers.
        tracks: The face tracks of the video.
        vectors: The unit vectors (n, dim) of the tracks.
        step_s: The seconds from one sampled frame to the next.
        min_cosine: The mean cosine from which tracks are of one face.
    """
    if not tracks:
        return {}
    lengths = np.array([float(len(track.times_s)) for track in tracks])
    clusters = cluster(vectors, lengths, min_cosine)
    together = _time_together(turns, tracks, clusters.tolist(), step_s)
    speakers = list(together)
    faces = sorted({face for each in together.values() for face in each})
    seconds = np.array([[together[who].get(face, 0.0) for face in faces] for who in speakers])
    padded = np.pad(seconds, ((0, 0), (0, len(speakers))))  # a column each for no face
    found: dict[str, SpeakerFace] = {}
    for row, (speaker, column) in enumerate(zip(speakers, assign(padded).tolist(), strict=True)):
        if padded[row, column] < max(MIN_TOGETHER_S, MIN_SHARE * padded[row].sum()):
            continue
        own = np.flatnonzero(clusters == faces[column]).tolist()
        found[speaker] = SpeakerFace(
            weighted_mean(vectors[own], lengths[own]),
            together[speaker][faces[column]],
            tuple(
                EmbeddedTrack(
                    Span(tracks[at].start_s, tracks[at].end_s + step_s),
                    vectors[at],
                    tuple(view.media for view in tracks[at].views),
                )
                for at in own
            ),
        )
    return found


def _time_together(
    turns: Sequence[Turn], tracks: Sequence[FaceTrack], faces: Sequence[int], step_s: float
) -> dict[str, dict[int, float]]:
    """Return the seconds in which each face is seen alone with each speaker who speaks alone."""
    seen: dict[float, list[int]] = collections.defaultdict(list)
    for track, face in zip(tracks, faces, strict=True):
        for time_s in track.times_s:
            seen[time_s].append(face)
    alone = {time_s: shown[0] for time_s, shown in seen.items() if len(shown) == 1}
    together: dict[str, dict[int, float]] = {}
    for speaker, spans in single_speaker_speech(turns).items():
        starts = [span.start_s for span in spans]
        counts = collections.Counter[int]()
        for time_s, face in alone.items():
            at = bisect.bisect_right(starts, time_s) - 1
            counts[face] += at >= 0 and time_s < spans[at].end_s
        together[speaker] = {face: count * step_s for face, count in counts.items() if count}
    return together
