"""Every change of the catalog; one transaction makes one revision."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import (
    Connection,
    Delete,
    Select,
    Table,
    bindparam,
    case,
    column,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from indexer.catalog.engine import engine_of
from indexer.catalog.reader import NOTE, CatalogReader
from indexer.catalog.schema import (
    file,
    item,
    meta,
    metadata,
    person,
    receipt,
    revision,
    source,
    version,
)
from indexer.catalog.version import VERSION
from indexer.errors import printable
from indexer.records import FileRecord, NewItem, Person, Stat
from indexer.types import Space
from indexer.unicode_names import normalised

_INDEXES = [index for table in (file, source, item) for index in sorted(table.indexes, key=str)]
FILE_COLUMNS = (
    *("id", "path", "gallery", "size", "mtime_ns", "sha256", "settings", "notes"),
    *("status", "reason", "lasting"),
)
SPAN_COLUMNS = ("file_id", "person_id", "modality", "start_s", "end_s")  # of source and item
ROWS = 100  # rows of one bulk statement; more save no more time


def create_catalog(path: Path, space: Space, notes: Mapping[str, str]) -> None:
    """Create a catalog without items, of revision 1, at a path where no file is."""
    facts = {"version": VERSION, "space": json.dumps(dataclasses.asdict(space))}
    engine = engine_of(path, new=True)
    with contextlib.closing(engine.raw_connection()) as raw:
        raw.cursor().execute("PRAGMA journal_mode = WAL")
    with engine.begin() as connection:
        metadata.create_all(connection)
        rows = [{"key": key, "value": value} for key, value in facts.items()]
        connection.execute(insert(meta), rows)
        connection.execute(insert(version).values(version_num=VERSION))
        writer = CatalogWriter(connection, path, space)
        writer.put_notes(notes)
        writer.bump_revision("create")
    engine.dispose()


class CatalogWriter(CatalogReader):
    """A transaction that makes the next revision; it also reads what it has written."""

    def __init__(self, connection: Connection, path: Path, space: Space) -> None:
        driver: Any = connection.connection.driver_connection
        super().__init__(driver, path, space)
        self._connection = connection
        self._deleted = False

    def put_files(
        self, files: Sequence[tuple[FileRecord, Sequence[NewItem]]], people: Mapping[str, Person]
    ) -> None:
        """Write files with their items; records of the same paths are replaced.

        ``people`` gives the metadata of people by key; for others only the key is stored.
        """
        self.remove_files([record.path for record, _ in files])
        keys = {key[0] for record, _ in files for key in record.source_keys}
        owners = self._person_rows(keys, people)
        first = self.next_number(file)
        file_rows, source_rows, item_rows = [], [], []
        for number, (record, items) in enumerate(files, first):
            file_rows.append(_file_row(number, record))
            faults = dict(record.faults)
            source_rows += [
                (number, owners[key[0]], *key[1:], faults.get(key))
                for key in sorted(record.source_keys, key=str)
            ]
            for new in items:
                box = None if new.box is None else json.dumps([float(side) for side in new.box])
                vector = np.asarray(new.vector, "<f4").tobytes()
                span = (new.modality, new.start_s, new.end_s)
                item_rows.append((number, owners[new.person], *span, box, vector))
        self.put_rows(file, FILE_COLUMNS, file_rows)
        self.put_rows(source, (*SPAN_COLUMNS, "reason"), source_rows)
        self.put_rows(item, (*SPAN_COLUMNS, "box", "vector"), item_rows)

    def move_file(
        self,
        before: FileRecord,
        now: FileRecord,
        new_keys: Mapping[str, str],
        people: Mapping[str, Person],
    ) -> None:
        """Move a file to another path and its items, which keep their ids, to other people.

        ``new_keys`` maps the person keys of the file to the new ones. A record of the new path is
        deleted.
        """
        self.remove_files([now.path])
        owners = self._person_rows([*new_keys, *new_keys.values()], people)
        rows = {owners[old]: owners[new] for old, new in new_keys.items() if old != new}
        moved = file.c.path == printable(before.path)
        moved_id = select(file.c.id).where(moved).scalar_subquery()
        for table in (item, source) if rows else ():
            owner = case(rows, value=table.c.person_id, else_=table.c.person_id)
            changed = update(table).where(table.c.file_id == moved_id)
            self._connection.execute(changed.values(person_id=owner))
        place = {"path": printable(now.path), "gallery": str(now.gallery)}
        stat = {"size": now.stat.size, "mtime_ns": now.stat.mtime_ns}
        self._connection.execute(update(file).where(moved).values(**place, **stat))
        self._deleted |= bool(rows)

    def put_receipt(self, items: int, files: int) -> int:
        """Record that a person was deleted, not who; return the number of the receipt."""
        values = {"at": _now(), "items": items, "files": files}
        statement = insert(receipt).values(**values).returning(receipt.c.id)
        return int(self._connection.execute(statement).scalar_one())

    def complete_receipt(self, number: int, bytes_searched: int, *, clean: bool | None) -> None:
        """Add the result of the byte search to a receipt; ``clean`` None means there was none."""
        statement = update(receipt).where(receipt.c.id == number)
        self._connection.execute(statement.values(bytes_searched=bytes_searched, clean=clean))

    def put_rows(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert many rows with the values SQLite stores; the caller has checked them.

        A statement inserts many, so that SQLite updates the id sequence once for all.
        """
        names, row = ", ".join(columns), f"({', '.join('?' * len(columns))})"
        whole = len(rows) - len(rows) % ROWS
        for count, some in ((ROWS, rows[:whole]), (1, rows[whole:])):
            if some:
                groups = (some[at : at + count] for at in range(0, len(some), count))
                values = [tuple(itertools.chain.from_iterable(group)) for group in groups]
                statement = f"INSERT INTO {table.name} ({names}) VALUES {', '.join([row] * count)}"
                self._connection.exec_driver_sql(statement, values)

    def put_notes(self, notes: Mapping[str, str]) -> None:
        """Write notes on the index, by key."""
        for key, value in notes.items():
            self._connection.execute(delete(meta).where(meta.c.key == NOTE + key))
            self._connection.execute(insert(meta).values(key=NOTE + key, value=value))

    def put_stat(self, path: Path, stat: Stat) -> None:
        """Update the size and time of a file whose bytes did not change."""
        changed = update(file).where(file.c.path == printable(path))
        self._connection.execute(changed.values(size=stat.size, mtime_ns=stat.mtime_ns))

    def put_people(self, people: Collection[Person]) -> None:
        """Update the metadata of people; those not in the catalog are ignored."""
        changed = update(person).where(person.c.key == bindparam("known_as"))
        if people:
            values = [{"known_as": who.key, **_person_values(who)} for who in people]
            self._connection.execute(changed, values)

    def number_people(self, keys: Collection[str]) -> dict[str, int]:
        """Return row numbers of people by key; new people are added by their key alone."""
        return self._person_rows(keys, {})

    def file_numbers(self, paths: Collection[str]) -> dict[str, int]:
        """Return row numbers by path of the files that are in the catalog."""
        wanted = select(file.c.path, file.c.id).where(file.c.path.in_(_listed(paths)))
        return {row.path: row.id for row in self._connection.execute(wanted)}

    def next_number(self, table: Table) -> int:
        """Return the row number after the last of a table."""
        newest = self._connection.execute(select(func.max(table.c.id))).scalar_one()
        return (newest or 0) + 1

    def next_item(self) -> int:
        """Return the id of the next item; ids are never reused."""
        (newest,) = self._firsts("SELECT max(seq) FROM sqlite_sequence WHERE name = ?", item.name)
        return (newest or 0) + 1

    def hold_pages(self, size: int) -> None:
        """Cache this many bytes of pages: bulk inserts change the same pages again and again."""
        self._connection.exec_driver_sql(f"PRAGMA cache_size = -{size // 1024}")

    def has_files(self) -> bool:
        """Return whether there is any file."""
        return bool(self._rows("SELECT 1 FROM file LIMIT 1"))

    def drop_indexes(self) -> None:
        """Drop the indexes of files, sources and items until :meth:`create_indexes`.

        To sort many rows at the end is faster than to insert them one by one.
        """
        for index in _INDEXES:
            index.drop(self._connection)

    def create_indexes(self) -> None:
        """Create the indexes that :meth:`drop_indexes` dropped."""
        for index in _INDEXES:
            index.create(self._connection)

    def remove_numbered(self, numbers: Sequence[int]) -> None:
        """Delete files with their items, by row number."""
        if numbers:
            self._delete(delete(file).where(file.c.id.in_(_listed(numbers))))

    def remove_files(self, paths: Collection[Path]) -> None:
        """Delete files with their items."""
        names = _listed([printable(path) for path in paths])
        self._delete(delete(file).where(file.c.path.in_(names)))

    def remove_person(self, key: str) -> None:
        """Delete a person, their items, and every file without sources of other people."""
        numbers = list(self._known_rows(self.keys_of(key)).values())
        own = select(source.c.file_id).where(source.c.person_id.in_(numbers))
        shared = select(source.c.file_id).where(source.c.person_id.not_in(numbers))
        self._delete(delete(file).where(file.c.id.in_(own) & file.c.id.not_in(shared)))
        for table in (item, source):
            self._delete(delete(table).where(table.c.person_id.in_(numbers)))
        self._delete(delete(person).where(person.c.id.in_(numbers)))

    def normalise_keys(self) -> None:
        """Bring keys of an earlier version to NFC, and merge people whose keys become equal."""
        people = {who.key: (number, who) for number, who in self.people().items()}
        for key in self.unnormalised_keys():
            (number, who), composed = people[key], normalised(key)
            target, known = people.get(composed, (number, Person(composed)))
            merged = Person.from_cells({**who.cells(), **known.cells()})
            people[composed] = target, merged
            if target == number:
                renamed = update(person).where(person.c.id == number)
                self._connection.execute(renamed.values(key=composed))
                continue
            for table in (item, source):
                owned = update(table).where(table.c.person_id == number)
                self._connection.execute(owned.values(person_id=target))
            self.put_people([merged])
            self._delete(delete(person).where(person.c.id == number))

    def drop_people_without_files(self) -> None:
        """Delete people without sources, if anything was deleted in this transaction."""
        if self._deleted:
            sources = select(source.c.id).where(source.c.person_id == person.c.id)
            self._delete(delete(person).where(~exists(sources)))

    def bump_revision(self, what: str) -> None:
        """Record the revision that this transaction makes."""
        self._connection.execute(insert(revision).values(at=_now(), what=what))

    def _delete(self, deletion: Delete) -> None:
        self._deleted |= self._connection.execute(deletion).rowcount > 0

    def _person_rows(self, keys: Collection[str], people: Mapping[str, Person]) -> dict[str, int]:
        """Return row numbers of people by key; new people are added."""
        known = self._known_rows(keys)
        new = [people.get(key, Person(key)) for key in sorted(set(keys) - known.keys())]
        if new:
            rows = [{"key": who.key, **_person_values(who)} for who in new]
            self._connection.execute(insert(person), rows)
        return known | self._known_rows([who.key for who in new])

    def _known_rows(self, keys: Collection[str]) -> dict[str, int]:
        wanted = select(person.c.key, person.c.id).where(person.c.key.in_(_listed(keys)))
        return {row.key: row.id for row in self._connection.execute(wanted)}


def _listed(values: Collection[int] | Collection[str]) -> Select[tuple[Any]]:
    """Return values as a subquery: one parameter for any number of them."""
    return select(column("value")).select_from(func.json_each(json.dumps(list(values))))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def _file_row(number: int, record: FileRecord) -> tuple[Any, ...]:
    """Return the values of FILE_COLUMNS."""
    stat, status = record.stat, "ok" if record.reason is None else "refused"
    known = (stat.size, stat.mtime_ns, record.sha256, record.settings)
    notes = "\n".join(record.notes) or None
    place = (printable(record.path), str(record.gallery))
    return (number, *place, *known, notes, status, record.reason, record.permanent)


def _person_values(who: Person) -> dict[str, object]:
    return {
        "name": who.name,
        "gender": who.gender,
        "nationality": who.nationality,
        "attributes": dict(who.attributes),
    }
