"""Questions to one revision of the catalog."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, Select, column, func, select

from indexer.errors import IndexDamaged, printable
from indexer.records import Asked, Counts, FileRecord, Item, Person, Revision, Stat
from indexer.schema import NOTE, file, item, meta, person, revision, source
from indexer.types import Box, Ids, Modality, Space, Vectors


class Reader:
    """The catalog as of one revision; lives as long as its transaction."""

    def __init__(self, connection: Connection, path: Path, space: Space) -> None:
        self._connection = connection
        self._path = path
        self.space = space

    def revision(self) -> Revision:
        """The state that is being read."""
        newest = select(revision.c.number, revision.c.at).order_by(revision.c.number.desc())
        row = self._connection.execute(newest.limit(1)).one()
        return Revision(row.number, row.at)

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
        """Totals."""
        faces, voices = (self._count(item, item.c.modality == m) for m in ("face", "voice"))
        people = select(func.count(item.c.person_id.distinct()))
        return Counts(
            people=self._connection.execute(people).scalar_one(),
            faces=faces,
            voices=voices,
            files=self._count(file, file.c.status == "ok"),
            refused=self._count(file, file.c.status == "refused"),
        )

    def people(self) -> dict[int, Person]:
        """Everybody by row number, those whose files were all refused too."""
        rows = self._connection.execute(select(person).order_by(person.c.key))
        return {row.id: _person(row) for row in rows}

    def refused(self) -> list[tuple[Path, str]]:
        """The files that were refused, by path, and why."""
        wanted = select(file.c.path, file.c.reason).where(file.c.status == "refused")
        rows = self._connection.execute(wanted.order_by(file.c.path))
        return [(Path(row.path), row.reason) for row in rows]

    def owners(self) -> tuple[Ids, Ids, Sequence[bool]]:
        """Of every item, by number: its id, its person's row number, whether it is a face."""
        wanted = select(item.c.id, item.c.person_id, item.c.modality == "face").order_by(item.c.id)
        rows = self._connection.execute(wanted).all()
        ids, people, faces = zip(*rows, strict=True) if rows else ((), (), ())
        return np.array(ids, np.int64), np.array(people, np.int64), faces

    def items(self, ids: Ids, people: dict[int, Person]) -> dict[int, Item]:
        """What is known of these items."""
        wanted = select(item, file.c.path).join(file).where(item.c.id.in_(listed(ids.tolist())))
        return {
            row.id: _item(row, people[row.person_id]) for row in self._connection.execute(wanted)
        }

    def vectors(self, ids: Ids) -> Vectors:
        """(n, dim) vectors of these items, as the model made them, in the order of the ids.

        Raises IndexDamaged where one is not of the space's size or not finite.
        """
        wanted = select(item.c.id, item.c.vector).where(item.c.id.in_(listed(ids.tolist())))
        held = {row.id: row.vector for row in self._connection.execute(wanted)}
        return self.checked_vectors(ids, [held[number] for number in ids.tolist()])

    def checked_vectors(self, ids: Ids, blobs: Sequence[bytes]) -> Vectors:
        """(n, dim) vectors of items from their bytes; raises IndexDamaged as :meth:`vectors`."""
        out = np.empty((len(ids), self.space.dim), np.float32)
        for at, (number, blob) in enumerate(zip(ids.tolist(), blobs, strict=True)):
            out[at] = self._vector(number, blob)
        return out

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

    def _streamed(self, wanted: Select[Any], size: int) -> Iterator[Sequence[Row[Any]]]:
        rows = self._connection.execution_options(yield_per=size).execute(wanted)
        return rows.partitions()

    def _count(self, table: Any, condition: ColumnElement[bool]) -> int:
        counted = select(func.count()).select_from(table).where(condition)
        return self._connection.execute(counted).scalar_one()

    def _files(self, condition: ColumnElement[bool]) -> dict[Path, FileRecord]:
        asked = self._asked(select(file.c.id).where(condition))
        rows = self._connection.execute(select(file).where(condition).order_by(file.c.path))
        return {Path(row.path): _file(row, asked.get(row.id, [])) for row in rows}

    def _asked(self, files: Select[tuple[int]]) -> dict[int, list[Asked]]:
        columns = (source.c.modality, source.c.start_s, source.c.end_s)
        wanted = select(source.c.file_id, person.c.key, *columns).join(person)
        asked: dict[int, list[Asked]] = {}
        for number, *one in self._connection.execute(wanted.where(source.c.file_id.in_(files))):
            asked.setdefault(number, []).append((one[0], one[1], one[2], one[3]))
        return asked

    def _vector(self, number: int, blob: bytes) -> Vectors:
        fault = vector_fault(blob, self.space.dim)
        if fault:
            raise IndexDamaged(
                f"{printable(self._path)}: the vector of item {number} {fault}; "
                f"run avsearch verify to see what else is wrong."
            )
        return np.frombuffer(blob, "<f4")


def vector_fault(blob: bytes, dim: int) -> str | None:
    """What is wrong with the bytes of a vector, or None."""
    if len(blob) != 4 * dim:
        return f"has {len(blob)} bytes where its space has {4 * dim}"
    if not np.isfinite(np.frombuffer(blob, "<f4")).all():
        return "is not finite"
    return None


def listed(values: Sequence[int] | Sequence[str]) -> Select[tuple[Any]]:
    """Values as a subquery: one parameter, however many they are."""
    return select(column("value")).select_from(func.json_each(json.dumps(values)))


def _person(row: Row[Any]) -> Person:
    return Person(row.key, row.name, row.gender, row.nationality, row.attributes)


def _item(row: Row[Any], owner: Person) -> Item:
    box = None if row.box is None else Box(*row.box)
    return Item(row.id, owner, Path(row.path), row.modality, row.start_s, row.end_s, box)


def _file(row: Row[Any], asked: list[Asked]) -> FileRecord:
    return FileRecord(
        path=Path(row.path),
        gallery=Path(row.gallery),
        stat=Stat(row.size, row.mtime_ns),
        sha256=row.sha256,
        settings=row.settings,
        asked=frozenset(asked),
        reason=row.reason,
        lasting=row.lasting,
    )
