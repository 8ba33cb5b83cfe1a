"""``people.csv`` and the manifest: what a user says of people and files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from indexer.records import Person, Source
from indexer.tables import Row, read_rows
from indexer.types import MODALITIES, Modality

PEOPLE = "people.csv"
SOURCE_COLUMNS = ("path", "modality", "start_s", "end_s")


def read_people(path: Path) -> dict[str, Person]:
    """The people of a ``people.csv``, by key: ``person,name,gender,nationality`` and further.

    Raises BadRequest for a table that cannot be read and for a person who is in it twice.
    """
    people: dict[str, Person] = {}
    for row in read_rows(path, needed=("person",)):
        key = row.needed("person")
        if key in people:
            raise row.wrong(f"the person {key!r} is in the table twice; leave one row.")
        people[key] = Person.from_cells(row.cells)
    return people


def read_manifest(path: Path, gallery: Path) -> tuple[list[Source], dict[str, Person]]:
    """The sources a manifest names, and what its further columns say of their people.

    Relative paths are relative to the gallery. A file may stand in any number of rows. Raises
    BadRequest, naming file and line, for a cell that is wrong or missing, a row that is there
    twice, and two rows that say different things of one person.
    """
    sources: dict[Source, None] = {}  # in order, each once
    said: dict[str, dict[str, str]] = {}
    for row in read_rows(path, needed=("path", "person")):
        source = _source(row, gallery)
        if source in sources:
            raise row.wrong("the same row is there already; leave one of them.")
        sources[source] = None
        _add(said.setdefault(source.person, {}), row)
    people = {key: Person.from_cells({**cells, "person": key}) for key, cells in said.items()}
    return list(sources), people


def merged(first: Mapping[str, Person], second: Mapping[str, Person]) -> dict[str, Person]:
    """What two tables say of people; where both speak, the second has the last word."""
    return {key: _both(first.get(key), second.get(key)) for key in _keys(first, second)}


def _both(first: Person | None, second: Person | None) -> Person:
    cells = [who.cells() for who in (first, second) if who is not None]
    return Person.from_cells({column: text for one in cells for column, text in one.items()})


def _keys(*tables: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(key for table in tables for key in table))


def _source(row: Row, gallery: Path) -> Source:
    start_s, end_s = row.seconds("start_s") or 0.0, row.seconds("end_s")
    if end_s is not None and end_s <= start_s:
        raise row.wrong(f"end_s is {end_s:g}, which is not after start_s, {start_s:g}.")
    return Source(
        path=Path(os.path.normpath(gallery / row.needed("path"))),
        person=row.needed("person"),
        modality=_modality(row),
        start_s=start_s,
        end_s=end_s,
        gallery=gallery,
    )


def _modality(row: Row) -> Modality | None:
    text = row.cells.get("modality", "").lower()
    for modality in MODALITIES:
        if text == modality:
            return modality
    if text:
        raise row.wrong(f"the modality is {text!r}; write face, voice, or nothing for both.")
    return None


def _add(said: dict[str, str], row: Row) -> None:
    for column, text in row.cells.items():
        if column in (*SOURCE_COLUMNS, "person") or not text:
            continue
        if said.setdefault(column, text) != text:
            above = said[column]
            raise row.wrong(f"the {column} is {text!r}; a row above says {above!r} of this person.")
