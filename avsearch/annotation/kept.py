"""Vectors of a long recording, kept while it is worked on, so that a stopped run goes on."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import numpy as np

from avsearch.media.stretches import Span
from indexer.types import Space, Vectors

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
        if kind is None:
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
