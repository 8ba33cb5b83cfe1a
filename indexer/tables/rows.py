"""Rows of CSV and Parquet tables as spreadsheets and scripts save them.

CSV may be separated by commas, semicolons, tabs or bars, in any common encoding, with any line
ends; Parquet is recognized by its suffix. Harmless faults are accepted, with a note on what was
guessed or left out. All other faults are reported at once, with their lines.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import dataclasses
import io
import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from indexer.errors import BadRequest, os_reason, printable
from indexer.tables.parquet import (
    import_pyarrow,
    index_columns,
    is_text_like,
    parquet_errors,
    text_of,
)
from indexer.tables.text import any_text
from indexer.unicode_names import cleaned

_DELIMITERS = ",;\t|"
_SEP = re.compile(r'"?sep=([,;\t|])"?[,;\t|]*\r?\n?', re.IGNORECASE)  # Excel's own first line
_KEPT_TEXT = re.compile(r'="(.*)"', re.DOTALL)  # a text that Excel must not change
_DECIMAL_COMMA = re.compile(r"\d+,\d+")
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")
# Errors of spreadsheets in place of a value.
_ERRORS = ("#N/A", "#VALUE!", "#REF!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!")
_NAMELESS = re.compile(r"(Unnamed: \d+(_level_\d+)?)?")  # names by pandas
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx, .ods and .numbers; .xls
_TITLES = 5  # lines that are not empty above the header, at most
_SHOWN = 20  # faults in a message; more are counted


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row: cleaned cells by column, with table and line for messages."""

    cells: Mapping[str, str]
    table: Table
    line: int

    def wrong(self, what: str) -> None:
        """Note a fault of this row; :meth:`Table.check` reports it."""
        self.table.wrong(self.line, what)

    def needed(self, column: str) -> str:
        """Return a cell that must not be empty; an empty one is noted as a fault."""
        text = self.cells[column]
        if not text:
            self.wrong(f"the {column} is missing; fill it in or take the row out.")
        return text

    def seconds(self, column: str) -> float | None:
        """Return a time of 0 or more in seconds; None for an empty cell and for a wrong one."""
        text = self.cells.get(column, "")
        if not text:
            return None
        try:
            value = float(self.table.plain_number(text))
        except ValueError:
            self.wrong(f"{column} is {text!r}, which is no number of seconds.")
            return None
        if not math.isfinite(value) or value < 0:
            self.wrong(f"{column} is {text!r}; it must be 0 seconds or more.")
            return None
        return value


class Table:
    """Rows of a CSV file, or of a Parquet file by its suffix, without empty ones.

    ``notes`` grow while the rows are read: sentences on what was guessed or left out.

    Args:
        path: the file.
        needed: columns that must exist, found in any case of letters.
        known: further columns, found in any case of letters.
        exact: columns whose cells stay letter by letter.

    Raises:
        BadRequest: the file cannot be read, or a column is missing.
    """

    def __init__(
        self,
        path: Path,
        needed: Collection[str],
        known: Collection[str] = (),
        exact: Collection[str] = (),
    ) -> None:
        self.path = path
        self.notes: list[str] = []
        self._needed, self._exact = needed, exact
        self._known = {name.casefold(): name for name in (*needed, *known)}
        self._faults: list[tuple[int, str]] = []
        self._delimiter = ","
        lines = self._parquet() if path.suffix.lower() == ".parquet" else self._csv()
        self._lines = (each for each in lines if _is_filled(each[1]))
        self._columns = self._head()

    def __iter__(self) -> Iterator[Row]:
        nameless = [at for at, name in enumerate(self._columns) if name is None]
        unnamed: dict[int, list[str]] = {at: [] for at in nameless}
        for line, cells in self._lines:
            row = dict(self._named(cells))
            for at in nameless:
                unnamed[at].append(cleaned(cells[at]) if at < len(cells) else "")
            if _is_filled(cells[len(self._columns) :]):
                self.wrong(
                    line,
                    f"there are {len(cells)} cells where the header has {len(self._columns)}.",
                )
            elif any(row.values()) and not self._is_head_again(row):
                yield Row(row, self, line)
        self._note_nameless(unnamed)

    def wrong(self, line: int, what: str) -> None:
        """Note a fault of a line; :meth:`check` reports it."""
        self._faults.append((line, what))

    def check(self) -> None:
        """Raise one BadRequest that names all wrong lines, if there are any."""
        if not self._faults:
            return
        faults = sorted(self._faults, key=lambda fault: fault[0])
        (line, what), *others = faults[:_SHOWN]
        sentences = [f"{printable(self.path)}, line {line}: {what}"]
        sentences += [f"Line {line}: {what}" for line, what in others]
        if len(faults) > _SHOWN:
            sentences.append(f"And {len(faults) - _SHOWN} more.")
        raise BadRequest(" ".join(sentences))

    def plain_number(self, text: str) -> str:
        """Return a number with a decimal point in place of a decimal comma."""
        ambiguous = self._delimiter == "," and _THOUSANDS.fullmatch(text)
        return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) and not ambiguous else text

    def _named(self, cells: Sequence[str]) -> Iterator[tuple[str, str]]:
        for name, cell in itertools.zip_longest(self._columns, cells[: len(self._columns)]):
            if name is not None:
                plain = (cell or "").strip() if name in self._exact else cleaned(cell or "")
                yield name, self._computed(name, plain) if plain[:1] in ("=", "#") else plain

    def _computed(self, column: str, text: str) -> str:
        """Return the value of a cell that may be a formula or an error."""
        kept = _KEPT_TEXT.fullmatch(text)
        if kept:
            return kept[1] if column in self._exact else cleaned(kept[1])
        if text not in _ERRORS:
            return text
        note = f"errors of a spreadsheet, such as #N/A, in the column {column!r} count as empty."
        if note not in self.notes:
            self.notes.append(note)
        return ""

    def _head(self) -> list[str | None]:
        """Read the header and return the names of the columns, None for those without one."""
        first = None
        for line, cells in itertools.islice(self._lines, _TITLES + 1):
            if self._is_head(cells):
                if first is not None:
                    self.notes.append(f"the header is in line {line}; what is above was left out.")
                return self._columns_of(line, cells)
            first = line
        self.check()  # an open quote may have swallowed the header
        absent = next(iter(self._needed))
        raise BadRequest(
            f"{printable(self.path)} has no column {absent!r}; its first line must name "
            "the columns, separated by commas, semicolons or tabs."
        )

    def _is_head(self, cells: Sequence[str]) -> bool:
        return set(self._needed) <= set(map(self._name, cells))

    def _is_head_again(self, row: Mapping[str, str]) -> bool:
        """Return whether a row repeats the header, as in concatenated tables."""
        return len(row) > 1 and all(self._name(cell) == name for name, cell in row.items())

    def _name(self, cell: str) -> str:
        name = cleaned(cell)
        return self._known.get(name.casefold(), name)

    def _columns_of(self, line: int, cells: Sequence[str]) -> list[str | None]:
        names = [self._name(cell) for cell in cells]
        for name in dict.fromkeys(names):
            if name and names.count(name) > 1:
                self.wrong(line, f"the header names {name!r} twice; take one of them out.")
        return [None if _NAMELESS.fullmatch(name) else name for name in names]

    def _note_nameless(self, columns: Mapping[int, list[str]]) -> None:
        """Note columns that have no name and are left out, except a mere count of rows."""
        for at, texts in columns.items():
            counts = ([str(i + first) for i in range(len(texts))] for first in (0, 1))
            if any(texts) and not (at == 0 and texts in counts):
                self.notes.append(f"column {at + 1} has no name and was left out.")

    def _csv(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of lines, with the number of the line on which they begin."""
        text, first = self._text(), 1
        sep = _SEP.match(text)
        if sep:
            self._delimiter, text, first = sep[1], text[sep.end() :], 2
        else:
            self._delimiter = max(_DELIMITERS, key=lambda mark: self._fits(text, mark))
        # Some programs never quote in tab-separated files, so that a quote is a letter there.
        quoting = self._delimiter != "\t" or _is_quoted(text, self._delimiter)
        reader = _reader(text, self._delimiter, quoting=quoting)
        start = first
        try:
            for cells in reader:
                yield start, cells
                start = first + reader.line_num
        except csv.Error as error:
            self.wrong(first + reader.line_num - 1, f"{error}.")

    def _fits(self, text: str, delimiter: str) -> tuple[int, int]:
        """Rate a delimiter by the known columns and the cells of the header."""
        with contextlib.suppress(csv.Error):
            lines = filter(_is_filled, _reader(text, delimiter))
            for cells in itertools.islice(lines, _TITLES + 1):
                if self._is_head(cells):
                    known = sum(self._name(cell) in self._known.values() for cell in cells)
                    return known, len(cells)
        return 0, 0

    def _text(self) -> str:
        try:
            raw = self.path.read_bytes()
        except OSError as error:
            raise BadRequest(
                f"{printable(self.path)} cannot be read: {os_reason(error)}."
            ) from error
        if raw.startswith(_WORKBOOKS):
            raise BadRequest(
                f"{printable(self.path)} is a workbook of a spreadsheet; save it as CSV in UTF-8."
            )
        try:
            text, old = any_text(raw)
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"{printable(self.path)} cannot be read as {error.encoding.upper()} (byte "
                f"{error.start}: {error.reason}); save it as CSV in UTF-8."
            ) from error
        if old is not None:
            self.notes.append(
                f"it is not UTF-8 and was read as {old}; save it as UTF-8 if letters are wrong."
            )
        return text.rstrip("\x1a\0")  # end-of-file marks of DOS

    def _parquet(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the header as line 1, then the rows from line 2, as in CSV."""
        arrow = import_pyarrow(self.path)
        with parquet_errors(self.path), arrow.parquet.ParquetFile(self.path) as file:
            table = file.read()
        named = {name for name in table.column_names if self._name(name) in self._known.values()}
        header: list[str] = []
        columns: list[list[str | None]] = []
        for field, column in zip(table.schema, table.columns, strict=True):
            if field.name in index_columns(table.schema) - named:
                continue
            if not is_text_like(arrow, field.type):
                self.notes.append(
                    f"the column {field.name!r} is of type {field.type} and was left out."
                )
                continue
            with parquet_errors(self.path):
                chunks = [text_of(arrow, chunk).to_pylist() for chunk in column.chunks]
            header.append(field.name)
            columns.append(list(itertools.chain.from_iterable(chunks)))
        yield 1, header
        for line, cells in enumerate(zip(*columns, strict=True), 2):
            yield line, [cell or "" for cell in cells]


def _is_filled(cells: Sequence[str]) -> bool:
    return any(map(str.strip, cells))


def _reader(text: str, delimiter: str, *, quoting: bool = True) -> Any:
    return csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
        skipinitialspace=True,
        strict=True,
    )


def _is_quoted(text: str, delimiter: str) -> bool:
    """Return whether every quote of a text belongs to a quoted cell."""
    try:
        collections.deque(_reader(text, delimiter), maxlen=0)
    except csv.Error:
        return False
    return True
