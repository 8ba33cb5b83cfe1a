"""Segments: items of an index with everything that a search needs of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.search.int8 import Codes
from indexer.search.vector_index import Mask, norms, prepared
from indexer.types import Ids, Metric, Vectors

People = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """n items by ascending id, in arrays that never change.

    Attributes:
        ids: (n,) item ids.
        people: (n,) row numbers of the table person.
        faces: (n,) True for faces, False for voices.
        vectors: (n, dim) prepared vectors.
        codes: their int8 codes.
        half_sq_norms: (n,) half the squared norms under l2, None under cosine.
        deleted: (n,) True for deleted items (tombstones); None if there are none.
        name: name of its file in the cache, None if it has none.
    """

    ids: Ids
    people: People
    faces: Mask
    vectors: Vectors
    codes: Codes
    half_sq_norms: Vectors | None
    deleted: Mask | None = None
    name: str | None = None

    @classmethod
    def of(cls, ids: Ids, people: People, faces: Mask, vectors: Vectors, metric: Metric) -> Segment:
        """Make a segment of (n, dim) vectors as the model made them."""
        return _segment(ids, people, faces, prepared(vectors, metric), metric)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def live_count(self) -> int:
        """Number of items that are not deleted."""
        return len(self) - (0 if self.deleted is None else int(np.count_nonzero(self.deleted)))

    @property
    def live_mask(self) -> Mask:
        """(n,) True for items that are not deleted."""
        return np.ones(len(self), bool) if self.deleted is None else ~self.deleted

    def without(self, deleted: Mask) -> Segment:
        """Return the segment with these items marked as deleted too."""
        if not deleted.any():
            return self
        both = deleted if self.deleted is None else deleted | self.deleted
        return dataclasses.replace(self, deleted=both)


def joined(segments: Sequence[Segment], metric: Metric) -> Segment:
    """Join the live items of segments to one segment in memory."""
    live = [slice(None) if each.deleted is None else ~each.deleted for each in segments]
    ids, people, faces, vectors = (
        np.concatenate(
            [getattr(each, name)[rows] for each, rows in zip(segments, live, strict=True)]
        )
        for name in ("ids", "people", "faces", "vectors")
    )
    order = np.argsort(ids, kind="stable")
    return _segment(ids[order], people[order], faces[order], vectors[order], metric)


def _segment(ids: Ids, people: People, faces: Mask, vectors: Vectors, metric: Metric) -> Segment:
    half_sq_norms = (norms(vectors) ** 2 / 2).astype(np.float32) if metric == "l2" else None
    return Segment(ids, people, faces, vectors, Codes.of(vectors), half_sq_norms)


def starts_of(segments: Sequence[Segment]) -> Iterator[tuple[int, Segment]]:
    """Yield the segments with the row number of their first item in the whole index."""
    start = 0
    for segment in segments:
        yield start, segment
        start += len(segment)


def vectors_at(segments: Sequence[Segment], rows: NDArray[np.intp], dim: int) -> Vectors:
    """Return (n, dim) vectors of rows of the whole index, in any order."""
    out = np.empty((len(rows), dim), np.float32)
    for start, segment in starts_of(segments):
        here = (rows >= start) & (rows < start + len(segment))
        out[here] = segment.vectors[rows[here] - start]
    return out


def end_to_end(arrays: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    """Concatenate arrays, of which there may be none; a single one is not copied."""
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)
