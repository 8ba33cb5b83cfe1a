"""From a file to a query: its speech, or the largest face that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avsearch.media import MediaExtractor, kind_of
from avsearch.search import Query, Want, face_area, other
from indexer.errors import RefusedFile
from indexer.ingest.scan import file_fault
from indexer.types import Media, Modality


def asking_modality(path: Path, ask: Modality | None, want: Want | None) -> Modality:
    """Return the modality that a file asks with; a video may turn out to lack it.

    A video, which may have both, asks with ``ask``, else with what is wanted, since a face says
    more of a face than a voice does, else with its voice.
    """
    kind = kind_of(path)
    if ask is not None:
        return ask
    if kind == "image":
        return "face"
    return want if kind == "video" and want in ("face", "voice") else "voice"


class QueryReader:
    """Reads files into queries, as the files of an index were read.

    Args:
        whole_faces: Take a picture in which no face is found as the crop of a face, as an index
            made with ``faces="whole"`` does.
    """

    def __init__(self, *, whole_faces: bool) -> None:
        self._detect = MediaExtractor("detect")
        self._whole = MediaExtractor("whole") if whole_faces else None

    def read(
        self,
        path: Path,
        ask: Modality | None = None,
        want: Want | None = None,
        *,
        named: Path | None = None,
    ) -> Query:
        """Read what a file asks with: all of its speech, or its largest face.

        ``named`` is what the user calls the file.

        Raises:
            RefusedFile: The file cannot be read, or has nothing of what it is to ask with.
        """
        fault = file_fault(path)
        if fault is not None:
            raise RefusedFile(path, fault)
        first = asking_modality(path, ask, want)
        notes: dict[str, None] = {}  # in order, each once
        try:
            media = self._extract(path, first, notes)
        except RefusedFile as refusal:
            if ask is not None or kind_of(path) != "video":
                raise
            second = other(first)
            try:
                media = self._extract(path, second, notes)
            except RefusedFile as also:
                reason = f"{refusal.reason.removesuffix('.')}; {also.reason}"
                raise RefusedFile(path, reason, permanent=refusal.permanent) from also
            if want == first:
                notes[f"it asks with its {second}: {refusal.reason}"] = None
        if first == "face" and len(media) > 1:
            notes[
                f"{len(media)} faces were found; it asks with the largest. "
                "Crop the picture to choose."
            ] = None
        return Query.of_media(_chosen(media), tuple(notes), named or path)

    def _extract(self, path: Path, modality: Modality, notes: dict[str, None]) -> list[Media]:
        def note(sentence: str) -> None:
            notes[sentence] = None

        try:
            return list(self._detect.extract(path, modality, on_note=note))
        except RefusedFile:
            if self._whole is None or kind_of(path) != "image":
                raise
            return list(self._whole.extract(path, modality, on_note=note))


def _chosen(media: Sequence[Media]) -> list[Media]:
    """All stretches of speech, which are taken to be of one person, or the largest face."""
    voices = [item for item in media if item.modality == "voice"]
    return voices or [max(media, key=face_area)]
