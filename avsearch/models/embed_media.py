"""Media through a network of any runtime: read on all cores, as many rows a pass as fill one.

Knows arrays and no torch: a pass is torch's (:mod:`avsearch.models.torch_runtime`) or ONNX's
(:mod:`avsearch.models.onnx_embedder`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from avsearch.media.load import load_media
from avsearch.models.inputs import face_pixels, voice_windows
from avsearch.runtime.threads import on_all_cores
from indexer.errors import RefusedFile
from indexer.types import MODALITIES, Embedded, Media, Modality, Vectors

Function = Literal["embed", "feature_map"]  # of a network, for each modality

# Rows of one forward pass at most: on a core few, whose maps stay near it; enough to fill a GPU.
_CORE_ROWS, _DEVICE_ROWS = 8, 32


class Passes(Protocol):
    """A network that a runtime has ready."""

    @property
    def face_size(self) -> int:
        """Pixels a side of the faces that it takes."""

    @property
    def voice_seconds(self) -> float:
        """Length of the voices that it takes."""

    @property
    def on_cores(self) -> bool:
        """Whether several passes at once, a core each, take less time than one after the other."""

    def run(
        self, function: Function, modality: Modality, rows: NDArray[Any]
    ) -> NDArray[np.float32]:
        """One forward pass: faces (B, 3, size, size) uint8 or voices (B, samples) to (B, ...)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """What a network made of media: r rows, of which one or more belong to an item.

    ``refusals`` maps the positions of media that cannot be read to a reason.
    """

    values: NDArray[np.float32]  # (r, ...), empty where nothing could be read
    places: NDArray[np.int64]  # (r,) the position of each row's item; rows of one lie together
    refusals: Mapping[int, str]


@dataclasses.dataclass(frozen=True, slots=True)
class _Chunk:
    """The input of one forward pass: (B,) which item each row is of, and the B rows."""

    modality: Modality
    places: NDArray[np.int64]
    rows: Sequence[NDArray[Any]]


class Forward:
    """Takes media through a network's passes."""

    def __init__(self, passes: Passes) -> None:
        self.passes = passes

    def embed(self, media: Sequence[Media], dim: int) -> Embedded:
        """Vectors (n, dim) of media; what cannot be read is refused by position.

        A voice longer than the network's window is the unit mean of windows that cover it.
        """
        vectors = np.full((len(media), dim), np.nan, np.float32)
        rows = self.run("embed", media)
        if len(rows.places):
            _mean_rows(vectors, rows)
        return Embedded(vectors, rows.refusals)

    def run(self, function: Function, media: Sequence[Media]) -> Rows:
        """``embed_face`` and ``embed_voice``, or the maps, of media: a row a face or a window."""
        read = on_all_cores(self._read, media)
        refusals = {at: rows for at, rows in enumerate(read) if isinstance(rows, str)}
        taken = [(at, rows) for at, rows in enumerate(read) if not isinstance(rows, str)]
        most = _CORE_ROWS if self.passes.on_cores else _DEVICE_ROWS
        chunks = [
            chunk
            for modality in MODALITIES
            for chunk in _chunks(
                modality, [each for each in taken if media[each[0]].modality == modality], most
            )
        ]
        if not chunks:
            return Rows(np.empty((0, 0), np.float32), np.empty(0, np.int64), refusals)
        values = np.concatenate(self._all(function, chunks))
        return Rows(values, np.concatenate([chunk.places for chunk in chunks]), refusals)

    def _read(self, item: Media) -> Sequence[NDArray[Any]] | str:
        """The network's inputs for one item, or why there are none.

        They are one face, or one or more windows of a voice.
        """
        try:
            data = load_media(item)
        except RefusedFile as error:
            return error.reason
        if item.modality == "face":
            return [face_pixels(data, self.passes.face_size)]
        return list(voice_windows(data, self.passes.voice_seconds))

    def _all(self, function: Function, chunks: Sequence[_Chunk]) -> list[NDArray[np.float32]]:
        def one(chunk: _Chunk) -> NDArray[np.float32]:
            return self.passes.run(function, chunk.modality, np.stack(chunk.rows))

        if self.passes.on_cores and len(chunks) > 1:
            return on_all_cores(one, chunks)
        return [one(chunk) for chunk in chunks]


def _chunks(
    modality: Modality, taken: Sequence[tuple[int, Sequence[NDArray[Any]]]], most: int
) -> Iterator[_Chunk]:
    """The rows of items of one modality, at most so many at a time."""
    found = [(place, row) for place, rows in taken for row in rows]
    for start in range(0, len(found), most):
        places, rows = zip(*found[start : start + most], strict=True)
        yield _Chunk(modality, np.array(places), rows)


def _mean_rows(vectors: Vectors, rows: Rows) -> None:
    """Write the unit mean of each item's rows at its place."""
    firsts = np.flatnonzero(np.diff(rows.places, prepend=-1))
    vectors[rows.places[firsts]] = unit_means(rows.values, firsts)


def unit_means(rows: NDArray[np.float32], firsts: NDArray[np.int64]) -> Vectors:
    """The unit means (n, dim) of rows (r, dim), of which those of an item lie together.

    ``firsts`` (n,) are where each item's rows begin.
    """
    sums = np.add.reduceat(rows, firsts)
    means: Vectors = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return means
