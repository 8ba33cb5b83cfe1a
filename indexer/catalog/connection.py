"""One SQLite file, opened: connections of its driver, their locks, and its errors in words."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from indexer.errors import AvsearchError, BadRequest, IndexBusy, IndexDamaged, printable

WAIT_S = 30  # how long to wait for another connection to let go of the file
ADVICE = "restore it from a copy, or move its folder away and run avsearch index again"

_FILES = ("", "-wal", "-shm", "-journal")  # what SQLite adds to a database's name for its files
_PRAGMAS = ("PRAGMA foreign_keys = ON", "PRAGMA secure_delete = ON")
_opened: set[Path] = set()  # the databases that this process has connected to
_abandoned: list[object] = []  # what a fork inherited; SQLite forbids even to close it


class Connections:
    """Connections to read a database with, kept to be used again; threads may share one object."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spare: list[sqlite3.Connection] = []
        self._process = os.getpid()
        self._closed = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction: whatever is written meanwhile, what is read is of one moment."""
        connection = self._taken()
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.rollback()
            # What was read without locks may be of the past: such a connection is not used twice.
            if writable(self._path) and not self._closed:
                self._spare.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Let go of the file, as soon as nobody reads any more."""
        self._closed = True
        while self._spare and self._process == os.getpid():
            self._spare.pop().close()

    def _taken(self) -> sqlite3.Connection:
        if self._process != os.getpid():
            abandon(self._spare)
            self._spare, self._process = [], os.getpid()
        try:  # not asked first whether there is one: another thread may take it meanwhile
            return self._spare.pop()
        except IndexError:
            return connect(self._path)


def connect(path: Path, *, new: bool = False) -> sqlite3.Connection:
    """A connection that begins no transaction by itself; ``new`` makes a file that is missing.

    Where the folder may not be written to and nobody writes, the file is read without locks.
    From now on no code of this process may open and close the file by other means: that takes
    away every lock that SQLite holds on it here, and others then overwrite what is written.
    """
    _opened.add(path)
    mode = "rwc" if new else "ro&immutable=1" if _lockless(path) else "rw"
    address = f"file:{urllib.parse.quote(os.fsencode(path))}?mode={mode}"
    connection = sqlite3.connect(
        address, uri=True, timeout=WAIT_S, isolation_level=None, check_same_thread=False
    )
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    return connection


def writable(path: Path) -> bool:
    """Whether the folder of a database takes the files that SQLite keeps beside it."""
    return os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def remove(path: Path) -> None:
    """Delete a database with its logs: SQLite would play one left behind into a new file."""
    for suffix in _FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def abandon(inherited: object) -> None:
    """Keep connections that a fork inherited out of use for as long as its process lives."""
    _abandoned.append(inherited)


def is_open_here(path: Path) -> bool:
    """Whether a path leads to a database that this process uses, or to a file beside one."""
    files = (each.with_name(each.name + suffix) for each in _opened.copy() for suffix in _FILES)
    return any(_is_same(path, file) for file in files)


def check_length(driver: sqlite3.Connection, path: Path) -> None:
    """Raises IndexDamaged for a file that ends within a page, which SQLite takes for zeros."""
    (page,) = driver.execute("PRAGMA page_size").fetchone()
    # The log may hold the page that a full disk did not take, or that is written just now.
    if not _has_log(path) and path.stat().st_size % page and not _has_log(path):
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
    except sqlite3.Error as error:
        said = _sentence(path, error)
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


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _state(path: Path) -> tuple[object, ...]:
    found = path.stat()
    return (found.st_ino, found.st_size, found.st_mtime_ns, _lockless(path))


_LITTLE = 1 << 20  # bytes left on a disk on which a file may not have found room
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_UNREADABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def _closed_to_us(path: Path) -> str:
    """The permissions that stand in the way, as they are; empty where none does."""
    if path.exists() and not os.access(path, os.R_OK):
        return "; its permissions do not let it be read"
    if path.exists() and not os.access(path, os.W_OK):
        return "; its permissions do not let it be written to"
    return "" if writable(path) else "; its folder may not be written to"


def _sentence(path: Path, error: sqlite3.Error) -> AvsearchError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code
    if code in _DAMAGED:
        return IndexDamaged(f"{printable(path)} is damaged or not a database ({error}); {ADVICE}.")
    if code in _UNREADABLE and _log(path).exists() and not writable(path):
        return BadRequest(
            f"{printable(path)} has a log of changes that only somebody who may write there can "
            "take in; have them run avsearch info on it once."
        )
    if code in _UNREADABLE:
        return BadRequest(f"{printable(path)} cannot be opened ({error}){_closed_to_us(path)}.")
    if code == sqlite3.SQLITE_FULL:
        return BadRequest(f"{printable(path)}: the disk is full; make room and run again.")
    if code == sqlite3.SQLITE_IOERR:
        said = f"could not be read or written ({error}, {error.sqlite_errorname})"
        left = shutil.disk_usage(path.parent).free
        room = f"its disk has {left:,} bytes left, make room and " if left < _LITTLE else ""
        return BadRequest(f"{printable(path)} {said}; {room}run again.")
    if code == sqlite3.SQLITE_BUSY:
        return IndexBusy(f"{printable(path)} is being written to by another process; try again.")
    return None
