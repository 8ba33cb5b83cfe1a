"""What counts in a search, and what is copied out of the parts of an index for that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from indexer.search.brute_force import FewVectors
from indexer.search.code_block import Stretch, gathered, in_place
from indexer.search.segment import Part, vectors_at
from indexer.search.vector_index import Mask, Rows
from indexer.types import Metric

KEPT_BYTES = 1 << 26  # codes copied out are kept for the next search up to this


class Selection:
    """Rows of all parts that count, ``mask``; None means all of them.

    What a search derives from the mask is kept for the next with the same filter: the parts
    never change.
    """

    def __init__(self, parts: Sequence[Part], dim: int, metric: Metric, mask: Mask | None) -> None:
        self.mask = mask
        self._parts, self._dim, self._metric = parts, dim, metric
        self._total = sum(map(len, parts))
        self._gathered: list[Stretch] | None = None

    @cached_property
    def matching(self) -> int:
        """How many rows count."""
        return self._total if self.mask is None else int(np.count_nonzero(self.mask))

    @cached_property
    def rows(self) -> Rows:
        """The numbers of the rows that count, ascending."""
        return np.arange(self._total) if self.mask is None else np.flatnonzero(self.mask)

    @cached_property
    def few(self) -> FewVectors:
        """The vectors of the rows that count, copied out: to be asked for where they are few."""
        return FewVectors(vectors_at(self._parts, self.rows, self._dim), self._metric)

    def gathered(self) -> Sequence[Stretch]:
        """The codes of the rows that count, copied out."""
        if self._gathered is not None:
            return self._gathered
        copies = gathered(self._parts, self.rows)
        if sum(copy.codes.content.nbytes for copy in copies) <= KEPT_BYTES:
            self._gathered = copies
        return copies

    @cached_property
    def in_place(self) -> Sequence[Stretch]:
        """All codes where they are, with the rows that count."""
        return in_place(self._parts, self.mask)
