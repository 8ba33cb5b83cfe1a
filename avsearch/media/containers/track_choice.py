"""The choice among several tracks of a file: the likeliest with speech, or with a face.

It depends on the file alone, so that every reader of the file takes the same track.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from avsearch.media.containers import decoding, ffmpeg
from avsearch.media.containers.ffmpeg import Choose, Track
from avsearch.media.faces import FaceDetector, is_clear
from avsearch.media.samples import Samples
from avsearch.media.vad import even_level, speech_duration
from indexer.errors import RefusedFile
from indexer.types import OnNote

_ENOUGH_S: Final = 1.0  # of speech, at which the search ends
_MIN_SPEECH_S: Final = 0.25  # in any track; else speech is searched for at an even level
_FRAMES: Final = 32  # of a track that are searched for faces, over its whole length


StreamTrack = Callable[[Path, Choose], Iterator[Samples]]


class _Choice(NamedTuple):
    track: Track
    note: str


def choose_audio(
    path: Path, tracks: Sequence[Track], on_note: OnNote, stream: StreamTrack
) -> Track:
    """Return the first audio track with speech, else the first; ``stream`` decodes a track."""
    return _cached(_compare_audio, path, tracks, on_note, stream)


def choose_video(path: Path, tracks: Sequence[Track], on_note: OnNote) -> Track:
    """Return the first video track with a clear face, else the first."""
    return _cached(_compare_video, path, tracks, on_note)


def _cached(
    find: Callable[..., _Choice],
    path: Path,
    tracks: Sequence[Track],
    on_note: OnNote,
    *decoders: StreamTrack,
) -> Track:
    """Return the choice, which is cached while the file does not change."""
    stat = path.stat()
    choice = find(path, tuple(tracks), *decoders, stat.st_size, stat.st_mtime_ns)
    on_note(choice.note)
    return choice.track


@functools.lru_cache(maxsize=1024)
def _compare_audio(path: Path, tracks: tuple[Track, ...], stream: StreamTrack, *_: int) -> _Choice:
    def as_it_is(track: Track) -> float:
        return speech_duration(stream(path, lambda _: track), _ENOUGH_S)

    def at_even_level(track: Track) -> float:
        return speech_duration(even_level(stream(path, lambda _: track)), _ENOUGH_S)

    for measure in (as_it_is, at_even_level):
        scores = _scores(tracks, measure, _ENOUGH_S)
        if max(scores.values(), default=0.0) >= _MIN_SPEECH_S:
            break
    return _best("audio", "no speech", tracks, scores)


@functools.lru_cache(maxsize=1024)
def _compare_video(path: Path, tracks: tuple[Track, ...], *_: int) -> _Choice:
    detector, step_s = FaceDetector(), (ffmpeg.duration_s(path) or 0.0) / _FRAMES

    def faces(track: Track) -> float:
        frames = decoding.read_frames(
            path, 0.0, lambda s: s + step_s, choose=lambda _: track, keyframes=True
        )
        some = itertools.islice(frames, _FRAMES)
        return float(any(is_clear(face) for _, rgb in some for face in detector.detect(rgb)))

    return _best("video", "no clear face", tracks, _scores(tracks, faces, 1.0))


def _scores(
    tracks: Sequence[Track], measure: Callable[[Track], float], enough: float
) -> dict[Track, float]:
    """Return a score, at most ``enough``, of each track that can be decoded.

    Those behind the first with enough, and a single track, are not measured.
    """
    scores: dict[Track, float] = {}
    decodable = [track for track in tracks if track.decodable]
    if len(decodable) == 1:
        return dict.fromkeys(decodable, 0.0)
    for track in decodable:
        try:
            scores[track] = min(enough, measure(track))
        except RefusedFile:
            continue
        if scores[track] >= enough:
            break
    return scores


def _best(kind: str, lacks: str, tracks: Sequence[Track], scores: Mapping[Track, float]) -> _Choice:
    """Return the first track with at least half of the highest score, and a note on it."""
    least = max(scores.values(), default=0.0) / 2
    best = next((track for track in scores if scores[track] >= least), tracks[0])
    reasons = [
        f"track {track.number}: {lacks if track in scores else 'it cannot be decoded'}"
        for track in sorted(tracks, key=lambda track: track.number)
        if not track.decodable or track in tracks[: tracks.index(best)]
    ]
    marks = f" ({', '.join(best.marks)})" if best.marks else ""
    why = "".join(f"; {reason}" for reason in reasons)
    note = f"of its {len(tracks)} {kind} tracks track {best.number}{marks} was taken{why}."
    return _Choice(best, note)
