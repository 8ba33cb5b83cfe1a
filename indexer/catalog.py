"""The catalog: everything the index knows, in one SQLite file.

SQLite is the truth, vectors included. A :class:`Reader` sees one revision from its first
question to its last; a :class:`indexer.writer.Writer` makes the next revision in one
transaction. Deleted content is overwritten with zeros (``secure_delete``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from indexer import schema
from indexer.errors import AvsearchError, BadRequest, IndexBusy, IndexDamaged, printable
from indexer.reader import Reader
from indexer.types import Space
from indexer.writer import Writer

NAME = "catalog.sqlite"
WAIT_S = 30  # how long to wait for another connection to let go of the file

_PRAGMAS = ("PRAGMA foreign_keys = ON", "PRAGMA secure_delete = ON")


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
            _remove(database)
        with _in_words(path):
            engine = _engine(unfinished, mode="rwc")
            _set_up(engine, space, notes)
            engine.dispose()
        unfinished.replace(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Catalog:
        """The catalog in a file that is there.

        Raises IndexDamaged for a file that is not SQLite, is cut short, or has other tables.
        The file stays as it is.
        """
        engine = _engine(path, mode=_mode(path))
        try:
            with _in_words(path), engine.begin() as connection:
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
        """Ask one revision, whatever is being written meanwhile."""
        with _in_words(self.path), self._engine.begin() as connection:
            yield Reader(connection, self.path, self.space)

    @contextlib.contextmanager
    def write(self, what: str) -> Iterator[Writer]:
        """Make the next revision: all of it or, if anything is raised, none of it.

        ``what`` is a word for the history, and never holds a person's name. The caller holds
        the write lock.
        """
        with _in_words(self.path), self._engine.begin() as connection:
            writer = Writer(connection, self.path, self.space)
            yield writer
            writer.drop_people_without_files()
            writer.bump_revision(what)

    def compact(self) -> None:
        """Write the file anew without free pages, and empty the write-ahead log."""
        with _in_words(self.path), contextlib.closing(self._engine.raw_connection()) as raw:
            cursor = raw.cursor()
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.close()


def _mode(path: Path) -> str:
    """How to open: a disk that nobody can write to leaves SQLite no place for its locks."""
    read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    return "ro&immutable=1" if read_only and not _log(path).exists() else "rw"


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _engine(path: Path, mode: str) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=_connector(path, mode),
        poolclass=QueuePool,
        json_serializer=lambda value: json.dumps(value, ensure_ascii=False),
    )
    event.listen(engine, "begin", _begin)
    return engine


def _connector(path: Path, mode: str) -> Callable[[], sqlite3.Connection]:
    uri = f"file:{urllib.parse.quote(os.fsencode(path))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=WAIT_S, isolation_level=None, check_same_thread=False
        )
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        return connection

    return connect


def _begin(connection: Connection) -> None:
    """Begin in SQLite too: Python's driver would wait for the first change."""
    connection.exec_driver_sql("BEGIN")


def _remove(database: Path) -> None:
    """Delete a database with its log: SQLite would play a log left behind into a new file."""
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def _set_up(engine: Engine, space: Space, notes: Mapping[str, str]) -> None:
    with contextlib.closing(engine.raw_connection()) as raw:
        raw.cursor().execute("PRAGMA journal_mode = WAL")
    facts = {"version": schema.VERSION, "space": json.dumps(dataclasses.asdict(space))}
    rows = [{"key": key, "value": value} for key, value in facts.items()]
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.meta), rows)
        writer = Writer(connection, Path(), space)
        writer.put_notes(notes)
        writer.bump_revision("create")


def _space(connection: Connection, path: Path) -> Space:
    """The space written in a catalog, once its tables are seen to be ours."""
    found = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
    if not found.issuperset(schema.metadata.tables):
        raise IndexDamaged(f"{_name(path)} is a database, but not an index of avsearch; {_ADVICE}.")
    facts = {row.key: row.value for row in connection.execute(select(schema.meta))}
    if facts.get("version") != schema.VERSION:
        raise IndexDamaged(
            f"{_name(path)} was made by another version of avsearch (its tables are of version "
            f"{facts.get('version')}, these of {schema.VERSION}); {_ADVICE}."
        )
    try:
        return Space(**json.loads(facts["space"]))
    except (KeyError, TypeError, ValueError) as error:
        raise IndexDamaged(f"{_name(path)} does not say its space; {_ADVICE}.") from error


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Turn what SQLite raises for reasons a user can cause into sentences."""
    try:
        yield
    except (sqlite3.Error, DBAPIError) as error:
        said = _sentence(path, error.orig if isinstance(error, DBAPIError) else error)
        if said is None:
            raise
        raise said from error


_ADVICE = "restore it from a copy, or move its folder away and run avsearch index again"

_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_UNREADABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def _sentence(path: Path, error: Any) -> AvsearchError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code
    if code in _DAMAGED:
        return IndexDamaged(f"{_name(path)} is damaged or not a database ({error}); {_ADVICE}.")
    if code in _UNREADABLE:
        return BadRequest(f"{_name(path)} cannot be opened ({error}); check its permissions.")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return BadRequest(f"{_name(path)}: the disk is full or failing ({error}).")
    if code == sqlite3.SQLITE_BUSY:
        return IndexBusy(f"{_name(path)} is being written to by another process; try again.")
    return None


def _name(path: Path) -> str:
    return printable(path)
