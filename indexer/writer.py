"""Changes to the catalog: everything one transaction may do."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import delete, insert, select, update

from indexer.errors import printable
from indexer.reader import Reader
from indexer.records import FileRecord, NewItem, Person, Stat
from indexer.schema import NOTE, file, item, meta, person, revision, source


class Writer(Reader):
    """A transaction that makes the next revision; see :meth:`indexer.catalog.Catalog.write`."""

    def put_file(
        self, record: FileRecord, items: Sequence[NewItem], people: dict[str, Person]
    ) -> None:
        """Write a file and its items in place of what was known of it.

        ``people`` says who they are; somebody not in it is known by the key alone.
        """
        self.remove_files([record.path])
        number = self._insert_file(record)
        keys = {one[0] for one in record.asked}
        rows = {key: self._person_row(key, people) for key in sorted(keys)}
        self._insert_sources(number, record, rows)
        self._insert_items(number, items, rows)

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

    def remove_files(self, paths: Collection[Path]) -> None:
        """Delete files with their items."""
        for path in paths:
            self._connection.execute(delete(file).where(file.c.path == printable(path)))

    def remove_person(self, key: str) -> None:
        """Delete a person, their items, and every file that is nobody else's."""
        row = select(person.c.id).where(person.c.key == key).scalar_subquery()
        theirs = select(source.c.file_id).where(source.c.person_id == row)
        shared = select(source.c.file_id).where(source.c.person_id != row)
        alone = file.c.id.in_(theirs) & file.c.id.not_in(shared)
        self._connection.execute(delete(file).where(alone))
        for table in (item, source):
            self._connection.execute(delete(table).where(table.c.person_id == row))
        self._connection.execute(delete(person).where(person.c.key == key))

    def drop_people_without_files(self) -> None:
        """Delete the people of whom no file is left."""
        with_files = select(source.c.person_id)
        self._connection.execute(delete(person).where(person.c.id.not_in(with_files)))

    def bump_revision(self, what: str) -> None:
        """Number the state this transaction makes."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        self._connection.execute(insert(revision).values(at=now, what=what))

    def _person_row(self, key: str, people: dict[str, Person]) -> int:
        row = self._connection.execute(select(person.c.id).where(person.c.key == key)).first()
        if row is not None:
            return int(row.id)
        values = _person_values(people.get(key, Person(key)))
        added = self._connection.execute(insert(person).values(key=key, **values))
        return _number(added.inserted_primary_key)

    def _insert_file(self, record: FileRecord) -> int:
        added = self._connection.execute(
            insert(file).values(
                path=printable(record.path),
                gallery=str(record.gallery),
                size=record.stat.size,
                mtime_ns=record.stat.mtime_ns,
                sha256=record.sha256,
                settings=record.settings,
                status="ok" if record.reason is None else "refused",
                reason=record.reason,
                lasting=record.lasting,
            )
        )
        return _number(added.inserted_primary_key)

    def _insert_sources(self, number: int, record: FileRecord, people: dict[str, int]) -> None:
        rows = [
            {
                "file_id": number,
                "person_id": people[key],
                "modality": modality,
                "start_s": start_s,
                "end_s": end_s,
            }
            for key, modality, start_s, end_s in record.asked
        ]
        if rows:
            self._connection.execute(insert(source), rows)

    def _insert_items(self, number: int, items: Sequence[NewItem], people: dict[str, int]) -> None:
        rows = [
            {
                "file_id": number,
                "person_id": people[new.person],
                "modality": new.modality,
                "start_s": new.start_s,
                "end_s": new.end_s,
                "box": None if new.box is None else [float(side) for side in new.box],
                "vector": np.asarray(new.vector, "<f4").tobytes(),
            }
            for new in items
        ]
        if rows:
            self._connection.execute(insert(item), rows)


def _person_values(who: Person) -> dict[str, object]:
    return {
        "name": who.name,
        "gender": who.gender,
        "nationality": who.nationality,
        "attributes": dict(who.attributes),
    }


def _number(key: Sequence[int] | None) -> int:
    """The row number SQLite gave to an inserted row."""
    if key is None:
        raise ValueError("the insert gave no row number")
    return int(key[0])
