"""Who has which value in which column: what a filter is looked up in."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from indexer.errors import BadRequest
from indexer.records import PERSON_COLUMNS, Person, gender_code
from indexer.types import Ids

Values = dict[str, Ids]  # of one column: a value as it is compared, and the people who have it


class PeopleTable:
    """People by row number, to be asked for by their columns; each is sorted at its first use."""

    def __init__(self, people: Mapping[int, Person]) -> None:
        self._cells = {row: who.cells() for row, who in people.items()}
        further = {column for who in people.values() for column in who.attributes}
        self._names = [*PERSON_COLUMNS, *sorted(further)]
        self._rows = np.array(sorted(people), np.int64)
        self._columns: dict[str, Values] = {}

    def where(self, cells: Mapping[str, str]) -> Ids:
        """Row numbers of the people whose columns have all these values, whatever their case.

        Raises BadRequest for a column that nobody has.
        """
        unknown = [column for column in cells if column not in self._names]
        if unknown:
            raise BadRequest(
                f"There is no {unknown[0]!r} to filter by; this index has {', '.join(self._names)}."
            )
        rows = self._rows
        for column, text in cells.items():
            rows = np.intersect1d(rows, self._having(column, text), assume_unique=True)
        return rows

    def _having(self, column: str, text: str) -> Ids:
        if column not in self._columns:
            self._columns[column] = self._sorted(column)
        return self._columns[column].get(_comparable(column, text), np.empty(0, np.int64))

    def _sorted(self, column: str) -> Values:
        rows: dict[str, list[int]] = {}
        for row, cells in self._cells.items():
            if column in cells:
                rows.setdefault(_comparable(column, cells[column]), []).append(row)
        return {value: np.array(some, np.int64) for value, some in rows.items()}


def _comparable(column: str, text: str) -> str:
    return gender_code(text).casefold() if column == "gender" else text.strip().casefold()
