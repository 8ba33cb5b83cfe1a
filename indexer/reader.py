"""Questions to one revision of the catalog."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    column,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects import sqlite

from indexer.errors import IndexDamaged, printable
from indexer.records import (
    Asked,
    Counts,
    Duplicate,
    FileRecord,
    Forgetting,
    Item,
    Person,
    Revision,
    Stat,
)
from indexer.schema import NOTE, file, item, meta, person, receipt, revision, source
from indexer.types import Box, Ids, Modality, Space, Vectors

_REFUSED = file.c.status == literal_column("'refused'")  # as the index of these rows has it
_WITH_PERSON = ("key", "name", "gender", "nationality", "attributes")


def _text(statement: Select[Any]) -> str:
    """A statement as SQLite reads it."""
    return str(statement.compile(dialect=sqlite.dialect()))


# A search asks these two each time: made once, and read as the driver gives them, for SQLAlchemy
# takes longer over a few rows than SQLite.
_ITEMS = _text(
    select(
        *(item.c[name] for name in ("id", "modality", "start_s", "end_s", "box")),
        file.c.path,
        *(person.c[name] for name in _WITH_PERSON),
    )
    .join(file, item.c.file_id == file.c.id)
    .join(person, item.c.person_id == person.c.id)
    .where(item.c.id.in_(select(column("value")).select_from(func.json_each(bindparam("ids")))))
)
_NEWEST = _text(select(revision.c.number, revision.c.at).order_by(revision.c.number.desc()))

LOWEST = 2**31 - 1  # the bits of squares that are summed: no sum of them overflows


class Reader:
    """The catalog as of one revision; lives as long as its transaction."""

    def __init__(self, connection: Connection, path: Path, space: Space) -> None:
        self._connection = connection
        self._path = path
        self.space = space

    def revision(self) -> Revision:
        """The state that is being read."""
        cursor = self._driver.execute(_NEWEST)
        number, at = cursor.fetchone()
        cursor.close()
        return Revision(number, at)

    def knows(self, past: Revision) -> bool:
        """Whether this catalog once was in that very state."""
        same = select(revision.c.number).where(
            revision.c.number == past.number, revision.c.at == past.at
        )
        return self._connection.execute(same).first() is not None

    def notes(self) -> dict[str, str]:
        """What was noted of the index as a whole."""
        rows = self._connection.execute(select(meta).where(meta.c.key.startswith(NOTE)))
        return {row.key.removeprefix(NOTE): row.value for row in rows}

    def counts(self) -> Counts:
        """Totals, told from indexes alone."""
        owners = select(
            func.count(item.c.person_id.distinct()),
            func.count().filter(item.c.modality == "face"),
            func.count().filter(item.c.modality == "voice"),
        )
        people, faces, voices = self._connection.execute(owners).one()
        refused = self._count(file.c.id, _REFUSED)
        files = self._count(file.c.id, true()) - refused
        return Counts(people, faces, voices, files, refused)

    def person(self, key: str) -> Person | None:
        """Somebody by key, also one whose files were all refused; None for nobody."""
        named = person.c.key.in_(listed([key]))  # a name may hold what SQLite cannot be handed
        row = self._connection.execute(select(person).where(named)).one_or_none()
        return None if row is None else _person(row)

    def people(self) -> dict[int, Person]:
        """Everybody by row number, those whose files were all refused too."""
        rows = self._connection.execute(select(person).order_by(person.c.key))
        return {row.id: _person(row) for row in rows}

    def refused(self) -> list[tuple[Path, str]]:
        """The files that were refused, in whole or in part, by path, and why."""
        whole = select(file.c.id).where(_REFUSED)
        parts = select(source.c.file_id).where(source.c.reason.is_not(None))
        records = self._files(file.c.id.in_(whole.union(parts))).values()
        return [refusal for record in records for refusal in record.refusals()]

    def tallies(self) -> tuple[Ids, Ids, Ids]:
        """Of everybody who has items: row number, the sum of their ids, and of their squares.

        Of each square the lowest bits are taken. The index of the people is all that is read.
        """
        squares = func.sum((item.c.id * item.c.id).bitwise_and(LOWEST))
        wanted = select(item.c.person_id, func.sum(item.c.id), squares)
        rows = self._raw(wanted.group_by(item.c.person_id))
        people, sums, mixed = np.array(rows, np.int64).reshape(-1, 3).T
        return people, sums, mixed

    def owners(self) -> tuple[Ids, Ids, NDArray[np.bool_]]:
        """Of every item, by number: its id, its person's row number, whether it is a face."""
        wanted = select(item.c.id, item.c.person_id, item.c.modality == "face").order_by(item.c.id)
        rows = np.array(self._raw(wanted), np.int64).reshape(-1, 3)
        ids, people, faces = np.ascontiguousarray(rows.T)
        return ids, people, faces.astype(bool)

    def items_of_rows(self, people: Ids) -> tuple[Ids, Ids]:
        """Ids of the items of people given by row number, ascending, and whose each is."""
        wanted = select(item.c.id, item.c.person_id)
        wanted = wanted.where(item.c.person_id.in_(listed(people.tolist())))
        rows = np.array(self._raw(wanted), np.int64).reshape(-1, 2)
        ids, owners = rows[np.argsort(rows[:, 0])].T
        return np.ascontiguousarray(ids), np.ascontiguousarray(owners)

    def content(self, ids: Ids) -> tuple[Ids, Ids, NDArray[np.bool_], Vectors]:
        """Of these items, ascending: ids, row numbers of people, whether a face, and vectors.

        Raises IndexDamaged where a vector is not of the space's size or not finite.
        """
        face = item.c.modality == "face"
        wanted = select(item.c.id, item.c.person_id, face, item.c.vector).order_by(item.c.id)
        rows = self._raw(wanted.where(_among(ids)))
        found, people, faces, blobs = zip(*rows, strict=True) if rows else ((), (), (), ())
        return (
            np.array(found, np.int64),
            np.array(people, np.int64),
            np.array(faces, bool),
            self.checked_vectors(found, blobs),
        )

    def items(self, ids: Ids) -> dict[int, Item]:
        """What is known of these items."""
        people: dict[str, Person] = {}
        found = {}
        for row in self._driver.execute(_ITEMS, (json.dumps(ids.tolist()),)):
            number, modality, start_s, end_s, box, path, *who = row
            owner = people.get(who[0]) or people.setdefault(who[0], _owner(*who))
            where = None if box is None else Box(*json.loads(box))
            found[number] = Item(number, owner, Path(path), modality, start_s, end_s, where)
        return found

    def vectors(self, ids: Ids) -> Vectors:
        """(n, dim) vectors of these items, as the model made them, in the order of the ids.

        Raises IndexDamaged where one is not of the space's size or not finite.
        """
        wanted = select(item.c.id, item.c.vector).where(item.c.id.in_(listed(ids.tolist())))
        held = {row[0]: row[1] for row in self._raw(wanted)}
        return self.checked_vectors(ids.tolist(), [held[number] for number in ids.tolist()])

    def blobs(self) -> Iterator[tuple[int, bytes]]:
        """Every item's id and the bytes of its vector, unchecked."""
        for row in self._connection.execute(select(item.c.id, item.c.vector)):
            yield row.id, row.vector

    def asked_rows(self, size: int) -> Iterator[Sequence[Row[Any]]]:
        """What is known of files and was asked of them, at most ``size`` rows at a time.

        A file has a row for everything asked of it, at least one; columns are named as in
        :data:`indexer.columns.COLUMNS`, the person by their row number.
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
        wanted = select(*span, *facts, file.c.reason.label("refused"), file.c.lasting)
        return self._streamed(
            wanted.outerjoin_from(file, source).order_by(file.c.id, source.c.id), size
        )

    def item_rows(self, size: int) -> Iterator[Sequence[Row[Any]]]:
        """Every item by number, at most ``size`` at a time.

        Its number, its person's row number, columns named as in
        :data:`indexer.columns.COLUMNS`, and the bytes of its vector, unchecked.
        """
        span = (item.c.modality, file.c.path, item.c.start_s, item.c.end_s, item.c.box)
        wanted = select(item.c.id, item.c.person_id, *span, item.c.vector)
        return self._streamed(wanted.join_from(item, file).order_by(item.c.id), size)

    def items_of(self, key: str, modality: Modality | None = None) -> Ids:
        """Ids of a person's items, in order."""
        wanted = select(item.c.id).join(person).where(person.c.key == key).order_by(item.c.id)
        if modality is not None:
            wanted = wanted.where(item.c.modality == modality)
        return np.array(self._connection.execute(wanted).scalars().all(), np.int64)

    def files_named(self, paths: Iterable[Path]) -> dict[Path, FileRecord]:
        """What is known of these files; those that are not in the catalog are left out."""
        return self._files(file.c.path.in_(listed([printable(path) for path in paths])))

    def files_under(self, gallery: Path) -> dict[Path, FileRecord]:
        """The files that came with a gallery."""
        return self._files(file.c.gallery == str(gallery))

    def files_of(self, key: str) -> dict[Path, FileRecord]:
        """The files something was asked of for a person, refused ones too."""
        theirs = select(source.c.file_id).join(person).where(person.c.key == key)
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
        """Whether a person or a path has this text in it."""
        places = (person.c.key, person.c.name, person.c.gender, person.c.nationality)
        anywhere = [*places, file.c.path, file.c.gallery, file.c.reason, file.c.settings]
        found = (select(1).where(func.instr(place, text) > 0).limit(1) for place in anywhere)
        return any(self._connection.execute(query).first() for query in found) or any(
            text in value for each in self.people().values() for value in each.cells().values()
        )

    def pragma(self, name: str) -> list[tuple[Any, ...]]:
        """The rows of one of SQLite's own checks."""
        return [tuple(row) for row in self._connection.exec_driver_sql(f"PRAGMA {name}")]

    def without_people(self) -> list[int]:
        """Ids of items whose person is not in the catalog."""
        orphans = select(item.c.id).outerjoin(person).where(person.c.id.is_(None))
        return list(self._connection.execute(orphans).scalars())

    @property
    def _driver(self) -> Any:
        """The connection as the driver has it, in the same transaction."""
        return self._connection.connection.driver_connection

    def _streamed(self, wanted: Select[Any], size: int) -> Iterator[Sequence[Row[Any]]]:
        rows = self._connection.execution_options(yield_per=size).execute(wanted)
        return rows.partitions()

    def _count(self, column: Column[int], condition: ColumnElement[bool]) -> int:
        return self._connection.execute(select(func.count(column)).where(condition)).scalar_one()

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

    def _raw(self, wanted: Select[Any]) -> list[tuple[Any, ...]]:
        """Rows as the driver gives them: many at a time, and nothing in them to convert."""
        compiled = wanted.compile(self._connection)
        values = tuple(compiled.params[name] for name in compiled.positiontup or ())
        cursor = self._connection.exec_driver_sql(str(compiled), values).cursor
        return list(cursor.fetchall()) if cursor is not None else []

    def checked_vectors(self, ids: Sequence[int], blobs: Sequence[bytes]) -> Vectors:
        """(n, dim) vectors of items from their bytes; raises IndexDamaged as :meth:`vectors`."""
        size = 4 * self.space.dim
        whole = all(len(blob) == size for blob in blobs)
        vectors = np.frombuffer(b"".join(blobs), "<f4") if whole else np.empty(0, np.float32)
        if not whole or not np.isfinite(vectors).all():
            self._refuse(ids, blobs)
        return vectors.reshape(-1, self.space.dim)

    def _refuse(self, ids: Sequence[int], blobs: Sequence[bytes]) -> None:
        faults = (
            (number, vector_fault(b, self.space.dim)) for number, b in zip(ids, blobs, strict=True)
        )
        number, fault = next(each for each in faults if each[1])
        raise IndexDamaged(
            f"{printable(self._path)}: the vector of item {number} {fault}; "
            f"run avsearch verify to see what else is wrong."
        )


def vector_fault(blob: bytes, dim: int) -> str | None:
    """What is wrong with the bytes of a vector, or None."""
    if len(blob) != 4 * dim:
        return f"has {len(blob)} bytes where its space has {4 * dim}"
    if not np.isfinite(np.frombuffer(blob, "<f4")).all():
        return "is not finite"
    return None


def _among(ids: Ids) -> ColumnElement[bool]:
    """What selects items by their numbers, ascending; numbers that follow each other as a range."""
    if len(ids) and ids[-1] - ids[0] == len(ids) - 1:
        return item.c.id.between(int(ids[0]), int(ids[-1]))
    return item.c.id.in_(listed(ids.tolist()))


def listed(values: Sequence[int] | Sequence[str]) -> Select[tuple[Any]]:
    """Values as a subquery: one parameter, however many they are."""
    return select(column("value")).select_from(func.json_each(json.dumps(values)))


def _person(row: Any) -> Person:
    return Person(row.key, row.name, row.gender, row.nationality, row.attributes)


def _owner(
    key: str, name: str | None, gender: str | None, nationality: str | None, attributes: str
) -> Person:
    """A person from columns as the driver gives them."""
    return Person(key, name, gender, nationality, json.loads(attributes))


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
    )
