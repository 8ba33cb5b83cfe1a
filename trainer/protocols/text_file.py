"""Text files of lists and tables, plain or gzip; errors name the file and the line."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, compress, count
from pathlib import Path
from typing import NoReturn

from indexer.errors import BadRequest, os_reason, printable
from indexer.tables.text import unicode_text

SEPARATORS = ("\t", ",", ";")
_TRAILING = "".join((*SEPARATORS, " "))
_END = "\0"  # between the cells of two lines that are split together


@dataclasses.dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a file without blank ones, and their numbers in the file."""

    path: Path
    texts: Sequence[str]
    numbers: Sequence[int]  # from 1

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return zip(range(len(self.texts)), self.texts, strict=True)

    def after(self, count: int) -> Lines:
        """Return all but the first lines."""
        return Lines(self.path, self.texts[count:], self.numbers[count:])

    def trimmed(self) -> Lines:
        """Return the lines without separators at their ends, which spreadsheets write.

        Spreadsheets write them in all lines, so only the first and the last are checked.
        """
        if not any(text[-1] in _TRAILING for text in (*self.texts[:1], *self.texts[-1:])):
            return self
        texts = [text.rstrip(_TRAILING) for text in self.texts]
        return Lines(self.path, [*compress(texts, texts)], [*compress(self.numbers, texts)])

    def cells(self, columns: int, separator: str | None = None) -> list[str]:
        """Return all cells, line after line, between separators or blanks.

        Cells between separators lose blanks and quotes.

        Raises:
            BadRequest: A line has another number of cells.
        """
        cells = self._cells(columns, separator)
        return cells if separator is None else list(map(bare, cells))

    def _cells(self, columns: int, separator: str | None) -> list[str]:
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
        """Raise BadRequest for the line at this position."""
        raise BadRequest(f"{printable(self.path)}, line {self.numbers[at]}: {reason}")


def bare(cell: str) -> str:
    """Return a cell without the blanks and quotes around it."""
    return cell.strip().strip('"')


def cells_of(line: str, separator: str | None) -> list[str]:
    """Return the cells of one line between separators or blanks, as :meth:`Lines.cells`."""
    return line.split() if separator is None else list(map(bare, line.split(separator)))


def separator_of(line: str, is_cell: Callable[[str], bool]) -> str | None:
    """Return the separator of a line: a tab, comma or semicolon; None for blanks.

    A mark counts only where everything between such marks is a cell.
    """
    for mark in SEPARATORS:
        cells = cells_of(line, mark)
        if len(cells) > 1 and all(map(is_cell, cells)):
            return mark
    return None


def read_lines(path: Path) -> Lines:
    """Return the lines of a file in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        BadRequest: The file is missing, no text, or its compression is damaged.
    """
    try:
        texts = _text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error
        raise BadRequest(
            f"{printable(path)} cannot be read ({_reason(error)}); download it again."
        ) from error
    filled = list(map(str.strip, texts))  # empty for a blank line
    return Lines(path, [*compress(texts, filled)], [*compress(count(1), filled)])


def _text(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith(b"\x1f\x8b"):
        raw = gzip.decompress(raw)
    return unicode_text(raw)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is no {error.encoding.upper()}"
    return "its compression is damaged or cut short"
