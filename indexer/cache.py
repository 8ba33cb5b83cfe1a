"""The vectors on disk in the form FAISS reads: a copy that can be made again at any time.

``vectors.faiss`` holds the vectors, ``stamp.json`` the revision they are of and the SHA-256 of
the file. Each is written under a temporary name and renamed; a pair that does not fit together
is recognised by its hash and never read by FAISS.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from indexer.records import Revision
from indexer.types import Space
from indexer.vectors import Device, FaissIndex

FOLDER = "cache"
VECTORS = "vectors.faiss"
STAMP = "stamp.json"
_UNFINISHED = ".new-"  # what names of files begin with that are not written to their end


class UnfitCacheError(Exception):
    """The cache cannot be used as it is; the message says why. It is never a user's problem."""


@dataclasses.dataclass(frozen=True, slots=True)
class Stamp:
    """What a cache is a copy of."""

    revision: Revision
    sha256: str
    count: int
    space: Space

    @classmethod
    def from_json(cls, text: str) -> Stamp:
        """Read back; raises UnfitCacheError for anything that is not a stamp."""
        try:
            facts = json.loads(text)
            revision, space = Revision(**facts.pop("revision")), Space(**facts.pop("space"))
            return cls(revision=revision, space=space, **facts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnfitCacheError(f"{STAMP} is damaged ({error})") from error

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1)


class Cache:
    """The cache of one index folder."""

    def __init__(self, index_folder: Path, space: Space) -> None:
        self.folder = index_folder / FOLDER
        self._space = space

    def exists(self) -> bool:
        """Whether anything was ever stored."""
        return (self.folder / STAMP).exists()

    def load(self, device: Device = "cpu") -> tuple[Stamp, FaissIndex]:
        """The vectors and what they are a copy of.

        Raises UnfitCacheError where files are missing, changed, cut short or of another space.
        """
        stamp = Stamp.from_json(self._content(STAMP).decode("utf-8", "replace"))
        if stamp.space != self._space:
            raise UnfitCacheError(f"{VECTORS} is of {stamp.space.describe()}")
        content = self._content(VECTORS)
        if hashlib.sha256(content).hexdigest() != stamp.sha256:
            raise UnfitCacheError(f"{VECTORS} is not what its stamp says: changed or cut short")
        vectors = FaissIndex.from_bytes(content, self._space.dim, self._space.metric, device)
        if len(np.unique(vectors.ids)) != stamp.count:
            raise UnfitCacheError(f"{VECTORS} does not hold the {stamp.count} ids of its stamp")
        return stamp, vectors

    def store(self, vectors: FaissIndex, revision: Revision) -> None:
        """Replace what is stored. The caller holds the write lock."""
        content = vectors.to_bytes()
        digest = hashlib.sha256(content).hexdigest()
        stamp = Stamp(revision, digest, len(vectors), self._space)
        self.folder.mkdir(exist_ok=True)
        (self.folder / STAMP).unlink(missing_ok=True)  # it fits no other vectors
        _replace(self.folder / VECTORS, content)
        _replace(self.folder / STAMP, stamp.to_json().encode())

    def clear(self) -> None:
        """Delete what is stored, unfinished files too, and nothing that is not ours."""
        for path in [
            *self.folder.glob(f"{_UNFINISHED}*"),
            self.folder / STAMP,
            self.folder / VECTORS,
        ]:
            path.unlink(missing_ok=True)

    def _content(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise UnfitCacheError(f"{name} cannot be read ({error.strerror})") from error


def _replace(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_UNFINISHED, delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
