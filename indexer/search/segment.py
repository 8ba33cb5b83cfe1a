"""Some items of an index, with everything a search needs of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.search.int8 import Codes
from indexer.search.vector_index import Mask, lengths_of, prepared
from indexer.types import Ids, Metric, Vectors

People = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Part:
    """n items, in arrays that never change, by item id ascending.

    ``people`` are row numbers of the person table. ``vectors`` are prepared. ``halves`` is half
    the squared length of each vector under l2, and None under cosine. ``gone`` marks the items
    deleted since, or is None. ``name`` is that of its file in the cache, None where it has none.
    """

    ids: Ids
    people: People
    faces: Mask
    vectors: Vectors
    codes: Codes
    halves: Vectors | None
    gone: Mask | None = None
    name: str | None = None

    @classmethod
    def of(cls, ids: Ids, people: People, faces: Mask, vectors: Vectors, metric: Metric) -> Part:
        """A part of (n, dim) vectors as the model made them."""
        kept = prepared(vectors, metric)
        halves = None if metric == "cosine" else (lengths_of(kept) ** 2 / 2).astype(np.float32)
        return cls(ids, people, faces, kept, Codes.of(kept), halves)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def alive(self) -> int:
        """How many of its items are not deleted."""
        return len(self) - (0 if self.gone is None else int(np.count_nonzero(self.gone)))

    def without(self, gone: Mask) -> Part:
        """The same with these items marked as deleted, besides those that are."""
        if not gone.any():
            return self
        return dataclasses.replace(self, gone=gone if self.gone is None else gone | self.gone)

    def kept(self) -> Mask | slice:
        """What selects the items that are not deleted."""
        return slice(None) if self.gone is None else ~self.gone


def joined(parts: Sequence[Part], metric: Metric) -> Part:
    """One part of what is not deleted in these, in memory."""
    kept = [part.kept() for part in parts]
    ids, people, faces, vectors = (
        np.concatenate([getattr(part, what)[keep] for part, keep in zip(parts, kept, strict=True)])
        for what in ("ids", "people", "faces", "vectors")
    )
    order = np.argsort(ids, kind="stable")
    halves = None if metric == "cosine" else (lengths_of(vectors) ** 2 / 2).astype(np.float32)
    vectors = vectors[order]
    return Part(
        ids[order],
        people[order],
        faces[order],
        vectors,
        Codes.of(vectors),
        None if halves is None else halves[order],
    )


def starts_of(parts: Sequence[Part]) -> Iterator[tuple[int, Part]]:
    """The parts, each with the row number its first item has in all of them together."""
    start = 0
    for part in parts:
        yield start, part
        start += len(part)


def vectors_at(parts: Sequence[Part], rows: NDArray[np.intp], dim: int) -> Vectors:
    """(n, dim) vectors of rows of all parts, in any order."""
    out = np.empty((len(rows), dim), np.float32)
    for start, part in starts_of(parts):
        here = (rows >= start) & (rows < start + len(part))
        out[here] = part.vectors[rows[here] - start]
    return out


def end_to_end(arrays: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    """Arrays one after the other; one alone is not copied."""
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)


def alive_in(part: Part) -> Mask:
    """(n,) whether each item is not deleted."""
    return np.ones(len(part), bool) if part.gone is None else ~part.gone
