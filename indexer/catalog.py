"""The catalog: everything the index knows, in one SQLite file.

SQLite is the truth, vectors included. A :class:`Reader` sees one revision from its first
question to its last; a :class:`indexer.writer.Writer` makes the next revision in one
transaction. Deleted content is overwritten with zeros (``secure_delete``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, select

from indexer import migrations, schema
from indexer.database import (
    ADVICE,
    check_length,
    engine_of,
    in_words,
    remove,
    undisturbed,
    writable,
)
from indexer.errors import AvsearchError, BadRequest, IndexDamaged, LaterIndex, printable
from indexer.lock import only_writer
from indexer.reader import Reader
from indexer.types import Space
from indexer.writer import Writer

NAME = "catalog.sqlite"


class Catalog:
    """One catalog file, open. Made by :meth:`create` or :meth:`open`."""

    def __init__(self, path: Path, engine: Engine, space: Space) -> None:
        self.path = path
        self.space = space
        self._engine = engine

    @classmethod
    def create(cls, path: Path, space: Space, notes: Mapping[str, str]) -> Catalog:
        """A new catalog of no items; it appears under its name only when it is whole.

        The caller holds the write lock and knows that there is none yet.
        """
        unfinished = path.with_suffix(".new")
        for database in (unfinished, path):
            remove(database)
        with in_words(path):
            engine = engine_of(unfinished, new=True)
            _set_up(engine, space, notes)
            engine.dispose()
        unfinished.replace(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Catalog:
        """The catalog in a file that is there.

        One with the tables of an earlier version is brought to those of this one, once a backup
        lies beside it: :func:`indexer.migrations.back_up`. Raises IndexDamaged for a file that
        is not SQLite, is cut short, or has other tables, and LaterIndex for tables of a later
        version; the file stays as it is. Raises IndexBusy and BadRequest where the tables are
        of an earlier version and somebody else writes, or nothing may be written.
        """
        check_length(path)
        engine = engine_of(path)
        try:
            with in_words(path), undisturbed(path):
                _bring_forward(engine, path)
                with engine.begin() as connection:
                    space = _space(connection, path)
        except AvsearchError:
            engine.dispose()
            raise
        return cls(path, engine, space)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Reader]:
        """Ask one revision, whatever is being written meanwhile.

        Raises IndexBusy in the one case in which that cannot be had: somebody begins to write
        while somebody who may not write to the folder, and so can leave no lock there, reads.
        """
        with in_words(self.path), undisturbed(self.path), self._engine.begin() as connection:
            yield Reader(connection, self.path, self.space)

    @contextlib.contextmanager
    def write(self, what: str) -> Iterator[Writer]:
        """Make the next revision: all of it or, if anything is raised, none of it.

        ``what`` is a word for the history, and never holds a person's name. The caller holds
        the write lock.
        """
        with in_words(self.path), self._engine.begin() as connection:
            writer = Writer(connection, self.path, self.space)
            yield writer
            writer.drop_people_without_files()
            writer.bump_revision(what)

    def prove(self, number: int, bytes_searched: int, *, clean: bool | None) -> None:
        """Complete the note of a forgetting; what the index answers with stays as it is."""
        with in_words(self.path), self._engine.begin() as connection:
            Writer(connection, self.path, self.space).prove(number, bytes_searched, clean=clean)
        self._outside_transactions("PRAGMA wal_checkpoint(TRUNCATE)")

    def compact(self) -> None:
        """Write the file anew without free pages, and empty the write-ahead log."""
        self._outside_transactions("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")

    def _outside_transactions(self, *statements: str) -> None:
        with in_words(self.path), contextlib.closing(self._engine.raw_connection()) as raw:
            cursor = raw.cursor()
            for statement in statements:
                cursor.execute(statement)
            cursor.close()


def _set_up(engine: Engine, space: Space, notes: Mapping[str, str]) -> None:
    with contextlib.closing(engine.raw_connection()) as raw:
        raw.cursor().execute("PRAGMA journal_mode = WAL")
    facts = {"version": schema.VERSION, "space": json.dumps(dataclasses.asdict(space))}
    rows = [{"key": key, "value": value} for key, value in facts.items()]
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.meta), rows)
        connection.execute(insert(schema.version).values(version_num=schema.VERSION))
        writer = Writer(connection, Path(), space)
        writer.put_notes(notes)
        writer.bump_revision("create")


def _bring_forward(engine: Engine, path: Path) -> None:
    """Give a catalog of an earlier version the tables of this one, all of them or none."""
    if not _is_earlier(engine, path):
        return
    if not writable(path):
        raise BadRequest(
            f"{printable(path)} was made by an earlier version of avsearch and must be brought "
            "to this one first: run avsearch info on it once as somebody who may write there."
        )
    with only_writer(path.parent):
        if _is_earlier(engine, path):  # still: another may have been quicker
            migrations.back_up(path, str(_version(engine, path)))
            with engine.begin() as connection:
                migrations.upgrade(connection)


def _is_earlier(engine: Engine, path: Path) -> bool:
    """Whether the tables are of an earlier version; LaterIndex for those of a later one."""
    found, known = _version(engine, path), int(schema.VERSION)
    if found > known:
        raise LaterIndex(
            f"{printable(path)} was made by a later version of avsearch (its tables are of "
            f"version {found}, the latest known here is {known}); use that version or a newer one."
        )
    return found < known


def _version(engine: Engine, path: Path) -> int:
    with engine.begin() as connection:
        tables = _tables(connection)
        if not tables.issuperset(migrations.FIRST_TABLES):
            raise _foreign(path)
        kept = select(schema.meta.c.value).where(schema.meta.c.key == "version")
        if schema.version.name in tables:
            kept = select(schema.version.c.version_num)
        said = connection.execute(kept).scalar() or ""
    if not said.isdecimal():
        raise IndexDamaged(f"{printable(path)} does not say the version of its tables; {ADVICE}.")
    return int(said)


def _space(connection: Connection, path: Path) -> Space:
    """The space written in a catalog, once its tables are seen to be ours."""
    if not _tables(connection).issuperset(schema.metadata.tables):
        raise _foreign(path)
    facts = {row.key: row.value for row in connection.execute(select(schema.meta))}
    try:
        return Space(**json.loads(facts["space"]))
    except (KeyError, TypeError, ValueError) as error:
        raise IndexDamaged(f"{printable(path)} does not say its space; {ADVICE}.") from error


def _tables(connection: Connection) -> set[str]:
    return set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())


def _foreign(path: Path) -> IndexDamaged:
    return IndexDamaged(f"{printable(path)} is a database, but not an index of avsearch; {ADVICE}.")
