"""Partial results of a long recording on disk, from which an interrupted run continues."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np

from avsearch.media.face_tracks import FaceTrack, FaceView
from avsearch.media.speech_segments import Span
from indexer.errors import AvsearchError
from indexer.types import Box, Media, Space, Vectors

_TIMES: Final = struct.Struct("<dd")
_CHECKSUM: Final = struct.Struct("<I")


class _PartialFile:
    """A file that is deleted once no run will continue from it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def close(self) -> None:
        """Close the file."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if kind is None or issubclass(kind, AvsearchError):  # it is done, or can never be done
            self._path.unlink()


class SavedVectors(_PartialFile):
    """A file of spans and their vectors, appended to until the run is complete.

    A file of another recording (``identity``) or model is replaced. A record that is cut short or
    damaged is dropped, with all behind it. ``vectors`` are those of the earlier run.
    """

    def __init__(self, path: Path, space: Space, identity: str) -> None:
        super().__init__(path)
        header = {"space": space.weights_sha256, "dim": space.dim, "about": identity}
        self._header = json.dumps(header).encode() + b"\n"
        self._size = _TIMES.size + 4 * space.dim + _CHECKSUM.size
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        records = list(self._read()) if self._path.is_file() else []
        self.vectors = dict(records)
        end = len(self._header) + len(records) * self._size
        self._file = self._path.open("r+b" if records else "w+b")
        if records:
            self._file.truncate(end)
            self._file.seek(end)
        else:
            self._file.write(self._header)
        return self

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def add(self, span: Span, vector: Vectors) -> None:
        """Append a vector, and flush it to the file system."""
        record = _TIMES.pack(*span) + np.asarray(vector, "<f4").tobytes()
        if self._file is not None:
            self._file.write(record + _CHECKSUM.pack(zlib.crc32(record)))
            self._file.flush()

    def _read(self) -> Iterator[tuple[Span, Vectors]]:
        with self._path.open("rb") as file:
            if file.readline() != self._header:
                return
            while len(record := file.read(self._size)) == self._size:
                content = record[: -_CHECKSUM.size]
                if _CHECKSUM.pack(zlib.crc32(content)) != record[-_CHECKSUM.size :]:
                    return
                vector = np.frombuffer(content[_TIMES.size :], "<f4").astype(np.float32)
                yield Span(*_TIMES.unpack(content[: _TIMES.size])), vector


class SavedTracks(_PartialFile):
    """A file of the face tracks of a video, one line per part, until the run is complete.

    ``identity`` as of :class:`SavedVectors`. ``tracks`` are those of the earlier run with a vector
    (dim,) each, up to ``until_s``.
    """

    def __init__(self, path: Path, video: Path, space: Space, identity: str) -> None:
        super().__init__(path)
        self._video = video
        self._header = json.dumps({"space": space.weights_sha256, "about": identity})

    def __enter__(self) -> Self:
        self.tracks: list[tuple[FaceTrack, Vectors]] = []
        self.until_s = 0.0
        lines: list[str] = []
        if self._path.is_file():
            header, *lines = self._path.read_text("utf-8", "replace").split("\n")
            lines = lines[:-1] if header == self._header else []  # the last may be incomplete
        for line in lines:
            part = json.loads(line)
            self.until_s = part["until"]
            self.tracks += [self._from_json(each) for each in part["tracks"]]
        self._path.write_text("".join(f"{line}\n" for line in [self._header, *lines]), "utf-8")
        return self

    def add(self, until_s: float, tracks: Sequence[tuple[FaceTrack, Vectors]]) -> None:
        """Append the tracks of a part of the video that ends at ``until_s``."""
        plain = [
            {
                "times": track.times_s,
                "views": [
                    [view.media.start_s, view.media.box, view.quality] for view in track.views
                ],
                "vector": vector.tolist(),
            }
            for track, vector in tracks
        ]
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"until": until_s, "tracks": plain}) + "\n")

    def _from_json(self, plain: dict[str, Any]) -> tuple[FaceTrack, Vectors]:
        views = [
            FaceView(Media(self._video, "face", start_s, box=Box(*box)), quality)
            for start_s, box, quality in plain["views"]
        ]
        return FaceTrack(plain["times"], views), np.array(plain["vector"], np.float32)
