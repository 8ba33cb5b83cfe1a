"""Stand-ins for what looks into media and what embeds: quick, without decoders or models.

A fake media file is text. Each line is one item, ``face`` or ``voice``, a colon and any words;
its vector is made of a hash of the line, so equal lines give equal vectors. A file whose first
line is ``refuse: REASON`` is refused, with ``later: REASON`` not lastingly; an item with the
word ``mute`` is refused by the embedder and one with ``nan`` gets a vector of NaN. For the matcher
equal lines show one person, and other lines other people.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from indexer.errors import RefusedFile
from indexer.records import NewItem
from indexer.types import (
    Embedded,
    Kind,
    Media,
    Modality,
    OnNote,
    Space,
    Vectors,
    ignore_note,
)

DIM = 16
SPACE = Space("fake", "0123456789abcdef", DIM, "cosine")
KINDS: dict[str, Kind] = {".wav": "audio", ".jpg": "image", ".mp4": "video"}


def fake_vector(text: str, dim: int = DIM) -> Vectors:
    """(dim,) float32 of a text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


class FakeExtractor:
    """Reads the lines of a fake media file; remembers which files it was asked for."""

    def __init__(self, settings: str = "faces=whole") -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self.asked: list[Path] = []

    @property
    def settings(self) -> str:
        return self._settings

    def kind(self, path: Path) -> Kind | None:
        return KINDS.get(path.suffix.lower())

    def extract(
        self,
        path: Path,
        modality: Modality | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        *,
        on_note: OnNote = ignore_note,
    ) -> Iterator[Media]:
        with self._lock:
            self.asked.append(path)
        if start_s > 0 or end_s is not None:
            if modality in (None, "face") and self.kind(path) != "audio":
                yield Media(path, "face", start_s)
            if modality in (None, "voice"):
                yield Media(path, "voice", start_s, end_s)
            return
        found = 0
        for at, line in enumerate(path.read_text().splitlines()):
            kind, _, words = line.partition(":")
            if kind in ("refuse", "later"):
                raise RefusedFile(path, words.strip(), permanent=kind == "refuse")
            if kind == "note":
                on_note(words.strip())
            if kind == "face" and modality in (None, "face"):
                yield Media(path, "face", float(at), None, None, _content(line))
                found += 1
            if kind == "voice" and modality in (None, "voice"):
                yield Media(path, "voice", float(at), at + 1.0, None, _content(line))
                found += 1
        if not found:
            raise RefusedFile(path, "nobody is in it.")


class FakeEmbedder:
    """Hashes the content of media into vectors; remembers how many at a time."""

    def __init__(self, space: Space = SPACE) -> None:
        self._space = space
        self.batches: list[int] = []

    @property
    def space(self) -> Space:
        return self._space

    def embed(self, media: Sequence[Media]) -> Embedded:
        self.batches.append(len(media))
        vectors = np.empty((len(media), self._space.dim), np.float32)
        refusals: dict[int, str] = {}
        for at, one in enumerate(media):
            text = _text(one)
            vectors[at] = fake_vector(text, self._space.dim)
            if "nan" in text.split():
                vectors[at] = np.nan
            if "mute" in text.split():
                vectors[at], refusals[at] = np.nan, "it is mute."
        return Embedded(vectors, refusals)


def _content(line: str) -> np.ndarray:
    return np.frombuffer(line.encode(), np.uint8)


def _text(media: Media) -> str:
    if media.data is not None:
        return media.data.tobytes().decode()
    span = f"{media.modality}:{media.start_s}:{media.end_s}"
    return f"{span}:{media.path.read_text()}"


class FakeMatcher:
    """Takes items of equal vectors for one person; the first in a file is the largest."""

    settings = "equal vectors"

    def separate(self, path: Path, items: Sequence[NewItem]) -> list[list[NewItem]]:
        people: dict[bytes, list[NewItem]] = {}
        for item in items:
            people.setdefault(item.vector.tobytes(), []).append(item)
        return list(people.values())

    def ratios(
        self, some: Sequence[Sequence[NewItem]], others: Sequence[Sequence[NewItem]]
    ) -> np.ndarray:
        shown = [
            [{item.vector.tobytes() for item in one} for one in each] for each in (some, others)
        ]
        return np.array([[1.0 if one & other else -1.0 for other in shown[1]] for one in shown[0]])
