"""Tables a user writes: rows of named cells that know where they stand."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from indexer.columns import import_pyarrow, in_words
from indexer.errors import BadRequest, os_reason, printable


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row: its cells by column, stripped, and the file and line for messages."""

    cells: Mapping[str, str]
    path: Path
    line: int

    def wrong(self, what: str) -> BadRequest:
        """An error that names the file and the line."""
        return BadRequest(f"{printable(self.path)}, line {self.line}: {what}")

    def needed(self, column: str) -> str:
        """A cell that must not be empty."""
        text = self.cells[column]
        if not text:
            raise self.wrong(f"the {column} is missing; fill it in or take the row out.")
        return text

    def seconds(self, column: str) -> float | None:
        """A time of 0 or more in seconds; None for an empty cell."""
        text = self.cells.get(column, "")
        if not text:
            return None
        try:
            value = float(text)
        except ValueError as error:
            raise self.wrong(f"{column} is {text!r}, which is no number of seconds.") from error
        if not math.isfinite(value) or value < 0:
            raise self.wrong(f"{column} is {text!r}; it must be 0 seconds or more.")
        return value


def read_rows(path: Path, needed: Collection[str]) -> Iterator[Row]:
    """The rows of a CSV file, or of a Parquet file by its suffix; empty lines are passed over.

    CSV is UTF-8 with or without a byte order mark. Raises BadRequest, naming the file and the
    line, for a file that cannot be read, a column of ``needed`` that is missing, and a row with
    more or fewer cells than the header.
    """
    lines = _parquet_lines(path) if path.suffix.lower() == ".parquet" else _csv_lines(path)
    _, header = next(lines, (1, []))
    columns = _columns([cell.strip() for cell in header], needed, path)
    for line, cells in lines:
        if any(cell.strip() for cell in cells):
            yield _row(columns, cells, path, line)


def _row(columns: list[str], cells: Sequence[str], path: Path, line: int) -> Row:
    row = Row(dict(zip(columns, (cell.strip() for cell in cells), strict=False)), path, line)
    if len(cells) != len(columns):
        raise row.wrong(f"there are {len(cells)} cells where the header has {len(columns)}.")
    return row


def _columns(header: list[str], needed: Collection[str], path: Path) -> list[str]:
    for column in needed:
        if column not in header:
            raise BadRequest(
                f"{printable(path)} has no column {column!r}; its first line must name "
                "the columns, separated by commas."
            )
    for column in header:
        if not column or header.count(column) > 1:
            fault = f"names {column!r} twice" if column else "has a column without a name"
            raise BadRequest(f"{printable(path)}, line 1: the header {fault}.")
    return header


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    start = 1
    try:
        for cells in reader:
            yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise BadRequest(f"{printable(path)}, line {reader.line_num}: {error}.") from error


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"{printable(path)} is not UTF-8 (byte {error.start}); save it as CSV in UTF-8."
        ) from error


def _parquet_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The header as line 1, then the rows, so that row 1 of the table is line 2 as in CSV."""
    table = _parquet(path)
    yield 1, list(table.column_names)
    for line, row in enumerate(table.to_pylist(), start=2):
        yield line, ["" if cell is None else str(cell) for cell in row.values()]


def _parquet(path: Path) -> Any:
    arrow = import_pyarrow(path)
    with in_words(path):
        return arrow.parquet.read_table(path)
