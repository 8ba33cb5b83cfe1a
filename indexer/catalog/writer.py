"""Changes to the catalog: everything one transaction may do."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import (
    Delete,
    Table,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from indexer.catalog.lookup import NOTE
from indexer.catalog.reader import Reader, listed
from indexer.catalog.schema import file, item, meta, person, receipt, revision, source
from indexer.errors import printable
from indexer.records import Asked, FileRecord, NewItem, Person, Stat
from indexer.unicode_names import normalised

_INDEXES = [index for table in (file, source, item) for index in sorted(table.indexes, key=str)]
ROWS = 100  # rows of one statement: SQLite's cost of a statement no longer shows


class Writer(Reader):
    """A transaction that makes the next revision: ``Catalog.write``."""

    _deleted = False

    def put_files(
        self, files: Sequence[tuple[FileRecord, Sequence[NewItem]]], people: Mapping[str, Person]
    ) -> None:
        """Write files, each with its items, in place of what was known of them.

        ``people`` says who they are; somebody not in it is known by the key alone.
        """
        self.remove_files([record.path for record, _ in files])
        keys = {asked[0] for record, _ in files for asked in record.asked}
        owners = self._person_rows(keys, people)
        first = self.next_number(file)
        numbered = [(number, *each) for number, each in enumerate(files, first)]
        self._insert(file, [_file_values(number, record) for number, record, _ in numbered])
        self._insert(
            source,
            [
                _source_values(number, owners[asked[0]], asked, reasons.get(asked))
                for number, record, _ in numbered
                for reasons in (dict(record.parts),)
                for asked in sorted(record.asked, key=str)
            ],
        )
        self._insert(
            item,
            [
                _item_values(number, owners[new.person], new)
                for number, _, items in numbered
                for new in items
            ],
        )

    def move_file(
        self,
        before: FileRecord,
        now: FileRecord,
        whom: Mapping[str, str],
        people: Mapping[str, Person],
    ) -> None:
        """Give a file another place, and its items with their numbers to other people.

        ``whom`` says for the people of the file before who they are now. What was known of a
        file at the new place is deleted.
        """
        self.remove_files([now.path])
        owners = self._person_rows([*whom, *whom.values()], people)
        rows = {owners[old]: owners[new] for old, new in whom.items() if old != new}
        moved = file.c.path == printable(before.path)
        theirs = select(file.c.id).where(moved).scalar_subquery()
        for table in (item, source) if rows else ():
            others = case(rows, value=table.c.person_id, else_=table.c.person_id)
            changed = update(table).where(table.c.file_id == theirs)
            self._connection.execute(changed.values(person_id=others))
        place = {"path": printable(now.path), "gallery": str(now.gallery)}
        stat = {"size": now.stat.size, "mtime_ns": now.stat.mtime_ns}
        self._connection.execute(update(file).where(moved).values(**place, **stat))
        self._deleted |= bool(rows)

    def put_receipt(self, items: int, files: int) -> int:
        """Note that somebody was forgotten, not who; the number of the note."""
        values = {"at": _now(), "items": items, "files": files}
        noted = insert(receipt).values(**values).returning(receipt.c.id)
        return int(self._connection.execute(noted).scalar_one())

    def prove(self, number: int, bytes_searched: int, *, clean: bool | None) -> None:
        """Complete such a note with what a search for traces came to, None if there was none."""
        noted = update(receipt).where(receipt.c.id == number)
        self._connection.execute(noted.values(bytes_searched=bytes_searched, clean=clean))

    def put_rows(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert many rows as SQLite has them, past SQLAlchemy; the caller vouches for them.

        A statement writes many: the number sequence of a table is then kept once for all.
        """
        whole = len(rows) - len(rows) % ROWS
        for count, some in ((ROWS, rows[:whole]), (1, rows[whole:])):
            if some:
                parts = (some[at : at + count] for at in range(0, len(some), count))
                values = [tuple(itertools.chain.from_iterable(part)) for part in parts]
                self._connection.exec_driver_sql(_insertion(table, columns, count), values)

    def put_notes(self, notes: Mapping[str, str]) -> None:
        """Write notes of the index by their keys."""
        for key, value in notes.items():
            self._connection.execute(delete(meta).where(meta.c.key == NOTE + key))
            self._connection.execute(insert(meta).values(key=NOTE + key, value=value))

    def put_stat(self, path: Path, stat: Stat) -> None:
        """Note that a file of this size and time has the bytes known already."""
        changed = update(file).where(file.c.path == printable(path))
        self._connection.execute(changed.values(size=stat.size, mtime_ns=stat.mtime_ns))

    def put_person(self, who: Person) -> None:
        """Write what is known of a person who is in the catalog."""
        changed = update(person).where(person.c.key == who.key)
        self._connection.execute(changed.values(**_person_values(who)))

    def put_people(self, people: Collection[Person]) -> None:
        """Write what is known of people; somebody who is not in the catalog is passed over."""
        changed = update(person).where(person.c.key == bindparam("known_as"))
        if people:
            values = [{"known_as": who.key, **_person_values(who)} for who in people]
            self._connection.execute(changed, values)

    def number_people(self, keys: Collection[str]) -> dict[str, int]:
        """Row numbers of people by key; who is not in the catalog yet is added, by the key."""
        return self._person_rows(keys, {})

    def file_numbers(self, paths: Collection[str]) -> dict[str, int]:
        """Row numbers of the files that are in the catalog, by path."""
        wanted = select(file.c.path, file.c.id).where(file.c.path.in_(listed(list(paths))))
        return {row.path: row.id for row in self._connection.execute(wanted)}

    def next_number(self, table: Table) -> int:
        """The number after those of a table's rows."""
        newest = self._connection.execute(select(func.max(table.c.id))).scalar_one()
        return (newest or 0) + 1

    def next_item(self) -> int:
        """The number that the next item gets; one once given is never given again."""
        given = "SELECT max(seq) FROM sqlite_sequence WHERE name = ?"
        newest = self._connection.exec_driver_sql(given, (item.name,)).scalar_one()
        return (newest or 0) + 1

    def hold_pages(self, size: int) -> None:
        """Keep this many bytes of pages in memory: many rows change the same pages again."""
        self._connection.exec_driver_sql(f"PRAGMA cache_size = -{size // 1024}")

    def holds_files(self) -> bool:
        """Whether there is any file."""
        return self._connection.execute(select(file.c.id).limit(1)).first() is not None

    def drop_indexes(self) -> None:
        """Do without the indexes of files, sources and items until they are created anew.

        Many rows are sooner sorted at the end than put in their places one by one.
        """
        for index in _INDEXES:
            index.drop(self._connection)

    def create_indexes(self) -> None:
        """Create what :meth:`drop_indexes` dropped."""
        for index in _INDEXES:
            index.create(self._connection)

    def remove_numbered(self, numbers: Sequence[int]) -> None:
        """Delete files with their items, by row number."""
        if numbers:
            self._delete(delete(file).where(file.c.id.in_(listed(numbers))))

    def remove_files(self, paths: Collection[Path]) -> None:
        """Delete files with their items."""
        named = listed([printable(path) for path in paths])
        self._delete(delete(file).where(file.c.path.in_(named)))

    def remove_person(self, key: str) -> None:
        """Delete a person, their items, and every file that is nobody else's."""
        numbers = list(self._known_rows(self.keys_of(key)).values())
        theirs = select(source.c.file_id).where(source.c.person_id.in_(numbers))
        shared = select(source.c.file_id).where(source.c.person_id.not_in(numbers))
        alone = file.c.id.in_(theirs) & file.c.id.not_in(shared)
        self._delete(delete(file).where(alone))
        for table in (item, source):
            self._delete(delete(table).where(table.c.person_id.in_(numbers)))
        self._delete(delete(person).where(person.c.id.in_(numbers)))

    def normalise_keys(self) -> None:
        """Give people of an earlier version their keys in NFC; those of one name become one."""
        people = {who.key: (number, who) for number, who in self.people().items()}
        for key in self.unnormalised_keys():
            (number, who), composed = people[key], normalised(key)
            kept, known = people.get(composed, (number, Person(composed)))
            merged = Person.from_cells({**who.cells(), **known.cells()})
            people[composed] = kept, merged
            if kept == number:
                renamed = update(person).where(person.c.id == number)
                self._connection.execute(renamed.values(key=composed))
                continue
            for table in (item, source):
                theirs = update(table).where(table.c.person_id == number)
                self._connection.execute(theirs.values(person_id=kept))
            self.put_person(merged)
            self._delete(delete(person).where(person.c.id == number))

    def drop_people_without_files(self) -> None:
        """Delete the people of whom no file is left; nothing to do where nothing was deleted."""
        if self._deleted:
            theirs = select(source.c.id).where(source.c.person_id == person.c.id)
            self._delete(delete(person).where(~exists(theirs)))

    def bump_revision(self, what: str) -> None:
        """Number the state this transaction makes."""
        self._connection.execute(insert(revision).values(at=_now(), what=what))

    def _delete(self, deletion: Delete) -> None:
        self._deleted |= self._connection.execute(deletion).rowcount > 0

    def _person_rows(self, keys: Collection[str], people: Mapping[str, Person]) -> dict[str, int]:
        """Row numbers of people by key; who is not in the catalog yet is added."""
        known = self._known_rows(keys)
        new = [people.get(key, Person(key)) for key in sorted(set(keys) - known.keys())]
        self._insert(person, [{"key": who.key, **_person_values(who)} for who in new])
        return known | self._known_rows([who.key for who in new])

    def _known_rows(self, keys: Collection[str]) -> dict[str, int]:
        wanted = select(person.c.key, person.c.id).where(person.c.key.in_(listed(list(keys))))
        return {row.key: row.id for row in self._connection.execute(wanted)}

    def _insert(self, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
        if rows:
            self._connection.execute(insert(table), rows)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def _insertion(table: Table, columns: Sequence[str], count: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {', '.join([row] * count)}"


def _file_values(number: int, record: FileRecord) -> dict[str, object]:
    return {
        "id": number,
        "path": printable(record.path),
        "gallery": str(record.gallery),
        "size": record.stat.size,
        "mtime_ns": record.stat.mtime_ns,
        "sha256": record.sha256,
        "settings": record.settings,
        "status": "ok" if record.reason is None else "refused",
        "reason": record.reason,
        "lasting": record.lasting,
        "notes": "\n".join(record.notes) or None,
    }


def _source_values(
    file_number: int, person_number: int, asked: Asked, reason: str | None
) -> dict[str, object]:
    _, modality, start_s, end_s = asked
    return {
        "file_id": file_number,
        "person_id": person_number,
        "modality": modality,
        "start_s": start_s,
        "end_s": end_s,
        "reason": reason,
    }


def _item_values(file_number: int, person_number: int, new: NewItem) -> dict[str, object]:
    return {
        "file_id": file_number,
        "person_id": person_number,
        "modality": new.modality,
        "start_s": new.start_s,
        "end_s": new.end_s,
        "box": None if new.box is None else [float(side) for side in new.box],
        "vector": np.asarray(new.vector, "<f4").tobytes(),
    }


def _person_values(who: Person) -> dict[str, object]:
    return {
        "name": who.name,
        "gender": who.gender,
        "nationality": who.nationality,
        "attributes": dict(who.attributes),
    }
