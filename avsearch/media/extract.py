"""What is in a file: its faces and its stretches of speech."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

from avsearch.media import faces as face_detection
from avsearch.media import speech, stretches, video
from avsearch.media.faces import FaceDetector, crop_face
from avsearch.media.images import ITEM_SIDE_PX, Picture, read_image, shrink
from avsearch.media.kinds import kind_of
from avsearch.media.sound import cut_sound, stream_sound
from avsearch.media.tracks import face_tracks
from indexer.errors import RefusedFile
from indexer.types import Kind, Media, Modality

Faces = Literal["detect", "whole"]
Part = Callable[[Path], Iterator[Media]]
Cut = Callable[[Iterable[stretches.Span]], list[stretches.Span]]


class MediaExtractor:
    """Finds the faces and voices in a file; an ``indexer.types.Extractor``.

    ``faces="detect"`` finds faces and crops them; ``"whole"`` takes pictures, and frames of
    videos, as crops already. ``speakers`` has the speech of videos in windows short enough to be
    one speaker's, to be joined by speaker. Making one loads nothing; the detectors are loaded when
    the first picture or sound comes. May be used from several threads at once.
    """

    def __init__(
        self,
        faces: Faces = "detect",
        detector: FaceDetector | None = None,
        *,
        speakers: bool = False,
    ) -> None:
        self._faces = faces
        self._cut = stretches.windows if speakers else stretches.stretches
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
            f"video every {video.EVERY_S} s, a face a shot; speech p>={speech.ONSET} in "
            f"stretches of at most {stretches.LONGEST_S} s"
            f"{', of videos a voice a speaker' if self._cut is stretches.windows else ''}"
        )

    def kind(self, path: Path) -> Kind | None:
        """What a file claims to be by its name; None where its name is not one of media."""
        return kind_of(path)

    def extract(self, path: Path, modality: Modality | None = None) -> Iterator[Media]:
        """Yield the items of one file, decoded, one at a time; at least one.

        A face comes as uint8 (height, width, 3) RGB of at most 256 pixels a side, square
        unless it is a whole picture; a voice as float32 (samples,) at 16 kHz, at most 10 s.
        ``modality`` leaves the other one out. Raises RefusedFile in place of the first item.
        """
        parts = {"picture": self._picture, "sound": self._sound, "video": self._video}
        kind = kind_of(path)
        if kind is None:
            raise RefusedFile(
                path,
                f"its name ends in {path.suffix or 'nothing'}, which is no picture, sound "
                "or video; rename it if it is one.",
            )
        return parts[kind](path, modality)

    def _picture(self, path: Path, modality: Modality | None) -> Iterator[Media]:
        if modality == "voice":
            raise RefusedFile(path, "a picture has no voice; name a sound or a video.")
        rgb = read_image(path)
        items = list(self._faces_in(path, rgb))
        if not items:
            raise RefusedFile(
                path, "no face found; use --faces whole if the picture is a face crop already."
            )
        yield from items

    def _sound(self, path: Path, modality: Modality | None) -> Iterator[Media]:
        if modality == "face":
            raise RefusedFile(path, "a sound has no face; name a picture or a video.")
        yield from self._voices(path, stretches.stretches)

    def _video(self, path: Path, modality: Modality | None) -> Iterator[Media]:
        """Faces, then voices; a file that has one of them is not refused for the other."""
        parts: dict[Modality, Part] = {
            "face": self._video_faces,
            "voice": lambda path: self._voices(path, self._cut),
        }
        refusals: list[RefusedFile] = []
        found = 0
        for part in [parts[modality]] if modality else parts.values():
            try:
                for media in part(path):
                    found += 1
                    yield media
            except RefusedFile as refusal:
                refusals.append(refusal)
        if not found:
            raise _joined(path, refusals)

    def _video_faces(self, path: Path) -> Iterator[Media]:
        """Of each face the best view in every shot, by when it ends; or every frame, whole."""
        found = 0
        for media in self._frames(path) if self._faces == "whole" else self._best_views(path):
            found += 1
            yield media
        if not found:
            raise RefusedFile(
                path,
                "no clear face in its sampled frames; check that it shows somebody, near enough.",
            )

    def _frames(self, path: Path) -> Iterator[Media]:
        for frame in video.sample_frames(path):
            yield Media(path, "face", frame.time_s, data=shrink(frame.rgb))

    def _best_views(self, path: Path) -> Iterator[Media]:
        for track in face_tracks(path, self._detector, video.EVERY_S):
            yield track.views[0].media

    def _faces_in(self, path: Path, rgb: Picture) -> Iterator[Media]:
        """The faces of a picture."""
        if self._faces == "whole":
            yield Media(path, "face", data=shrink(rgb))
            return
        for face in self._detector.detect(rgb):
            yield Media(path, "face", box=face.box, data=shrink(crop_face(rgb, face.box)))

    def _voices(self, path: Path, cut: Cut) -> Iterator[Media]:
        """The speech as it is cut; the file is decoded twice, so that it may be of any length."""
        spans = cut(speech.find_speech_in_blocks(stream_sound(path)))
        if not spans:
            raise RefusedFile(path, "no speech found; check that somebody speaks in it, aloud.")
        for span, samples in zip(spans, cut_sound(path, spans), strict=True):
            yield Media(path, "voice", span.start_s, span.end_s, data=samples)


def _joined(path: Path, refusals: list[RefusedFile]) -> RefusedFile:
    reasons = dict.fromkeys(refusal.reason for refusal in refusals)
    both = "; ".join(reason.removesuffix(".") for reason in reasons)
    return RefusedFile(path, f"{both}.", lasting=all(refusal.lasting for refusal in refusals))
