"""Measured values with their range, and Markdown tables."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

Row = Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the largest value."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of one or more values."""
        return cls(statistics.median(values), min(values), max(values))

    def __format__(self, spec: str) -> str:
        """Return ``median [least, most]``, each in the given format."""
        return f"{self.median:{spec}} [{self.least:{spec}}, {self.most:{spec}}]"


def table(head: Row, rows: Sequence[Row]) -> str:
    """Return a Markdown table with padded columns; an empty text without rows."""
    if not rows:
        return ""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
