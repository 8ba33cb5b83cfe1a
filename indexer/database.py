"""One SQLite file, opened: its connections, their locks, and its errors in words."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from indexer.errors import AvsearchError, BadRequest, IndexBusy, IndexDamaged, printable

WAIT_S = 30  # how long to wait for another connection to let go of the file
ADVICE = "restore it from a copy, or move its folder away and run avsearch index again"

_PAGE_SIZE_AT = 16  # in the header of every file of SQLite, two bytes; 1 stands for 65,536
_PRAGMAS = ("PRAGMA foreign_keys = ON", "PRAGMA secure_delete = ON")


def engine_of(path: Path, *, new: bool = False) -> Engine:
    """Connections to a database; ``new`` makes the file where there is none.

    Where the folder may not be written to and nobody writes, the file is read without locks.
    """
    engine = create_engine(
        "sqlite://",
        creator=_connector(path, new=new),
        # What was read without locks may be of the past: such a connection is not used twice.
        poolclass=QueuePool if writable(path) else NullPool,
        json_serializer=lambda value: json.dumps(value, ensure_ascii=False),
    )
    event.listen(engine, "begin", _begin)
    return engine


def writable(path: Path) -> bool:
    """Whether the folder of a database takes the files that SQLite keeps beside it."""
    return os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def remove(path: Path) -> None:
    """Delete a database with its logs: SQLite would play one left behind into a new file."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def check_length(path: Path) -> None:
    """Raises IndexDamaged for a file that ends within a page, which SQLite takes for zeros."""
    if _has_log(path) or not os.access(path, os.R_OK):
        return  # the log may hold the page that a full disk did not take
    with path.open("rb") as file:
        header = file.read(_PAGE_SIZE_AT + 2)
    page = int.from_bytes(header[_PAGE_SIZE_AT:], "big")
    if page and path.stat().st_size % (page if page > 1 else 1 << 16):
        raise IndexDamaged(f"{printable(path)} is cut short; {ADVICE}.")


@contextlib.contextmanager
def undisturbed(path: Path) -> Iterator[None]:
    """See to it that a database read without locks stays as it is; IndexBusy if it did not."""
    if not _lockless(path):
        yield
        return
    before = _state(path)
    try:
        yield
    finally:
        if _state(path) != before:
            raise IndexBusy(f"{printable(path)} was written to while it was read; ask again.")


@contextlib.contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Turn what SQLite raises for reasons a user can cause into sentences."""
    try:
        yield
    except (sqlite3.Error, DBAPIError) as error:
        said = _sentence(path, error.orig if isinstance(error, DBAPIError) else error)
        if said is None:
            raise
        raise said from error


def _lockless(path: Path) -> bool:
    """Whether SQLite finds no place for the locks of a reader, and no writer who made one."""
    return not writable(path) and not _log(path).exists()


def _has_log(path: Path) -> bool:
    try:
        return _log(path).stat().st_size > 0
    except FileNotFoundError:
        return False


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _state(path: Path) -> tuple[object, ...]:
    found = path.stat()
    return (found.st_ino, found.st_size, found.st_mtime_ns, _lockless(path))


def _connector(path: Path, *, new: bool) -> Callable[[], sqlite3.Connection]:
    address = f"file:{urllib.parse.quote(os.fsencode(path))}?mode="

    def connect() -> sqlite3.Connection:
        mode = "rwc" if new else "ro&immutable=1" if _lockless(path) else "rw"
        connection = sqlite3.connect(
            address + mode, uri=True, timeout=WAIT_S, isolation_level=None, check_same_thread=False
        )
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        return connection

    return connect


def _begin(connection: Connection) -> None:
    """Begin in SQLite too: Python's driver would wait for the first change."""
    raw: Any = connection.connection.driver_connection
    raw.execute("BEGIN")


_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_UNREADABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def _sentence(path: Path, error: Any) -> AvsearchError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code
    if code in _DAMAGED:
        return IndexDamaged(f"{printable(path)} is damaged or not a database ({error}); {ADVICE}.")
    if code in _UNREADABLE and _log(path).exists() and not writable(path):
        return BadRequest(
            f"{printable(path)} has a log of changes that only somebody who may write there can "
            "take in; have them run avsearch info on it once."
        )
    if code in _UNREADABLE:
        return BadRequest(f"{printable(path)} cannot be opened ({error}); check its permissions.")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return BadRequest(
            f"{printable(path)}: the disk is full or failing ({error}); make room and run again."
        )
    if code == sqlite3.SQLITE_BUSY:
        return IndexBusy(f"{printable(path)} is being written to by another process; try again.")
    return None
