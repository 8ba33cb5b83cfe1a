"""The items of a file: its faces and its segments of speech."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from avsearch.media import faces as face_detection
from avsearch.media import speech_segments, vad, video
from avsearch.media.audio import cut_audio, stream_audio
from avsearch.media.face_tracks import track_faces
from avsearch.media.faces import FaceDetector, crop_face
from avsearch.media.file_types import kind_of
from avsearch.media.images.pixels import ITEM_SIDE_PX, Pixels, shrink
from avsearch.media.images.read import read_image
from indexer.errors import RefusedFile
from indexer.runtime.atomic import absolute
from indexer.types import MODALITIES, Kind, Media, Modality, OnNote, ignore_note

Faces = Literal["detect", "whole"]
Find = Callable[[Path, OnNote], Iterator[Media]]

NO_FACE = "no face found; an image that is a face crop already has to be taken whole."
# What later versions do besides: pictures as far as they decode, one person a file.
_PARTS: Final = "; pictures as far as they decode; of several people one"

_MODALITIES: dict[Kind, tuple[Modality, ...]] = {
    "image": ("face",),
    "audio": ("voice",),
    "video": MODALITIES,
}
_LACKS: dict[Modality, str] = {
    "voice": "an image has no voice; name an audio file or a video.",
    "face": "an audio file has no face; name an image or a video.",
}


class MediaExtractor:
    """Finds the faces and voices in a file; an :class:`indexer.types.Extractor`.

    The detectors are loaded with the first image or audio. Several threads may share one.

    Args:
        faces: "detect" finds faces and crops them; "whole" takes images, and frames of videos, as
            crops.
        detector: The face detector, by default one of its own.
        speakers: Return speech in windows that are short enough to be of one speaker, to be joined
            by speaker.
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
        """The settings in a few words; a change makes every file new."""
        found = (
            f"detect p>={face_detection.MIN_PROBABILITY} "
            f"margin {face_detection.MARGIN} up {face_detection.UPWARD_SHIFT}"
        )
        return (
            f"faces {found if self._faces == 'detect' else 'whole'}, at most {ITEM_SIDE_PX} px; "
            f"video every {video.STEP_S} s, a face a shot; speech p>={vad.ONSET} in "
            f"stretches of at most {speech_segments.MAX_SEGMENT_S} s"
            f"{', of videos a voice a speaker' if self._speakers else ''}"
            "; times from the start of the file, tracks and channels by their speech and faces"
            f"{_PARTS}"
        )

    def kind(self, path: Path | str) -> Kind | None:
        """Return the kind of a file by its suffix; None for another file than media."""
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
        """Return an iterator over the items of one file, decoded, one at a time; at least one.

        A face is uint8 (height, width, 3) RGB of at most 256 pixels a side, square unless it is a
        whole image; a voice is float32 (samples,) at 16 kHz, at most 10 s. A range of time is one
        voice, which is decoded when it is embedded, and the faces of the frame at its start.

        Args:
            path: The file; it is read with the first item.
            modality: The only modality to return.
            start_s: The start of a range of time in seconds.
            end_s: The end of the range; None for the end of the file.
            on_note: Receives what of the file was lost, left out or chosen between.

        Raises:
            RefusedFile: The file has no item; raised in place of the first one.
        """
        path = absolute(path)
        kind = kind_of(path)
        if kind is None:
            raise RefusedFile(
                path,
                f"its name ends in {path.suffix or 'nothing'}, which is no image, audio "
                "or video; rename it if it is one.",
            )
        if modality is not None and modality not in _MODALITIES[kind]:
            raise RefusedFile(path, _LACKS[modality])
        find: dict[Modality, Find]
        if start_s > 0 or end_s is not None:
            if kind == "image":
                raise RefusedFile(path, "an image has no times; leave its start_s and end_s empty.")
            find = {
                "face": functools.partial(self._frame_faces, start_s),
                "voice": lambda path, _: iter([Media(path, "voice", start_s, end_s)]),
            }
        else:
            find = {
                "face": self._image_faces if kind == "image" else self._video_faces,
                "voice": functools.partial(self._voices, kind),
            }
        wanted = [find[each] for each in ([modality] if modality else _MODALITIES[kind])]
        if len(wanted) == 1:
            return wanted[0](path, on_note)
        return _find_all(wanted, path, on_note)

    def _image_faces(self, path: Path, on_note: OnNote) -> Iterator[Media]:
        yield from self._faces_in(path, read_image(path, on_note=on_note))

    def _frame_faces(self, time_s: float, path: Path, on_note: OnNote) -> Iterator[Media]:
        yield from self._faces_in(path, video.read_frame(path, time_s, on_note=on_note), time_s)

    def _faces_in(self, path: Path, rgb: Pixels, time_s: float = 0.0) -> Iterator[Media]:
        if self._faces == "whole":
            yield Media(path, "face", time_s, data=shrink(rgb))
            return
        faces = self._detector.detect(rgb)
        if not faces:
            raise RefusedFile(path, NO_FACE)
        for face in faces:
            yield Media(path, "face", time_s, box=face.box, data=shrink(crop_face(rgb, face.box)))

    def _video_faces(self, path: Path, on_note: OnNote) -> Iterator[Media]:
        """Yield the best view of each face in every shot, by its end; or every frame, whole."""
        found, notes = 0, list[str]()
        frames = video.sample_frames(path, on_note=notes.append)
        if self._faces == "whole":
            views = (Media(path, "face", each.time_s, data=shrink(each.rgb)) for each in frames)
        else:
            tracks = track_faces(path, frames, self._detector)
            views = (track.views[0].media for track in tracks)
        for media in views:
            found += 1
            yield media
        if not found:
            reason = (
                "no clear face in its sampled frames; check that it shows somebody, near enough."
            )
            raise _refusal(path, [reason, *notes])
        for note in notes:
            on_note(note)

    def _voices(self, kind: Kind, path: Path, on_note: OnNote) -> Iterator[Media]:
        """Yield the speech of a file, which is decoded twice, so that it may have any length."""
        cut = speech_segments.group_turns
        if self._speakers:
            cut = speech_segments.cut_windows if kind == "video" else speech_segments.merged_windows
        notes: list[str] = []
        stream = functools.partial(stream_audio, path, on_note=notes.append)
        spans = cut(vad.find_speech_in_stream(stream))
        if not spans:
            reason = "no speech found; check that somebody speaks in it, aloud."
            raise _refusal(path, [reason, *notes])
        for note in notes:
            on_note(note)
        for span, samples in zip(spans, cut_audio(path, spans), strict=True):
            yield Media(path, "voice", span.start_s, span.end_s, data=samples)


def _find_all(finders: Sequence[Find], path: Path, on_note: OnNote) -> Iterator[Media]:
    """Yield all that the finders find; refuse a file in which none of them finds anything.

    If only some find something, the refusals of the others are notes.
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
    reasons = [refusal.reason for refusal in refusals]
    if not found:
        raise _refusal(path, reasons, permanent=all(refusal.permanent for refusal in refusals))
    for reason in reasons:
        on_note(reason)


def _refusal(path: Path, reasons: Iterable[str], *, permanent: bool = True) -> RefusedFile:
    """Return a refusal with all reasons, each once."""
    joined = "; ".join(reason.removesuffix(".") for reason in dict.fromkeys(reasons))
    return RefusedFile(path, f"{joined}.", permanent=permanent)
