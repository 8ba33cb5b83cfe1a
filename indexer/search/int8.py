"""Vectors rounded to one byte a component, and how far that can lead astray.

A scan reads a quarter of the bytes that float32 has, and sums of products of whole numbers are
exact. What the rounding loses is measured when the codes are made, so that a scan knows how
far from the truth it can be, and no nearest neighbour is ever lost.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from indexer.search.vector_index import Rows, lengths_of
from indexer.types import Vectors

MIDDLE = 128  # the code of zero
LARGEST = 127  # codes are at most this far from the middle
BLOCK = 16384  # rows at a time: they stay in the processor's own memory
CAUTION = 1 + 1e-6  # bounds are computed in floating point too

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """(n, dim) uint8 ``content``: a component is about ``scale`` times (its code - 128).

    No vector is further than ``error`` from what its codes say, and none longer than
    ``longest``.
    """

    content: Bytes
    scale: float
    error: float
    longest: float

    @classmethod
    def of(cls, vectors: Vectors) -> Codes:
        """The codes of (n, dim) finite vectors."""
        scale = _scale(vectors)
        content = np.empty(vectors.shape, np.uint8)
        error = longest = 0.0
        for start in range(0, len(vectors), BLOCK):
            block = vectors[start : start + BLOCK]
            whole = _whole(block, scale)
            np.add(whole, MIDDLE, out=content[start : start + BLOCK], casting="unsafe")
            longest = max(longest, float(lengths_of(block).max()))
            whole *= np.float32(scale)
            error = max(error, float(lengths_of(np.subtract(block, whole, out=whole)).max()))
        rounded_off = 2 * float(np.finfo(np.float32).eps) * longest
        return cls(content, scale, error * CAUTION + rounded_off, longest * CAUTION)

    def __len__(self) -> int:
        return len(self.content)

    def at(self, rows: Rows | slice) -> Codes:
        """The codes of these rows, with the same bounds."""
        return dataclasses.replace(self, content=self.content[rows])


class RoundedQueries:
    """(q, dim) queries in whole numbers: a query is about its ``scales`` times its ``whole``.

    ``whole`` is int8, ``errors`` (q,) how far each query is from what that says, ``lengths``
    (q,) their own.
    """

    def __init__(self, queries: Vectors) -> None:
        self.scales: Floats = np.array([_scale(query[None]) for query in queries])
        whole = [_whole(q, scale) for q, scale in zip(queries, self.scales, strict=True)]
        self.whole: NDArray[np.int8] = np.array(whole, np.int8).reshape(queries.shape)
        self.errors: Floats = CAUTION * lengths_of(queries - self.whole * self.scales[:, None])
        self.lengths: Floats = CAUTION * lengths_of(queries)

    def unsure(self, codes: Codes) -> Floats:
        """(q,) how far an inner product of the rounded may be from the true one.

        By the inequality of Cauchy and Schwarz, and with what float32 rounds off in sums, in
        half squares and in the exact scores, which are float32 in the end.
        """
        rounding = self.lengths * codes.error + self.errors * (codes.longest + codes.error)
        return rounding + float_error(self.whole.shape[1], self.lengths + codes.longest)


def float_error(terms: int, reach: Floats) -> Floats:
    """How far a float32 sum of ``terms`` products may be from the truth: once a term."""
    eps = float(np.finfo(np.float32).eps)
    return np.asarray(eps * (2 * terms + 32) * reach**2)


def _scale(vectors: Vectors) -> float:
    """What one step of a code is worth; float32, so that what is computed with it is as stored."""
    largest = max(float(vectors.max(initial=0)), -float(vectors.min(initial=0)))
    return float(np.float32(max(largest / LARGEST, 1e-30)))


def _whole(vectors: Vectors, scale: float) -> Vectors:
    whole = vectors / np.float32(scale)
    np.rint(whole, out=whole)
    return np.clip(whole, -LARGEST, LARGEST, out=whole)
