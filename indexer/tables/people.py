"""Readers of ``people.csv`` and of manifests."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from indexer.records import PERSON_COLUMNS, Person, Source, gender_code
from indexer.tables.rows import Row, Table
from indexer.types import MODALITIES, Modality
from indexer.unicode_names import DiskNames

PEOPLE = "people.csv"
SOURCE_COLUMNS = ("path", "modality", "start_s", "end_s")

Cells = dict[str, tuple[str, int]]  # of one person: text and line by column
Note = Callable[[str], None]


def find_people(folder: Path) -> Path | None:
    """Return the ``people.csv`` of a folder, in any case of letters; None without one."""
    exact = folder / PEOPLE
    if os.path.lexists(exact) or not os.access(folder, os.R_OK):
        return exact if os.path.lexists(exact) else None
    alike = (path for path in folder.iterdir() if path.name.casefold() == PEOPLE)
    return min(alike, default=None)


def read_people(path: Path, note: Note = lambda _: None) -> dict[str, Person]:
    """Read a ``people.csv``: ``person,name,gender,nationality`` and further columns.

    A person may have several rows that agree.

    Args:
        path: the table.
        note: receives sentences on what was guessed or left out.

    Returns:
        The people by key.

    Raises:
        BadRequest: the table cannot be read, or lines are wrong, with each of them.
    """
    table = Table(path, needed=("person",), known=PERSON_COLUMNS)
    cells: dict[str, Cells] = {}
    for row in table:
        _add(cells.setdefault(row.needed("person"), {}), row)
    return _finished(table, cells, note)


def read_manifest(
    path: Path, gallery: Path, note: Note = lambda _: None
) -> tuple[list[Source], dict[str, Person]]:
    """Read a manifest: sources, and metadata of their people in further columns.

    A file may have any number of rows; equal rows count once.

    Args:
        path: the table.
        gallery: the folder that relative paths start from.
        note: receives sentences on what was guessed or left out.

    Returns:
        The sources in order, and the people by key.

    Raises:
        BadRequest: cells are wrong or missing, or rows disagree on a person, with file and lines.
    """
    columns = (*PERSON_COLUMNS, *SOURCE_COLUMNS)
    table = Table(path, needed=("path", "person"), known=columns, exact=("path",))
    disk = DiskNames()
    sources: dict[Source, None] = {}  # in order, each once
    cells: dict[str, Cells] = {}
    for row in table:
        source = _source(row, gallery, disk)
        sources[source] = None
        _add(cells.setdefault(source.person, {}), row, SOURCE_COLUMNS)
    return list(sources), _finished(table, cells, note)


def merged(first: Mapping[str, Person], second: Mapping[str, Person]) -> dict[str, Person]:
    """Merge the metadata of people; where both have a cell, the second counts."""
    people = {}
    for key in dict.fromkeys((*first, *second)):
        cells: dict[str, str] = {}
        for table in (first, second):
            if key in table:
                cells |= table[key].cells()
        people[key] = Person.from_cells(cells)
    return people


def _finished(table: Table, cells: Mapping[str, Cells], note: Note) -> dict[str, Person]:
    """Return the people of a table whose rows were all read, once it is found without faults."""
    table.check()
    for each in table.notes:
        note(each)
    return {
        key: Person.from_cells({**{c: text for c, (text, _) in columns.items()}, "person": key})
        for key, columns in cells.items()
    }


def _source(row: Row, gallery: Path, disk: DiskNames) -> Source:
    start_s, end_s = row.seconds("start_s") or 0.0, row.seconds("end_s")
    if end_s is not None and end_s <= start_s:
        row.wrong(f"end_s is {end_s:g}, which is not after start_s, {start_s:g}.")
    return Source(
        path=_path(row.needed("path"), gallery, disk),
        person=row.needed("person"),
        modality=_modality(row),
        start_s=start_s,
        end_s=end_s,
        gallery=gallery,
    )


def _path(text: str, gallery: Path, disk: DiskNames) -> Path:
    """Return the file on disk; Windows separates folders by backslashes."""
    path = disk.find(Path(os.path.normpath(gallery / text)))
    if "\\" in text and not os.path.lexists(path):
        other = disk.find(Path(os.path.normpath(gallery / text.replace("\\", "/"))))
        return other if os.path.lexists(other) else path
    return path


def _modality(row: Row) -> Modality | None:
    text = row.cells.get("modality", "").lower()
    for modality in MODALITIES:
        if text == modality:
            return modality
    if text:
        row.wrong(f"the modality is {text!r}; write face, voice, or nothing for both.")
    return None


def _add(cells: Cells, row: Row, apart: Collection[str] = ()) -> None:
    """Add the cells of a row to those of its person; different texts in one column are wrong.

    Columns ``apart`` are not about the person.
    """
    for column, text in row.cells.items():
        if column in (*apart, "person") or not text:
            continue
        above, line = cells.setdefault(column, (text, row.line))
        same = gender_code if column == "gender" else str
        if same(above) != same(text):
            row.wrong(
                f"the {column} of {row.cells['person']!r} is {text!r}, and line {line} says "
                f"{above!r}; leave one of them."
            )
