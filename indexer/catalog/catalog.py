"""The catalog: everything the index knows, in one SQLite file.

SQLite is the truth, vectors included. A :class:`CatalogReader` sees one revision from its first
query to its last; a :class:`indexer.catalog.writer.CatalogWriter` makes the next revision in one
transaction. Deleted content is overwritten with zeros (``secure_delete``).

Reading needs Python's driver alone. SQLAlchemy takes longer to import than a query to answer, so
it is imported at the first write.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.catalog import migrations
from indexer.catalog.connection import (
    Connections,
    abandon,
    check_length,
    remove,
    require_unchanged,
    sqlite_errors,
    writable,
)
from indexer.catalog.reader import CatalogReader
from indexer.catalog.version import VERSION, space_of, version_of
from indexer.errors import AvsearchError, BadRequest, LaterIndex, NoIndex, printable
from indexer.runtime.lock import only_writer
from indexer.types import Space

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from indexer.catalog.writer import CatalogWriter

NAME = "catalog.sqlite"


class Catalog:
    """An open catalog file, made by :meth:`create` or :meth:`open`; threads may share one."""

    def __init__(self, path: Path, connections: Connections, space: Space) -> None:
        self.path = path
        self.space = space
        self._connections = connections
        self._engine: tuple[int, Engine] | None = None  # with the process that made it
        self._making_engine = threading.Lock()
        self._file = _identity(path)

    @classmethod
    def create(cls, path: Path, space: Space, notes: Mapping[str, str]) -> Catalog:
        """Create an empty catalog; it appears under its name only when it is complete.

        The caller holds the write lock and has seen that there is no catalog yet.
        """
        from indexer.catalog.writer import create_catalog

        unfinished = path.with_suffix(".new")
        for database in (unfinished, path):
            remove(database)
        with sqlite_errors(path):
            create_catalog(unfinished, space, notes)
        unfinished.replace(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, *, upgrade: bool = True) -> Catalog:
        """Open an existing catalog; tables of an earlier version are migrated after a backup.

        Args:
            path: the file.
            upgrade: migrate tables of an earlier version; refuse them otherwise.

        Raises:
            IndexDamaged: the file is not SQLite, is cut short, or has other tables.
            LaterIndex: the tables are of a later version; the file stays as it is.
            IndexBusy: the tables need migration while another process writes.
            BadRequest: the tables need migration, and the folder cannot be written to or
                ``upgrade`` is false.
        """
        connections = Connections(path)
        try:
            with sqlite_errors(path), require_unchanged(path):
                with connections.reading() as driver:
                    check_length(driver, path)
                _migrate(connections, path, upgrade=upgrade)
                with connections.reading() as driver:
                    space = space_of(driver, path)
        except AvsearchError:
            connections.close()
            raise
        return cls(path, connections, space)

    def close(self) -> None:
        """Close all connections to the file."""
        self._connections.close()
        if self._engine is not None and self._engine[0] == os.getpid():
            self._engine[1].dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[CatalogReader]:
        """Yield a reader of the newest revision, which later writes do not change.

        Raises IndexBusy in one case: the folder is read-only, so the reader holds no lock, and
        another process starts to write.
        """
        self._require_same_file()
        with (
            sqlite_errors(self.path),
            require_unchanged(self.path),
            self._connections.reading() as driver,
        ):
            yield CatalogReader(driver, self.path, self.space)

    @contextlib.contextmanager
    def write(self, what: str) -> Iterator[CatalogWriter]:
        """Yield a writer of the next revision; if anything is raised, nothing is written.

        ``what`` is a word for the history and never holds a person's name. The caller holds the
        write lock.
        """
        from indexer.catalog.writer import CatalogWriter

        self._require_same_file()
        with sqlite_errors(self.path), self._open_engine().begin() as connection:
            writer = CatalogWriter(connection, self.path, self.space)
            yield writer
            writer.drop_people_without_files()
            writer.bump_revision(what)

    def complete_receipt(self, number: int, bytes_searched: int, *, clean: bool | None) -> None:
        """Add the result of the byte search to a receipt, without making a new revision."""
        from indexer.catalog.writer import CatalogWriter

        with sqlite_errors(self.path), self._open_engine().begin() as connection:
            writer = CatalogWriter(connection, self.path, self.space)
            writer.complete_receipt(number, bytes_searched, clean=clean)
        self._run("PRAGMA wal_checkpoint(TRUNCATE)")

    def compact(self) -> None:
        """Rewrite the file without free pages, and empty the write-ahead log."""
        self._run("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")

    def _require_same_file(self) -> None:
        """Raise NoIndex if the file was deleted or replaced since it was opened.

        SQLite would go on with the old file, which no later process opens.
        """
        if _identity(self.path) != self._file:
            raise NoIndex(
                f"{printable(self.path)} was deleted, moved or replaced since it was opened; "
                "open the index again."
            )

    def _open_engine(self) -> Engine:
        from indexer.catalog.engine import engine_of

        with self._making_engine:
            if self._engine is None or self._engine[0] != os.getpid():
                abandon(self._engine)
                self._engine = os.getpid(), engine_of(self.path)
            return self._engine[1]

    def _run(self, *statements: str) -> None:
        """Run statements outside any transaction."""
        with (
            sqlite_errors(self.path),
            contextlib.closing(self._open_engine().raw_connection()) as raw,
        ):
            cursor = raw.cursor()
            for statement in statements:
                cursor.execute(statement)
            cursor.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file, None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _migrate(connections: Connections, path: Path, *, upgrade: bool) -> None:
    """Bring the tables of an earlier version to this one, all or none."""

    def outdated() -> int | None:
        with connections.reading() as driver:
            version = version_of(driver, path)
        if version > int(VERSION):
            raise LaterIndex(
                f"{printable(path)} was made by a later version of avsearch (its tables are of "
                f"version {version}, the latest known here is {VERSION}); use that version or a "
                "newer one."
            )
        return version if version < int(VERSION) else None

    if outdated() is None:
        return
    if not (upgrade and writable(path)):
        writer = "" if writable(path) else " as a user who may write there"
        raise BadRequest(
            f"{printable(path)} was made by an earlier version of avsearch and must be brought "
            f"to this one first: run avsearch info on it once{writer}."
        )
    with only_writer(path.parent):
        version = outdated()  # another process may have been quicker
        if version is not None:
            migrations.back_up(path, str(version))
            migrations.upgrade(path)
