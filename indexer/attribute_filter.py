"""Filters on the columns of people."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from indexer.errors import BadRequest
from indexer.records import PERSON_COLUMNS, Person, gender_code
from indexer.types import Ids
from indexer.unicode_names import cleaned, normalised

_ZEROS = re.compile(r"(?<=\d)\.0+$")
Values = dict[str, Ids]  # the people of each comparable value of one column


class PeopleTable:
    """People by their columns; a column is indexed at its first use."""

    def __init__(self, people: Mapping[int, Person]) -> None:
        self._cells = {row: who.cells() for row, who in people.items()}
        further = {column for who in people.values() for column in who.attributes}
        self._names = [*PERSON_COLUMNS, *sorted(further)]
        self._rows = np.array(sorted(people), np.int64)
        self._columns: dict[str, Values] = {}

    def where(self, cells: Mapping[str, str]) -> Ids:
        """Return row numbers of the people whose columns have all these values.

        Case and Unicode form do not count. Raises BadRequest for an unknown column.
        """
        rows = self._rows
        for column, text in cells.items():
            matching = [self._having(name, text) for name in self._named(column)]
            rows = np.intersect1d(rows, np.concatenate(matching))
        return rows

    def _named(self, column: str) -> list[str]:
        """Return the column of a name, or those that differ from it in case alone."""
        if column in self._names:
            return [column]
        alike = [name for name in self._names if _folded(name) == _folded(column)]
        if not alike:
            raise BadRequest(
                f"There is no {column!r} to filter by; this index has {', '.join(self._names)}."
            )
        return alike

    def _having(self, column: str, text: str) -> Ids:
        if column not in self._columns:
            rows: dict[str, list[int]] = {}
            for row, cells in self._cells.items():
                if column in cells:
                    rows.setdefault(_comparable(column, cells[column]), []).append(row)
            self._columns[column] = {v: np.array(some, np.int64) for v, some in rows.items()}
        return self._columns[column].get(_comparable(column, text), np.empty(0, np.int64))


def _comparable(column: str, text: str) -> str:
    """Return a value in the form in which values are compared; ``2.0`` equals ``2``."""
    plain = gender_code(text) if column == "gender" else text
    return _folded(_ZEROS.sub("", plain.strip()))


def _folded(text: str) -> str:
    return normalised(cleaned(text).casefold())
