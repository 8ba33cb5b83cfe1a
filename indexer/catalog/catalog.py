"""The catalog: everything the index knows, in one SQLite file.

SQLite is the truth, vectors included. A :class:`Reader` sees one revision from its first
question to its last, and so does a :class:`Lookup`, which is all that a search needs; a
:class:`indexer.catalog.writer.Writer` makes the next revision in one transaction. Deleted content
is overwritten with zeros (``secure_delete``).

SQLAlchemy, which takes longer to import than a query to answer, is imported where more is asked
for.
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
    in_words,
    remove,
    undisturbed,
    writable,
)
from indexer.catalog.lookup import Lookup
from indexer.catalog.version import VERSION, space_of, version_of
from indexer.errors import AvsearchError, BadRequest, LaterIndex, NoIndex, printable
from indexer.runtime.lock import only_writer
from indexer.types import Space

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from indexer.catalog.reader import Reader
    from indexer.catalog.writer import Writer

NAME = "catalog.sqlite"


class Catalog:
    """One catalog file, open. Made by :meth:`create` or :meth:`open`; threads may share one."""

    def __init__(self, path: Path, connections: Connections, space: Space) -> None:
        self.path = path
        self.space = space
        self._connections = connections
        self._made: tuple[int, Engine] | None = None  # and the process that made it
        self._making = threading.Lock()
        self._file = _identity(path)

    @classmethod
    def create(cls, path: Path, space: Space, notes: Mapping[str, str]) -> Catalog:
        """A new catalog of no items; it appears under its name only when it is whole.

        The caller holds the write lock and knows that there is none yet.
        """
        from indexer.catalog.creating import create_catalog

        unfinished = path.with_suffix(".new")
        for database in (unfinished, path):
            remove(database)
        with in_words(path):
            create_catalog(unfinished, space, notes)
        unfinished.replace(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, *, upgrade: bool = True) -> Catalog:
        """The catalog in a file that is there.

        One with the tables of an earlier version is brought to those of this one, once a backup
        lies beside it: :func:`indexer.catalog.migrations.back_up`. Raises IndexDamaged for a file
        that is not SQLite, is cut short, or has other tables, and LaterIndex for tables of a later
        version; the file stays as it is. Raises IndexBusy and BadRequest where the tables are
        of an earlier version and somebody else writes, or nothing may be written, or without
        ``upgrade``.
        """
        connections = Connections(path)
        try:
            with in_words(path), undisturbed(path):
                with connections.reading() as driver:
                    check_length(driver, path)
                _bring_forward(connections, path, upgrade=upgrade)
                with connections.reading() as driver:
                    space = space_of(driver, path)
        except AvsearchError:
            connections.close()
            raise
        return cls(path, connections, space)

    def close(self) -> None:
        """Let go of the file."""
        self._connections.close()
        if self._made is not None and self._made[0] == os.getpid():
            self._made[1].dispose()

    @contextlib.contextmanager
    def look(self) -> Iterator[Lookup]:
        """Ask one revision what a search asks; else as :meth:`read`."""
        self._check_place()
        with in_words(self.path), undisturbed(self.path), self._connections.reading() as driver:
            yield Lookup(driver, self.path, self.space)

    @contextlib.contextmanager
    def read(self) -> Iterator[Reader]:
        """Ask one revision, whatever is being written meanwhile.

        Raises IndexBusy in the one case in which that cannot be had: somebody begins to write
        while somebody who may not write to the folder, and so can leave no lock there, reads.
        """
        from indexer.catalog.reader import Reader

        self._check_place()
        with in_words(self.path), undisturbed(self.path), self._engine().begin() as connection:
            yield Reader(connection, self.path, self.space)

    @contextlib.contextmanager
    def write(self, what: str) -> Iterator[Writer]:
        """Make the next revision: all of it or, if anything is raised, none of it.

        ``what`` is a word for the history, and never holds a person's name. The caller holds
        the write lock.
        """
        from indexer.catalog.writer import Writer

        self._check_place()
        with in_words(self.path), self._engine().begin() as connection:
            writer = Writer(connection, self.path, self.space)
            yield writer
            writer.drop_people_without_files()
            writer.bump_revision(what)

    def prove(self, number: int, bytes_searched: int, *, clean: bool | None) -> None:
        """Complete the note of a forgetting; what the index answers with stays as it is."""
        from indexer.catalog.writer import Writer

        with in_words(self.path), self._engine().begin() as connection:
            Writer(connection, self.path, self.space).prove(number, bytes_searched, clean=clean)
        self._outside_transactions("PRAGMA wal_checkpoint(TRUNCATE)")

    def compact(self) -> None:
        """Write the file anew without free pages, and empty the write-ahead log."""
        self._outside_transactions("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")

    def _check_place(self) -> None:
        """Raises NoIndex where another file is in the place of the one that was opened, or none.

        SQLite would go on with the one that was opened, which nobody will open again.
        """
        if _identity(self.path) != self._file:
            raise NoIndex(
                f"{printable(self.path)} was deleted, moved or replaced since it was opened; "
                "open the index again."
            )

    def _engine(self) -> Engine:
        from indexer.catalog.engine import engine_of

        with self._making:
            if self._made is None or self._made[0] != os.getpid():
                abandon(self._made)
                self._made = os.getpid(), engine_of(self.path)
            return self._made[1]

    def _outside_transactions(self, *statements: str) -> None:
        with in_words(self.path), contextlib.closing(self._engine().raw_connection()) as raw:
            cursor = raw.cursor()
            for statement in statements:
                cursor.execute(statement)
            cursor.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another that takes its place; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _bring_forward(connections: Connections, path: Path, *, upgrade: bool) -> None:
    """Give a catalog of an earlier version the tables of this one, all of them or none."""
    if not _is_earlier(connections, path):
        return
    if not (upgrade and writable(path)):
        somebody = "" if writable(path) else " as somebody who may write there"
        raise BadRequest(
            f"{printable(path)} was made by an earlier version of avsearch and must be brought "
            f"to this one first: run avsearch info on it once{somebody}."
        )
    with only_writer(path.parent):
        if _is_earlier(connections, path):  # still: another may have been quicker
            migrations.back_up(path, str(_version(connections, path)))
            migrations.upgrade(path)


def _is_earlier(connections: Connections, path: Path) -> bool:
    """Whether the tables are of an earlier version; LaterIndex for those of a later one."""
    found, known = _version(connections, path), int(VERSION)
    if found > known:
        raise LaterIndex(
            f"{printable(path)} was made by a later version of avsearch (its tables are of "
            f"version {found}, the latest known here is {known}); use that version or a newer one."
        )
    return found < known


def _version(connections: Connections, path: Path) -> int:
    with connections.reading() as driver:
        return version_of(driver, path)
