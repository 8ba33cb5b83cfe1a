"""SQLite connections and their locks, read-only folders, and SQLite errors as sentences."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from indexer.errors import AvsearchError, BadRequest, IndexBusy, IndexDamaged, printable

WAIT_S = 30  # timeout for another connection to release the file
ADVICE = "restore it from a copy, or move its folder away and run avsearch index again"

_FILES = ("", "-wal", "-shm", "-journal")  # suffixes of the files of a database
_PRAGMAS = ("PRAGMA foreign_keys = ON", "PRAGMA secure_delete = ON")
_opened: set[Path] = set()  # databases this process has connected to
# Connections inherited by a fork, held for the life of the process: SQLite forbids to close them.
_abandoned: list[object] = []


class Connections:
    """A pool of connections for reading one database; threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spare: list[sqlite3.Connection] = []
        self._process = os.getpid()
        self._closed = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection with an open transaction, which later writes do not change."""
        if self._process != os.getpid():
            abandon(self._spare)
            self._spare, self._process = [], os.getpid()
        try:  # an emptiness check first would race with other threads
            connection = self._spare.pop()
        except IndexError:
            connection = connect(self._path)
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.rollback()
            # A connection that reads without locks may show an old state, so it is not reused.
            if writable(self._path) and not self._closed:
                self._spare.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close the spare connections; those in use close when their reader ends."""
        self._closed = True
        while self._spare and self._process == os.getpid():
            self._spare.pop().close()


def connect(path: Path, *, new: bool = False) -> sqlite3.Connection:
    """Open a connection that begins no transaction by itself.

    In a read-only folder without a writer, the file is read without locks. From now on no code of
    this process may open and close the file by other means: that would release every lock that
    SQLite holds on it here, and other processes would overwrite what is being written.

    Args:
        path: the file of the database.
        new: create the file if it is missing.
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
    """Return whether SQLite may create its files in the folder of a database."""
    return os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def remove(path: Path) -> None:
    """Delete a database with its logs, which SQLite would otherwise replay into a new file."""
    for suffix in _FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def abandon(inherited: object) -> None:
    """Hold connections inherited by a fork for the life of the process, unused and unclosed."""
    _abandoned.append(inherited)


def is_open_here(path: Path) -> bool:
    """Return whether a path is a file of a database that this process has connected to."""
    for database in _opened.copy():
        for suffix in _FILES:
            with contextlib.suppress(OSError):
                if path.samefile(database.with_name(database.name + suffix)):
                    return True
    return False


def check_length(driver: sqlite3.Connection, path: Path) -> None:
    """Raise IndexDamaged for a file that ends within a page, which SQLite reads as zeros."""
    (page,) = driver.execute("PRAGMA page_size").fetchone()
    # The log may hold a page that a full disk did not take or that is just being written.
    if not _has_log(path) and path.stat().st_size % page and not _has_log(path):
        raise IndexDamaged(f"{printable(path)} is cut short; {ADVICE}.")


@contextlib.contextmanager
def require_unchanged(path: Path) -> Iterator[None]:
    """Raise IndexBusy at the end if a database that is read without locks was written to."""
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
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite errors that a user can cause into errors with a sentence."""
    try:
        yield
    except sqlite3.Error as error:
        translated = _translated(path, error)
        if translated is None:
            raise
        raise translated from error


def _lockless(path: Path) -> bool:
    """Return whether a reader can hold no lock: a read-only folder without a writer."""
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


_LITTLE = 1 << 20  # free bytes below which the disk counts as full
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_UNREADABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def _denied(path: Path) -> str:
    """Return which permission is missing, empty if none is."""
    if path.exists() and not os.access(path, os.R_OK):
        return "; its permissions do not let it be read"
    if path.exists() and not os.access(path, os.W_OK):
        return "; its permissions do not let it be written to"
    return "" if writable(path) else "; its folder may not be written to"


def _translated(path: Path, error: sqlite3.Error) -> AvsearchError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code
    if code in _DAMAGED:
        return IndexDamaged(f"{printable(path)} is damaged or not a database ({error}); {ADVICE}.")
    if code in _UNREADABLE and _log(path).exists() and not writable(path):
        return BadRequest(
            f"{printable(path)} has a log of changes that only a user who may write there can "
            "apply; have them run avsearch info on it once."
        )
    if code in _UNREADABLE:
        return BadRequest(f"{printable(path)} cannot be opened ({error}){_denied(path)}.")
    if code == sqlite3.SQLITE_FULL:
        return BadRequest(f"{printable(path)}: the disk is full; make room and run again.")
    if code == sqlite3.SQLITE_IOERR:
        problem = f"could not be read or written ({error}, {error.sqlite_errorname})"
        left = shutil.disk_usage(path.parent).free
        room = f"its disk has {left:,} bytes left, make room and " if left < _LITTLE else ""
        return BadRequest(f"{printable(path)} {problem}; {room}run again.")
    if code == sqlite3.SQLITE_BUSY:
        return IndexBusy(f"{printable(path)} is being written to by another process; try again.")
    return None
