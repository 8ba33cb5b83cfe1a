"""Questions to one revision of the catalog, beyond those of a search."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    column,
    func,
    literal_column,
    select,
    tuple_,
)

from indexer.catalog.lookup import Lookup
from indexer.catalog.schema import file, item, meta, person, receipt, revision, source
from indexer.errors import printable
from indexer.records import Asked, Duplicate, FileRecord, Forgetting, Stat
from indexer.types import Space

_REFUSED = file.c.status == literal_column("'refused'")  # as the index of these rows has it


class Reader(Lookup):
    """The catalog as of one revision, all that is known of files too."""

    def __init__(self, connection: Connection, path: Path, space: Space) -> None:
        driver: Any = connection.connection.driver_connection
        super().__init__(driver, path, space)
        self._connection = connection

    def refused(self) -> list[tuple[Path, str]]:
        """The files that were refused, in whole or in part, by path, and why."""
        whole = select(file.c.id).where(_REFUSED)
        parts = select(source.c.file_id).where(source.c.reason.is_not(None))
        records = self._files(file.c.id.in_(whole.union(parts))).values()
        return [refusal for record in records for refusal in record.refusals()]

    def file_notes(self) -> list[tuple[Path, str]]:
        """Notes about files that were taken, by path."""
        records = self._files(file.c.notes.is_not(None)).values()
        return [(record.path, note) for record in records for note in record.notes]

    def blobs(self) -> Iterator[tuple[int, bytes]]:
        """Every item's id and the bytes of its vector, unchecked."""
        for row in self._connection.execute(select(item.c.id, item.c.vector)):
            yield row.id, row.vector

    def asked_rows(self, size: int) -> Iterator[Sequence[Row[Any]]]:
        """What is known of files and was asked of them, at most ``size`` rows at a time.

        A file has a row for everything asked of it, at least one; columns are named as in
        :data:`indexer.tables.parquet.COLUMNS`, the person by their row number.
        """
        facts = [file.c[name] for name in ("gallery", "size", "mtime_ns", "sha256", "settings")]
        span = (
            source.c.person_id,
            source.c.modality,
            file.c.path,
            source.c.start_s,
            source.c.end_s,
            source.c.reason.label("fault"),
        )
        wanted = select(*span, *facts, file.c.reason.label("refused"), file.c.lasting, file.c.notes)
        return self._streamed(
            wanted.outerjoin_from(file, source).order_by(file.c.id, source.c.id), size
        )

    def item_rows(self, size: int) -> Iterator[Sequence[Row[Any]]]:
        """Every item by number, at most ``size`` at a time.

        Its number, its person's row number, columns named as in
        :data:`indexer.tables.parquet.COLUMNS`, and the bytes of its vector, unchecked.
        """
        span = (item.c.modality, file.c.path, item.c.start_s, item.c.end_s, item.c.box)
        wanted = select(item.c.id, item.c.person_id, *span, item.c.vector)
        return self._streamed(wanted.join_from(item, file).order_by(item.c.id), size)

    def files_named(self, paths: Iterable[Path]) -> dict[Path, FileRecord]:
        """What is known of these files; those that are not in the catalog are left out."""
        return self._files(file.c.path.in_(listed([printable(path) for path in paths])))

    def files_under(self, gallery: Path) -> dict[Path, FileRecord]:
        """The files that came with a gallery."""
        return self._files(file.c.gallery == str(gallery))

    def files_of(self, key: str) -> dict[Path, FileRecord]:
        """The files something was asked of for a person, refused ones too."""
        keys = listed(self.keys_of(key))
        theirs = select(source.c.file_id).join(person).where(person.c.key.in_(keys))
        return self._files(file.c.id.in_(theirs))

    def files_of_people(self, keys: Collection[str]) -> dict[Path, FileRecord]:
        """Return the files something was asked of for any of these people, refused ones too."""
        theirs = select(source.c.file_id).join(person).where(person.c.key.in_(listed(list(keys))))
        return self._files(file.c.id.in_(theirs))

    def files_sized(self, sizes: Collection[int]) -> list[FileRecord]:
        """The files that were taken and had one of these numbers of bytes."""
        taken = file.c.status == "ok"
        return list(self._files(taken & file.c.size.in_(listed(list(sizes)))).values())

    def duplicates(self) -> list[Duplicate]:
        """Files of the same bytes that are not of the same people, by path."""
        bytes_of = (file.c.size, file.c.sha256)
        several = select(*bytes_of).group_by(*bytes_of).having(func.count() > 1)
        same = tuple_(*bytes_of).in_(several) & (file.c.status == "ok")
        alike: dict[str, list[FileRecord]] = {}
        for record in self._files(same).values():
            alike.setdefault(record.sha256, []).append(record)
        return [_duplicate(each) for each in alike.values() if len(set(map(_whose, each))) > 1]

    def forgettings(self) -> list[Forgetting]:
        """When somebody was forgotten, the earliest first."""
        return [
            Forgetting(row.at, row.items, row.files, row.bytes_searched or 0, row.clean)
            for row in self._connection.execute(select(receipt).order_by(receipt.c.id))
        ]

    def unfinished_forgettings(self) -> list[int]:
        """The numbers of those that were stopped before the files of the index were cleared."""
        stopped = select(receipt.c.id).where(receipt.c.bytes_searched.is_(None))
        return list(self._connection.execute(stopped).scalars())

    def mentions(self, text: str) -> bool:
        """Return whether anything that is kept as text has this in it, the tables' names too."""
        places = (
            place
            for table in (person, file, source, meta, revision, receipt)
            for place in table.c
            if isinstance(place.type, String)
        )
        found = (select(1).where(func.instr(place, text) > 0).limit(1) for place in places)
        tables = self._connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").fetchall()
        return (
            any(self._connection.execute(query).first() for query in found)
            or any(text in (word or "") for row in tables for word in row)
            or any(
                text in value for who in self.people().values() for value in who.cells().values()
            )
        )

    def pragma(self, name: str) -> list[tuple[Any, ...]]:
        """The rows of one of SQLite's own checks."""
        return [tuple(row) for row in self._connection.exec_driver_sql(f"PRAGMA {name}")]

    def without_people(self) -> list[int]:
        """Ids of items whose person is not in the catalog."""
        orphans = select(item.c.id).outerjoin(person).where(person.c.id.is_(None))
        return list(self._connection.execute(orphans).scalars())

    def _streamed(self, wanted: Select[Any], size: int) -> Iterator[Sequence[Row[Any]]]:
        rows = self._connection.execution_options(yield_per=size).execute(wanted)
        return rows.partitions()

    def _files(self, condition: ColumnElement[bool]) -> dict[Path, FileRecord]:
        asked = self._asked(select(file.c.id).where(condition))
        rows = self._connection.execute(select(file).where(condition).order_by(file.c.path))
        return {Path(row.path): _file(row, asked.get(row.id, {})) for row in rows}

    def _asked(self, files: Select[tuple[int]]) -> dict[int, dict[Asked, str | None]]:
        """Of each file what was asked of it, and why nothing came of that where so."""
        columns = (source.c.modality, source.c.start_s, source.c.end_s, source.c.reason)
        wanted = select(source.c.file_id, person.c.key, *columns).join(person)
        asked: dict[int, dict[Asked, str | None]] = {}
        for number, *one in self._connection.execute(wanted.where(source.c.file_id.in_(files))):
            asked.setdefault(number, {})[one[0], one[1], one[2], one[3]] = one[4]
        return asked


def listed(values: Sequence[int] | Sequence[str]) -> Select[tuple[Any]]:
    """Values as a subquery: one parameter, however many they are."""
    return select(column("value")).select_from(func.json_each(json.dumps(values)))


def _whose(record: FileRecord) -> frozenset[str]:
    return frozenset(who for who, *_ in record.asked)


def _duplicate(alike: list[FileRecord]) -> Duplicate:
    people = {who for record in alike for who in _whose(record)}
    return Duplicate(tuple(record.path for record in alike), tuple(sorted(people)))


def _file(row: Row[Any], asked: Mapping[Asked, str | None]) -> FileRecord:
    return FileRecord(
        path=Path(row.path),
        gallery=Path(row.gallery),
        stat=Stat(row.size, row.mtime_ns),
        sha256=row.sha256,
        settings=row.settings,
        asked=frozenset(asked),
        reason=row.reason,
        lasting=row.lasting,
        parts=frozenset((one, reason) for one, reason in asked.items() if reason is not None),
        notes=tuple((row.notes or "").splitlines()),
    )
