"""What was made of a long recording, kept while it is worked on, so that a stopped run goes on."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np

from avsearch.media.face_tracks import Track, View
from avsearch.media.speech_segments import Span
from indexer.errors import AvsearchError
from indexer.types import Box, Media, Space, Vectors

_TIMES: Final = struct.Struct("<dd")
_SUM: Final = struct.Struct("<I")


class KeptVectors:
    """A file of spans and their vectors, added to at its end; deleted once it is of no use.

    ``about`` tells recordings apart: a file kept for another one, or made by another model, is
    begun anew. A record that was cut short or changed is dropped, with all behind it.
    """

    def __init__(self, path: Path, space: Space, about: str) -> None:
        self._path, self._dim = path, space.dim
        header = {"space": space.weights_sha256, "dim": space.dim, "about": about}
        self._header = json.dumps(header).encode() + b"\n"
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        records = list(self._records()) if self._path.is_file() else []
        self.known = dict(records)
        whole = len(self._header) + len(records) * self._size
        self._file = self._path.open("r+b" if self.known else "w+b")
        if self.known:
            self._file.truncate(whole)
            self._file.seek(whole)
        else:
            self._file.write(self._header)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        if _is_over(kind):
            self._path.unlink()

    def add(self, span: Span, vector: Vectors) -> None:
        """Keep one more; written through to the file system."""
        record = _TIMES.pack(*span) + np.asarray(vector, "<f4").tobytes()
        if self._file is not None:
            self._file.write(record + _SUM.pack(zlib.crc32(record)))
            self._file.flush()

    @property
    def _size(self) -> int:
        return _TIMES.size + 4 * self._dim + _SUM.size

    def _records(self) -> Iterator[tuple[Span, Vectors]]:
        with self._path.open("rb") as file:
            if file.readline() != self._header:
                return
            while len(record := file.read(self._size)) == self._size:
                content, (total,) = record[: -_SUM.size], _SUM.unpack(record[-_SUM.size :])
                if zlib.crc32(content) != total:
                    return
                vector = np.frombuffer(content[_TIMES.size :], "<f4").astype(np.float32)
                yield Span(*_TIMES.unpack(content[: _TIMES.size])), vector


class KeptTracks:
    """A file of the faces of a video, a line a piece of it; deleted once it is of no use.

    ``about`` as of :class:`KeptVectors`. ``known`` are the tracks of the pieces that were seen to
    their ends, with a vector (dim,) each, up to ``until_s``.
    """

    def __init__(self, path: Path, video: Path, space: Space, about: str) -> None:
        self._path, self._video = path, video
        self._header = json.dumps({"space": space.weights_sha256, "about": about})

    def __enter__(self) -> Self:
        self.known: list[tuple[Track, Vectors]] = []
        self.until_s = 0.0
        lines = self._whole_lines()
        for line in lines:
            piece = json.loads(line)
            self.until_s = piece["until"]
            self.known += [_track(self._video, each) for each in piece["tracks"]]
        self._path.write_text("".join(f"{line}\n" for line in [self._header, *lines]), "utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if _is_over(kind):
            self._path.unlink()

    def add(self, until_s: float, tracks: Sequence[tuple[Track, Vectors]]) -> None:
        """Keep one more piece, which ends at ``until_s``."""
        piece = {"until": until_s, "tracks": [_plain(*each) for each in tracks]}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(piece) + "\n")

    def _whole_lines(self) -> list[str]:
        """The lines after the header that were written to their ends; none of another video."""
        if not self._path.is_file():
            return []
        header, *lines = self._path.read_text("utf-8", "replace").split("\n")
        return lines[:-1] if header == self._header else []  # behind the last end is half a line


def _is_over(kind: type[BaseException] | None) -> bool:
    """Whether nobody will go on: the work is done, or cannot be done."""
    return kind is None or issubclass(kind, AvsearchError)


def _plain(track: Track, vector: Vectors) -> dict[str, Any]:
    views = [[view.media.start_s, view.media.box, view.quality] for view in track.views]
    return {"times": track.times_s, "views": views, "vector": vector.tolist()}


def _track(video: Path, plain: dict[str, Any]) -> tuple[Track, Vectors]:
    views = [
        View(Media(video, "face", start_s, box=Box(*box)), quality)
        for start_s, box, quality in plain["views"]
    ]
    return Track(plain["times"], views), np.array(plain["vector"], np.float32)
