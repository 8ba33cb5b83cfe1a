"""Every query that reads the catalog.

The statements are plain SQL for Python's own driver: a search is often all that a process does,
and importing SQLAlchemy takes longer than answering it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import IndexDamaged, printable
from indexer.records import (
    Counts,
    Deletion,
    Duplicate,
    FileRecord,
    Item,
    Person,
    Revision,
    SourceKey,
    Stat,
)
from indexer.types import Box, Ids, Modality, Space, Vectors
from indexer.unicode_names import normalised

NOTE = "note:"  # prefix of the keys of notes in the table meta
LOW_BITS = 2**31 - 1  # the bits of squared ids that are summed, so that no sum overflows

# One parameter for any number of values.
_IN = "IN (SELECT value FROM json_each(?))"
_PERSON = "person.key, person.name, person.gender, person.nationality, person.attributes"
_SOURCES = "source JOIN person ON source.person_id = person.id"


class CatalogReader:
    """One revision of the catalog; valid as long as its transaction.

    Args:
        driver: a connection with an open transaction.
        path: the file of the catalog, for messages.
        space: the space of its vectors.
    """

    def __init__(self, driver: sqlite3.Connection, path: Path, space: Space) -> None:
        self._driver = driver
        self._path = path
        self.space = space

    # The index as a whole

    def revision(self) -> Revision:
        """Return the revision that is being read."""
        newest = "SELECT number, at FROM revision ORDER BY number DESC LIMIT 1"
        return Revision(*self._rows(newest)[0])

    def has_revision(self, past: Revision) -> bool:
        """Return whether ``past`` is this revision or an earlier one of this catalog."""
        same = "SELECT 1 FROM revision WHERE number = ? AND at = ?"
        return bool(self._rows(same, past.number, past.at))

    def notes(self) -> dict[str, str]:
        """Return the notes on the index as a whole."""
        rows = self._rows("SELECT key, value FROM meta")
        return {key.removeprefix(NOTE): value for key, value in rows if key.startswith(NOTE)}

    def counts(self) -> Counts:
        """Return the totals; only database indexes are read, no rows."""
        owners = (
            "SELECT count(DISTINCT person_id), count(*) FILTER (WHERE modality = 'face'), "
            "count(*) FILTER (WHERE modality = 'voice') FROM item"
        )
        ((people, faces, voices),) = self._rows(owners)
        ((files,),) = self._rows("SELECT count(id) FROM file")
        ((refused,),) = self._rows("SELECT count(id) FROM file WHERE status = 'refused'")
        return Counts(people, faces, voices, files - refused, refused)

    def deletions(self) -> list[Deletion]:
        """Return the records of deleted people, the earliest first."""
        rows = self._rows("SELECT at, items, files, bytes_searched, clean FROM receipt ORDER BY id")
        return [
            Deletion(at, items, files, searched or 0, None if clean is None else bool(clean))
            for at, items, files, searched, clean in rows
        ]

    def unfinished_deletions(self) -> list[int]:
        """Return the receipts whose run stopped before the files of the index were cleared."""
        return self._firsts("SELECT id FROM receipt WHERE bytes_searched IS NULL")

    def contains_text(self, text: str) -> bool:
        """Return whether any stored text contains this one, names of tables included."""
        tables = self._rows("SELECT type, name, sql FROM sqlite_master")
        if any(text in (word or "") for _, *words in tables for word in words):
            return True
        for table in (name for kind, name, _ in tables if kind == "table"):
            for _, column, kind, *_ in self.pragma(f"table_info({table})"):
                found = f"SELECT 1 FROM {table} WHERE instr({column}, ?) > 0 LIMIT 1"
                if kind.startswith("VARCHAR") and self._rows(found, text):
                    return True
        # Attributes are stored as JSON, with escapes.
        cells = (cell for who in self.people().values() for cell in who.cells().values())
        return any(text in cell for cell in cells)

    def pragma(self, name: str) -> list[tuple[Any, ...]]:
        """Return the rows of one of SQLite's own checks."""
        return self._rows(f"PRAGMA {name}")

    # People

    def keys_of(self, name: str) -> list[str]:
        """Return the keys equal to a name in any Unicode form, the one in NFC first.

        Only a catalog of an earlier version has more than one.
        """
        exact = self._firsts(f"SELECT key FROM person WHERE key {_IN}", _json([name]))
        if exact and name.isascii():
            return [name]
        alike = [key for key in self._non_ascii_keys() if normalised(key) == normalised(name)]
        return sorted({*exact, *alike}, key=lambda key: key != normalised(key))

    def unnormalised_keys(self) -> list[str]:
        """Return the keys that an earlier version stored in another form than NFC."""
        return [key for key in self._non_ascii_keys() if normalised(key) != key]

    def _non_ascii_keys(self) -> list[str]:
        return self._firsts("SELECT key FROM person WHERE key GLOB '*[^ -~]*'")

    def person(self, key: str) -> Person | None:
        """Return a person by key, or None; people whose files were all refused count too."""
        keys = _json(self.keys_of(key)[:1])
        rows = self._rows(f"SELECT {_PERSON} FROM person WHERE key {_IN}", keys)
        return _person(*rows[0]) if rows else None

    def people(self) -> dict[int, Person]:
        """Return all people by row number, including those whose files were all refused."""
        rows = self._rows(f"SELECT id, {_PERSON} FROM person ORDER BY key")
        return {number: _person(*who) for number, *who in rows}

    # Items

    def item_checksums(self) -> tuple[Ids, Ids, Ids]:
        """Return row numbers of people with items, the sums of the ids, and those of their squares.

        Only the low bits of each square are summed. Reads the index of owners alone.
        """
        squares = f"sum((id * id) & {LOW_BITS})"
        rows = self._rows(f"SELECT person_id, sum(id), {squares} FROM item GROUP BY person_id")
        people, sums, square_sums = np.array(rows, np.int64).reshape(-1, 3).T
        return people, sums, square_sums

    def owners(self) -> tuple[Ids, Ids, NDArray[np.bool_]]:
        """Return the ids of all items, ascending, their people's row numbers, and whether faces."""
        rows = self._rows("SELECT id, person_id, modality = 'face' FROM item ORDER BY id")
        ids, people, faces = np.ascontiguousarray(np.array(rows, np.int64).reshape(-1, 3).T)
        return ids, people, faces.astype(bool)

    def items_of_people(self, people: Ids) -> tuple[Ids, Ids]:
        """Return the ids of the items of people, ascending, and the owner of each.

        ``people`` and owners are row numbers.
        """
        rows = self._rows(
            f"SELECT id, person_id FROM item WHERE person_id {_IN}", _json(people.tolist())
        )
        table = np.array(rows, np.int64).reshape(-1, 2)
        ids, owners = table[np.argsort(table[:, 0])].T
        return np.ascontiguousarray(ids), np.ascontiguousarray(owners)

    def item_content(self, ids: Ids) -> tuple[Ids, Ids, NDArray[np.bool_], Vectors]:
        """Return ids, row numbers of people, whether faces, and vectors (n, dim) of items.

        ``ids`` are ascending. Raises IndexDamaged for a vector of the wrong size or not finite.
        """
        among: str = f"id {_IN}"
        values: list[str | int] = [_json(ids.tolist())]
        if len(ids) and ids[-1] - ids[0] == len(ids) - 1:
            among, values = "id BETWEEN ? AND ?", [int(ids[0]), int(ids[-1])]
        columns = "SELECT id, person_id, modality = 'face', vector FROM item"
        rows = self._rows(f"{columns} WHERE {among} ORDER BY id", *values)
        found, people, faces, blobs = zip(*rows, strict=True) if rows else ((), (), (), ())
        return (
            np.array(found, np.int64),
            np.array(people, np.int64),
            np.array(faces, bool),
            self.checked_vectors(found, blobs),
        )

    def items(self, ids: Ids) -> dict[int, Item]:
        """Return items by id."""
        statement = (
            "SELECT item.id, item.modality, item.start_s, item.end_s, item.box, file.path, "
            f"{_PERSON} FROM item JOIN file ON item.file_id = file.id "
            f"JOIN person ON item.person_id = person.id WHERE item.id {_IN}"
        )
        people: dict[str, Person] = {}
        found = {}
        for row in self._rows(statement, _json(ids.tolist())):
            number, modality, start_s, end_s, box, path, *who = row
            owner = people.get(who[0]) or people.setdefault(who[0], _person(*who))
            place = None if box is None else Box(*json.loads(box))
            found[number] = Item(number, owner, Path(path), modality, start_s, end_s, place)
        return found

    def items_of(self, key: str, modality: Modality | None = None) -> Ids:
        """Return the ids of a person's items, ascending."""
        also, values = ("", ()) if modality is None else (" AND modality = ?", (modality,))
        wanted = (
            "SELECT item.id FROM item JOIN person ON item.person_id = person.id "
            f"WHERE key {_IN}{also} ORDER BY item.id"
        )
        return np.array(self._firsts(wanted, _json(self.keys_of(key)), *values), np.int64)

    def vectors(self, ids: Ids) -> Vectors:
        """Return the (n, dim) vectors of items as the model made them, in the order of ``ids``.

        Raises IndexDamaged for a vector of the wrong size or not finite.
        """
        wanted = f"SELECT id, vector FROM item WHERE id {_IN}"
        held = dict(self._rows(wanted, _json(ids.tolist())))
        return self.checked_vectors(ids.tolist(), [held[number] for number in ids.tolist()])

    def checked_vectors(self, ids: Sequence[int], blobs: Sequence[bytes]) -> Vectors:
        """Return (n, dim) vectors from their bytes; raises IndexDamaged as :meth:`vectors` does."""
        dim = self.space.dim
        whole = all(len(blob) == 4 * dim for blob in blobs)
        vectors = np.frombuffer(b"".join(blobs), "<f4") if whole else np.empty(0, np.float32)
        if not whole or not np.isfinite(vectors).all():
            faults = (vector_fault(blob, dim) for blob in blobs)
            number, fault = next(one for one in zip(ids, faults, strict=True) if one[1])
            raise IndexDamaged(
                f"{printable(self._path)}: the vector of item {number} {fault}; "
                f"run avsearch verify to see what else is wrong."
            )
        return vectors.reshape(-1, dim)

    def vector_blobs(self) -> Iterator[tuple[int, bytes]]:
        """Yield the id of every item and the bytes of its vector, unchecked."""
        for rows in self._batches("SELECT id, vector FROM item", 1024):
            yield from rows

    def orphaned_items(self) -> list[int]:
        """Return the ids of items whose person is not in the catalog."""
        return self._firsts(
            "SELECT item.id FROM item LEFT JOIN person ON item.person_id = person.id "
            "WHERE person.id IS NULL"
        )

    # Files

    def refused(self) -> list[tuple[Path, str]]:
        """Return the files that were refused, in whole or in part, by path, and the reasons."""
        records = self._files(
            "id IN (SELECT id FROM file WHERE status = 'refused' "
            "UNION SELECT file_id FROM source WHERE reason IS NOT NULL)"
        )
        return [refusal for record in records.values() for refusal in record.refusals()]

    def file_notes(self) -> list[tuple[Path, str]]:
        """Return the notes on files that were taken, by path."""
        records = self._files("notes IS NOT NULL").values()
        return [(record.path, note) for record in records for note in record.notes]

    def files_named(self, paths: Iterable[Path]) -> dict[Path, FileRecord]:
        """Return the records of these files; files not in the catalog are left out."""
        return self._files(f"path {_IN}", _json([printable(path) for path in paths]))

    def files_under(self, gallery: Path) -> dict[Path, FileRecord]:
        """Return the files that came with a gallery."""
        return self._files("gallery = ?", str(gallery))

    def files_of(self, key: str) -> dict[Path, FileRecord]:
        """Return the files with sources of a person, refused ones too."""
        return self.files_of_people(self.keys_of(key))

    def files_of_people(self, keys: Collection[str]) -> dict[Path, FileRecord]:
        """Return the files with sources of any of these people, refused ones too."""
        return self._files(f"id IN (SELECT file_id FROM {_SOURCES} WHERE key {_IN})", _json(keys))

    def files_sized(self, sizes: Collection[int]) -> list[FileRecord]:
        """Return the files that were taken and have one of these sizes in bytes."""
        return list(self._files(f"status = 'ok' AND size {_IN}", _json(sizes)).values())

    def duplicates(self) -> list[Duplicate]:
        """Return files with the same bytes but different people, by path."""
        several = "SELECT size, sha256 FROM file GROUP BY size, sha256 HAVING count(*) > 1"
        alike: dict[str, list[FileRecord]] = {}
        for record in self._files(f"status = 'ok' AND (size, sha256) IN ({several})").values():
            alike.setdefault(record.sha256, []).append(record)
        found = []
        for records in alike.values():
            people = [{who for who, *_ in record.source_keys} for record in records]
            if any(each != people[0] for each in people):
                paths = tuple(record.path for record in records)
                found.append(Duplicate(paths, tuple(sorted(set().union(*people)))))
        return found

    def source_rows(self, size: int) -> Iterator[dict[str, list[Any]]]:
        """Yield the columns of all files with their sources, at most ``size`` rows at a time.

        A file has one row for each source, and at least one. Columns are named as in
        :data:`indexer.tables.parquet.COLUMNS`; ``person_id`` is the person's row number.
        """
        return self._columns(
            "SELECT person_id, modality, path, start_s, end_s, source.reason AS fault, gallery, "
            "size, mtime_ns, sha256, settings, file.reason AS refused, lasting, notes "
            "FROM file LEFT JOIN source ON source.file_id = file.id ORDER BY file.id, source.id",
            size,
        )

    def item_rows(self, size: int) -> Iterator[dict[str, list[Any]]]:
        """Yield the columns of all items by id, at most ``size`` rows at a time.

        Columns are named as in :data:`indexer.tables.parquet.COLUMNS`, besides ``id`` and
        ``person_id``, the person's row number. ``vector`` holds unchecked bytes.
        """
        return self._columns(
            "SELECT item.id AS id, person_id, modality, path, start_s, end_s, box, vector "
            "FROM item JOIN file ON item.file_id = file.id ORDER BY item.id",
            size,
        )

    def _files(self, condition: str, *values: str | int) -> dict[Path, FileRecord]:
        """Return the files that meet a condition on the table file, by path."""
        sources: dict[int, dict[SourceKey, str | None]] = {}
        for number, who, modality, start_s, end_s, reason in self._rows(
            f"SELECT file_id, key, modality, start_s, end_s, reason FROM {_SOURCES} "
            f"WHERE file_id IN (SELECT id FROM file WHERE {condition})",
            *values,
        ):
            sources.setdefault(number, {})[who, modality, start_s, end_s] = reason
        rows = self._rows(
            "SELECT id, path, gallery, size, mtime_ns, sha256, settings, reason, lasting, notes "
            f"FROM file WHERE {condition} ORDER BY path",
            *values,
        )
        return {Path(row[1]): _file(row, sources.get(row[0], {})) for row in rows}

    # Statements

    def _rows(self, statement: str, *values: str | int) -> list[Any]:
        """Return all rows of an answer: a cursor left open would keep its revision."""
        return self._driver.execute(statement, values).fetchall()

    def _firsts(self, statement: str, *values: str | int) -> list[Any]:
        """Return the first column of an answer."""
        return [row[0] for row in self._rows(statement, *values)]

    def _batches(self, statement: str, size: int) -> Iterator[list[Any]]:
        with contextlib.closing(self._driver.execute(statement)) as cursor:
            while rows := cursor.fetchmany(size):
                yield rows

    def _columns(self, statement: str, size: int) -> Iterator[dict[str, list[Any]]]:
        with contextlib.closing(self._driver.execute(statement)) as cursor:
            names = [column[0] for column in cursor.description]
            while rows := cursor.fetchmany(size):
                yield dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def vector_fault(blob: bytes, dim: int) -> str | None:
    """Return what is wrong with the bytes of a vector, or None."""
    if len(blob) != 4 * dim:
        return f"has {len(blob)} bytes where its space has {4 * dim}"
    if not np.isfinite(np.frombuffer(blob, "<f4")).all():
        return "is not finite"
    return None


def _json(values: Collection[str] | Collection[int]) -> str:
    """Return values as the parameter of :data:`_IN`."""
    return json.dumps(list(values))


def _person(
    key: str, name: str | None, gender: str | None, nationality: str | None, attributes: str
) -> Person:
    return Person(key, name, gender, nationality, json.loads(attributes))


def _file(row: Sequence[Any], sources: Mapping[SourceKey, str | None]) -> FileRecord:
    _, path, gallery, size, mtime_ns, sha256, settings, reason, permanent, notes = row
    return FileRecord(
        path=Path(path),
        gallery=Path(gallery),
        stat=Stat(size, mtime_ns),
        sha256=sha256,
        settings=settings,
        source_keys=frozenset(sources),
        reason=reason,
        permanent=bool(permanent),
        faults=frozenset((key, fault) for key, fault in sources.items() if fault is not None),
        notes=tuple((notes or "").splitlines()),
    )
