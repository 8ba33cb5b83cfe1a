"""Text files of lists and tables, plain or compressed with gzip; faults name file and line."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain, compress, count
from pathlib import Path
from typing import NoReturn

from indexer.errors import BadRequest, os_reason, printable

_END = "\0"  # between the cells of two lines that are split together


@dataclasses.dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a file without their ends, and where each stands in it; no blank ones."""

    path: Path
    texts: Sequence[str]
    numbers: Sequence[int]  # from 1

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return zip(range(len(self.texts)), self.texts, strict=True)

    def after(self, count: int) -> Lines:
        """All but the first lines."""
        return Lines(self.path, self.texts[count:], self.numbers[count:])

    def cells(self, columns: int, separator: str | None = None) -> list[str]:
        """All cells, line after line, between separators or blanks.

        Raises BadRequest for a line of another number of cells.
        """
        mark = separator or " "
        text = f"{mark}{_END}{mark}".join(self.texts)
        cells = text.split(separator)
        ends = [_END] * (len(self.texts) - 1)
        if text.count(_END) == len(ends) and cells[columns :: columns + 1] == ends:
            del cells[columns :: columns + 1]
            if len(cells) == columns * len(self.texts):
                return cells
        rows = [line.split(separator) for line in self.texts]
        if set(map(len, rows)) - {columns}:
            at = next(at for at, row in enumerate(rows) if len(row) != columns)
            self.fault(at, f"{columns} columns are expected, {len(rows[at])} are there.")
        return list(chain.from_iterable(rows))

    def fault(self, at: int, reason: str) -> NoReturn:
        """Raises BadRequest for the line at this place, which is not as the format says."""
        raise BadRequest(f"{printable(self.path)}, line {self.numbers[at]}: {reason}")


def read_lines(path: Path) -> Lines:
    """The lines of a file in UTF-8.

    Raises BadRequest for a file that is not there, is no text or whose compression is damaged.
    """
    try:
        texts = _text(path).replace("\r\n", "\n").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error
        raise BadRequest(
            f"{printable(path)} cannot be read ({_reason(error)}); take it anew from where it "
            "was published."
        ) from error
    filled = list(map(str.strip, texts))  # nothing of a blank line
    return Lines(path, [*compress(texts, filled)], [*compress(count(1), filled)])


def _text(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith(b"\x1f\x8b"):
        raw = gzip.decompress(raw)
    return raw.decode("utf-8-sig")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is no UTF-8"
    return "its compression is damaged or cut short"
