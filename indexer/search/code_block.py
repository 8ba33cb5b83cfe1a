"""What a scan runs over: codes in place or copied out, and which of them count."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from indexer.runtime import threads
from indexer.search.int8 import Codes
from indexer.search.segment import Part, starts_of
from indexer.search.vector_index import Mask, Rows
from indexer.types import Vectors


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """n codes that are scanned together.

    ``halves`` is half the squared lengths, under l2. ``rows`` is the number of each row in the
    whole index, or of the first where they follow each other. ``wanted`` says which count; None
    means all.
    """

    codes: Codes
    halves: Vectors | None
    rows: Rows | int
    wanted: Mask | None = None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def matching(self) -> int:
        """How many rows count."""
        return len(self) if self.wanted is None else int(np.count_nonzero(self.wanted))

    def numbers(self, local: Rows) -> Rows:
        """The numbers in the whole index of rows of this stretch."""
        if isinstance(self.rows, int):
            return np.asarray(local + self.rows)
        return np.asarray(self.rows[local])

    def pieces(self, size: int) -> Iterator[Stretch]:
        """The same, in pieces of at most ``size`` rows."""
        for start in range(0, len(self), size):
            yield self._slice(slice(start, start + size))

    def spread(self, step: int) -> tuple[Codes, Vectors | None]:
        """Codes and halves of every ``step``-th row that counts."""
        here = np.arange(len(self)) if self.wanted is None else np.flatnonzero(self.wanted)
        rows = here[::step]
        return self.codes.at(rows), None if self.halves is None else self.halves[rows]

    def _slice(self, some: slice) -> Stretch:
        return Stretch(
            self.codes.at(some),
            None if self.halves is None else self.halves[some],
            self.rows + some.start if isinstance(self.rows, int) else self.rows[some],
            None if self.wanted is None else self.wanted[some],
        )


def in_place(parts: Sequence[Part], wanted: Mask | None) -> list[Stretch]:
    """All codes where they are; ``wanted`` is of all rows."""
    return [
        Stretch(
            part.codes,
            part.halves,
            start,
            None if wanted is None else wanted[start : start + len(part)],
        )
        for start, part in starts_of(parts)
        if len(part)
    ]


def gathered(parts: Sequence[Part], rows: Rows) -> list[Stretch]:
    """The codes of these rows, ascending, copied out by all cores."""
    copies = threads.each(lambda at: _copied(at[1], at[0], rows), starts_of(parts))
    return [copy for copy in copies if len(copy)]


def _copied(part: Part, start: int, rows: Rows) -> Stretch:
    first, last = np.searchsorted(rows, (start, start + len(part)))
    here = rows[first:last]
    local = here - start
    content = np.take(part.codes.content, local, axis=0)  # quicker than an index in brackets
    halves = None if part.halves is None else part.halves[local]
    return Stretch(dataclasses.replace(part.codes, content=content), halves, here)
