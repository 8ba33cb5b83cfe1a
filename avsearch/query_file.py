"""Read a file into a query: its speech, or the largest face in it."""

from __future__ import annotations

from pathlib import Path

from avsearch.media import MediaExtractor, kind_of
from avsearch.search import Query, Want, face_area, other
from indexer.errors import RefusedFile
from indexer.index import Index
from indexer.ingest.scan import file_fault
from indexer.types import Media, Modality


def query_modality(path: Path, ask: Modality | None, want: Want | None) -> Modality:
    """Return the modality of a file that is searched with; a video may turn out to lack it.

    A video may have both. Its modality is ``ask``, else the wanted one, because a face tells
    more about a face than a voice does, else the voice.
    """
    kind = kind_of(path)
    if ask is not None:
        return ask
    if kind == "image":
        return "face"
    return want if kind == "video" and want in ("face", "voice") else "voice"


class QueryReader:
    """Reads files into queries, with the settings that the files of an index were read with.

    A picture without a detected face is taken whole if the index was made with ``faces="whole"``.
    """

    def __init__(self, index: Index) -> None:
        self._detect = MediaExtractor("detect")
        self._whole = MediaExtractor("whole") if index.notes().get("faces") == "whole" else None

    def read(
        self,
        path: Path,
        ask: Modality | None = None,
        want: Want | None = None,
        *,
        named: Path | None = None,
    ) -> Query:
        """Return the query of a file: all of its speech, or its largest face.

        ``named`` is the path that users see.

        Raises:
            RefusedFile: The file cannot be read, or lacks the modality that it is searched with.
        """
        fault = file_fault(path)
        if fault is not None:
            raise RefusedFile(path, fault)
        first = query_modality(path, ask, want)
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
        # All speech is taken to be of one person.
        voices = [item for item in media if item.modality == "voice"]
        return Query.of_media(voices or [max(media, key=face_area)], tuple(notes), named or path)

    def _extract(self, path: Path, modality: Modality, notes: dict[str, None]) -> list[Media]:
        def note(sentence: str) -> None:
            notes[sentence] = None

        try:
            return list(self._detect.extract(path, modality, on_note=note))
        except RefusedFile:
            if self._whole is None or kind_of(path) != "image":
                raise
            return list(self._whole.extract(path, modality, on_note=note))
