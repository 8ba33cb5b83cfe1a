"""Code blocks: the codes of a scan, in place or copied out, and the rows that count."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from indexer.runtime import threads
from indexer.search.int8 import Codes
from indexer.search.segment import Segment, starts_of
from indexer.search.vector_index import Mask, Rows
from indexer.types import Vectors


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CodeBlock:
    """n codes that are scanned together.

    Attributes:
        codes: the codes.
        half_sq_norms: (n,) half the squared norms under l2, None under cosine.
        rows: (n,) row numbers in the whole index, or the first one if they are consecutive.
        wanted: (n,) True for rows that count; None means all.
    """

    codes: Codes
    half_sq_norms: Vectors | None
    rows: Rows | int
    wanted: Mask | None = None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def matching(self) -> int:
        """Number of rows that count."""
        return len(self) if self.wanted is None else int(np.count_nonzero(self.wanted))

    def index_rows(self, local: Rows) -> Rows:
        """Return the row numbers in the whole index of rows of this block."""
        if isinstance(self.rows, int):
            return np.asarray(local + self.rows)
        return np.asarray(self.rows[local])

    def pieces(self, size: int) -> Iterator[CodeBlock]:
        """Split the block into pieces of at most ``size`` rows."""
        for start in range(0, len(self), size):
            some = slice(start, start + size)
            yield CodeBlock(
                self.codes.at(some),
                None if self.half_sq_norms is None else self.half_sq_norms[some],
                self.rows + start if isinstance(self.rows, int) else self.rows[some],
                None if self.wanted is None else self.wanted[some],
            )

    def sample(self, step: int) -> tuple[Codes, Vectors | None]:
        """Return codes and half squared norms of every ``step``-th row that counts."""
        here = np.arange(len(self)) if self.wanted is None else np.flatnonzero(self.wanted)
        rows = here[::step]
        return self.codes.at(rows), None if self.half_sq_norms is None else self.half_sq_norms[rows]


def in_place(segments: Sequence[Segment], wanted: Mask | None) -> list[CodeBlock]:
    """Return the codes of all segments without copies; ``wanted`` is a mask of all rows."""
    return [
        CodeBlock(
            segment.codes,
            segment.half_sq_norms,
            start,
            None if wanted is None else wanted[start : start + len(segment)],
        )
        for start, segment in starts_of(segments)
        if len(segment)
    ]


def gathered(segments: Sequence[Segment], rows: Rows) -> list[CodeBlock]:
    """Copy out the codes of these rows, ascending, on all cores."""

    def copied(each: tuple[int, Segment]) -> CodeBlock:
        start, segment = each
        first, last = np.searchsorted(rows, (start, start + len(segment)))
        here = rows[first:last]
        local = here - start
        content = np.take(segment.codes.content, local, axis=0)  # faster than content[local]
        norms = None if segment.half_sq_norms is None else segment.half_sq_norms[local]
        return CodeBlock(dataclasses.replace(segment.codes, content=content), norms, here)

    return [copy for copy in threads.each(copied, starts_of(segments)) if len(copy)]
