"""What is in a file: its faces and its stretches of speech."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from avsearch.media import faces as face_detection
from avsearch.media import speech_segments, vad, video
from avsearch.media.audio import cut_sound, stream_sound
from avsearch.media.face_tracks import face_tracks
from avsearch.media.faces import FaceDetector, crop_face
from avsearch.media.file_types import kind_of
from avsearch.media.pictures.images import ITEM_SIDE_PX, Picture, read_image, shrink
from indexer.errors import RefusedFile
from indexer.runtime.atomic import absolute
from indexer.types import MODALITIES, Kind, Media, Modality, OnNote, ignore_note

Faces = Literal["detect", "whole"]
Find = Callable[[Path, OnNote], Iterator[Media]]
Cut = Callable[[Iterable[speech_segments.Span]], list[speech_segments.Span]]

NO_FACE = "no face found; a picture that is a face crop already has to be taken whole."
# What later versions do besides: pictures as far as they decode, one person a file.
_PARTS: Final = "; pictures as far as they decode; of several people one"

_HAS: dict[Kind, tuple[Modality, ...]] = {
    "picture": ("face",),
    "sound": ("voice",),
    "video": MODALITIES,
}
_LACKS: dict[Modality, str] = {
    "voice": "a picture has no voice; name a sound or a video.",
    "face": "a sound has no face; name a picture or a video.",
}


class MediaExtractor:
    """Finds the faces and voices in a file; an ``indexer.types.Extractor``.

    ``faces="detect"`` finds faces and crops them; ``"whole"`` takes pictures, and frames of
    videos, as crops already. ``speakers`` has speech in windows short enough to be one speaker's,
    to be joined by speaker. Making one loads nothing; the detectors are loaded when the first
    picture or sound comes. May be used from several threads at once.
    """

    def __init__(
        self,
        faces: Faces = "detect",
        detector: FaceDetector | None = None,
        *,
        speakers: bool = False,
    ) -> None:
        self._faces = faces
        self._speakers = speakers
        self._detector = detector or FaceDetector()

    @property
    def settings(self) -> str:
        """How files are looked into, in a few words; a change makes every file new."""
        found = (
            f"detect p>={face_detection.LEAST_PROBABILITY} "
            f"margin {face_detection.MARGIN} up {face_detection.UPWARD_SHIFT}"
        )
        return (
            f"faces {found if self._faces == 'detect' else 'whole'}, at most {ITEM_SIDE_PX} px; "
            f"video every {video.EVERY_S} s, a face a shot; speech p>={vad.ONSET} in "
            f"stretches of at most {speech_segments.LONGEST_S} s"
            f"{', of videos a voice a speaker' if self._speakers else ''}"
            "; times from the start of the file, tracks and channels by their speech and faces"
            f"{_PARTS}"
        )

    def kind(self, path: Path | str) -> Kind | None:
        """What a file claims to be by its name; None where its name is not one of media."""
        return kind_of(path)

    def extract(
        self,
        path: Path | str,
        modality: Modality | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        *,
        on_note: OnNote = ignore_note,
    ) -> Iterator[Media]:
        """Yield the items of one file, decoded, one at a time; at least one.

        A face comes as uint8 (height, width, 3) RGB of at most 256 pixels a side, square
        unless it is a whole picture; a voice as float32 (samples,) at 16 kHz, at most 10 s.
        ``modality`` leaves the other one out. A range of time (``start_s`` above 0 or ``end_s``
        given, in seconds) is one voice, to be decoded when it is embedded, and the faces of the
        frame at ``start_s``. ``on_note`` is told what of the file was lost, left out or chosen
        between. Raises RefusedFile in place of the first item.
        """
        path = absolute(path)  # nothing is read before the first item is asked for
        kind = kind_of(path)
        if kind is None:
            raise RefusedFile(
                path,
                f"its name ends in {path.suffix or 'nothing'}, which is no picture, sound "
                "or video; rename it if it is one.",
            )
        if modality is not None and modality not in _HAS[kind]:
            raise RefusedFile(path, _LACKS[modality])
        ranged = start_s > 0 or end_s is not None
        if ranged and kind == "picture":
            raise RefusedFile(path, "a picture has no times; leave its start_s and end_s empty.")
        finders = self._finders_in(start_s, end_s) if ranged else self._finders(kind)
        wanted = [finders[each] for each in ([modality] if modality else _HAS[kind])]
        if len(wanted) == 1:
            return wanted[0](path, on_note)
        return _by_any(wanted, path, on_note)

    def _finders(self, kind: Kind) -> dict[Modality, Find]:
        """What finds the faces and the voices of a file."""
        cut: Cut = speech_segments.stretches
        if self._speakers:
            cut = speech_segments.windows if kind == "video" else speech_segments.joined_windows
        return {
            "face": self._picture_faces if kind == "picture" else self._video_faces,
            "voice": lambda path, on_note: self._voices(path, cut, on_note),
        }

    def _finders_in(self, start_s: float, end_s: float | None) -> dict[Modality, Find]:
        """What finds them in a range of its time."""
        return {
            "face": lambda path, on_note: self._frame_faces(path, start_s, on_note),
            "voice": lambda path, _: iter([Media(path, "voice", start_s, end_s)]),
        }

    def _picture_faces(self, path: Path, on_note: OnNote) -> Iterator[Media]:
        yield from self._faces_in(path, read_image(path, on_note=on_note))

    def _frame_faces(self, path: Path, time_s: float, on_note: OnNote) -> Iterator[Media]:
        yield from self._faces_in(path, video.read_frame(path, time_s, on_note=on_note), time_s)

    def _faces_in(self, path: Path, rgb: Picture, time_s: float = 0.0) -> Iterator[Media]:
        """The faces of a picture."""
        if self._faces == "whole":
            yield Media(path, "face", time_s, data=shrink(rgb))
            return
        faces = self._detector.detect(rgb)
        if not faces:
            raise RefusedFile(path, NO_FACE)
        for face in faces:
            yield Media(path, "face", time_s, box=face.box, data=shrink(crop_face(rgb, face.box)))

    def _video_faces(self, path: Path, on_note: OnNote) -> Iterator[Media]:
        """Of each face the best view in every shot, by when it ends; or every frame, whole."""
        found, notes = 0, list[str]()
        views = self._frames if self._faces == "whole" else self._best_views
        for media in views(path, notes.append):
            found += 1
            yield media
        if not found:
            raise _refusal(
                path,
                "no clear face in its sampled frames; check that it shows somebody, near enough.",
                notes,
            )
        for note in notes:
            on_note(note)

    def _frames(self, path: Path, on_note: OnNote) -> Iterator[Media]:
        for frame in video.sample_frames(path, on_note=on_note):
            yield Media(path, "face", frame.time_s, data=shrink(frame.rgb))

    def _best_views(self, path: Path, on_note: OnNote) -> Iterator[Media]:
        for track in face_tracks(path, self._detector, video.EVERY_S, on_note=on_note):
            yield track.views[0].media

    def _voices(self, path: Path, cut: Cut, on_note: OnNote) -> Iterator[Media]:
        """The speech as it is cut; the file is decoded twice, so that it may be of any length."""
        notes: list[str] = []
        stream = functools.partial(stream_sound, path, on_note=notes.append)
        spans = cut(vad.find_speech_in_stream(stream))
        if not spans:
            raise _refusal(path, "no speech found; check that somebody speaks in it, aloud.", notes)
        for note in notes:
            on_note(note)
        for span, samples in zip(spans, cut_sound(path, spans), strict=True):
            yield Media(path, "voice", span.start_s, span.end_s, data=samples)


def _by_any(finders: Sequence[Find], path: Path, on_note: OnNote) -> Iterator[Media]:
    """Yield all that the finders find; refuse a file in which none of them finds anything.

    Where only some find something, the refusals of the others are notes.
    """
    refusals: list[RefusedFile] = []
    found = 0
    for find in finders:
        try:
            for media in find(path, on_note):
                found += 1
                yield media
        except RefusedFile as error:
            refusals.append(error)
    if not found:
        raise _joined(path, refusals)
    for refusal in refusals:
        on_note(refusal.reason)


def _refusal(path: Path, reason: str, notes: Iterable[str]) -> RefusedFile:
    """Return the refusal of a file in which nothing was found, with the notes on it."""
    return _joined(path, [RefusedFile(path, each) for each in (reason, *notes)])


def _joined(path: Path, refusals: list[RefusedFile]) -> RefusedFile:
    reasons = dict.fromkeys(refusal.reason for refusal in refusals)
    both = "; ".join(reason.removesuffix(".") for reason in reasons)
    return RefusedFile(path, f"{both}.", permanent=all(refusal.permanent for refusal in refusals))
