"""Row filters: the rows that count in a search, and what is copied out for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from indexer.search.brute_force import BruteForce
from indexer.search.code_block import CodeBlock, gathered, in_place
from indexer.search.segment import Segment, vectors_at
from indexer.search.vector_index import Mask, Rows
from indexer.types import Metric

KEPT_BYTES = 1 << 26  # gathered codes up to this size are kept for the next search


class RowFilter:
    """Rows of all segments that count: ``mask``, or None for all of them.

    Segments never change, so everything derived from the mask is kept for the next search with
    the same filter.
    """

    def __init__(
        self, segments: Sequence[Segment], dim: int, metric: Metric, mask: Mask | None
    ) -> None:
        self.mask = mask
        self._segments, self._dim, self._metric = segments, dim, metric
        self._total = sum(map(len, segments))
        self._gathered: list[CodeBlock] | None = None

    @cached_property
    def matching(self) -> int:
        """Number of rows that count."""
        return self._total if self.mask is None else int(np.count_nonzero(self.mask))

    @cached_property
    def rows(self) -> Rows:
        """Numbers of the rows that count, ascending."""
        return np.arange(self._total) if self.mask is None else np.flatnonzero(self.mask)

    @cached_property
    def brute_force(self) -> BruteForce:
        """The vectors of the rows that count, copied out; for few rows only."""
        return BruteForce(vectors_at(self._segments, self.rows, self._dim), self._metric)

    def gathered(self) -> Sequence[CodeBlock]:
        """Return the codes of the rows that count, copied out."""
        if self._gathered is not None:
            return self._gathered
        copies = gathered(self._segments, self.rows)
        if sum(copy.codes.content.nbytes for copy in copies) <= KEPT_BYTES:
            self._gathered = copies
        return copies

    @cached_property
    def in_place(self) -> Sequence[CodeBlock]:
        """The codes of all rows without copies, with the mask of those that count."""
        return in_place(self._segments, self.mask)
