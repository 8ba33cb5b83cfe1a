"""``people.csv`` and the manifest: what a user says of people and files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from indexer.records import PERSON_COLUMNS, Person, Source, gender_code
from indexer.tables.rows import Row, Table
from indexer.types import MODALITIES, Modality
from indexer.unicode_names import DiskNames

PEOPLE = "people.csv"
SOURCE_COLUMNS = ("path", "modality", "start_s", "end_s")

Said = dict[str, tuple[str, int]]  # of one person: a cell and its line by column
Note = Callable[[str], None]


def find_people(folder: Path) -> Path | None:
    """Return the ``people.csv`` of a folder, whatever the case of its name; None without one."""
    exact = folder / PEOPLE
    if os.path.lexists(exact) or not os.access(folder, os.R_OK):
        return exact if os.path.lexists(exact) else None
    alike = (path for path in folder.iterdir() if path.name.casefold() == PEOPLE)
    return min(alike, default=None)


def read_people(path: Path, note: Note = lambda _: None) -> dict[str, Person]:
    """The people of a ``people.csv``, by key: ``person,name,gender,nationality`` and further.

    A person may stand in several rows that say nothing different. ``note`` is told what was guessed
    or left out. Raises BadRequest for a table that cannot be read, or that names every line in
    which something is wrong.
    """
    table = Table(path, needed=("person",), known=PERSON_COLUMNS)
    said: dict[str, Said] = {}
    for row in table:
        _add(said.setdefault(row.needed("person"), {}), row)
    _finish(table, note)
    return _people_of(said)


def read_manifest(
    path: Path, gallery: Path, note: Note = lambda _: None
) -> tuple[list[Source], dict[str, Person]]:
    """The sources a manifest names, and what its further columns say of their people.

    Relative paths are relative to the gallery. A file may stand in any number of rows; a row that
    is there twice counts once. ``note`` is told what was guessed or left out. Raises BadRequest,
    naming file and lines, for cells that are wrong or missing, and for rows that say different
    things of one person.
    """
    columns = (*PERSON_COLUMNS, *SOURCE_COLUMNS)
    table = Table(path, needed=("path", "person"), known=columns, exact=("path",))
    disk = DiskNames()
    sources: dict[Source, None] = {}  # in order, each once
    said: dict[str, Said] = {}
    for row in table:
        source = _source(row, gallery, disk)
        sources[source] = None
        _add(said.setdefault(source.person, {}), row, SOURCE_COLUMNS)
    _finish(table, note)
    return list(sources), _people_of(said)


def _finish(table: Table, note: Note) -> None:
    table.check()
    for each in table.notes:
        note(each)


def _people_of(said: Mapping[str, Said]) -> dict[str, Person]:
    cells = {key: {c: text for c, (text, _) in columns.items()} for key, columns in said.items()}
    return {key: Person.from_cells({**each, "person": key}) for key, each in cells.items()}


def merged(first: Mapping[str, Person], second: Mapping[str, Person]) -> dict[str, Person]:
    """What two tables say of people; where both speak, the second has the last word."""
    return {key: _both(first.get(key), second.get(key)) for key in _keys(first, second)}


def _both(first: Person | None, second: Person | None) -> Person:
    cells = [who.cells() for who in (first, second) if who is not None]
    return Person.from_cells({column: text for one in cells for column, text in one.items()})


def _keys(*tables: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(key for table in tables for key in table))


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
    """The file that is meant, as it is on disk; Windows writes the folders apart by backslashes."""
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


def _add(said: Said, row: Row, apart: Collection[str] = ()) -> None:
    """Add what a row says of a person; what another row says otherwise is wrong.

    Columns ``apart`` say something of other things.
    """
    for column, text in row.cells.items():
        if column in (*apart, "person") or not text:
            continue
        above, line = said.setdefault(column, (text, row.line))
        same = gender_code if column == "gender" else str
        if same(above) != same(text):
            row.wrong(
                f"the {column} of {row.cells['person']!r} is {text!r}, and line {line} says "
                f"{above!r}; leave one of them."
            )
