"""Migration of catalogs of an earlier version, with a backup, run by Alembic.

``versions`` has one file for each version. The chain begins with version 1, whose catalogs have no
table ``alembic_version``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from indexer.catalog.connection import remove

# Tables of every version; a database without them is not a catalog.
FIRST_TABLES = frozenset({"meta", "person", "file", "source", "item", "revision"})

_UNFINISHED = ".new"


def upgrade(path: Path) -> None:
    """Run all migrations from the version of a catalog to this one, in one transaction."""
    import alembic.command  # takes a second to import and is needed once for an index
    import alembic.config

    from indexer.catalog.engine import engine_of

    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    engine = engine_of(path)
    try:
        with engine.begin() as config.attributes["connection"]:
            alembic.command.upgrade(config, "head")
    finally:
        engine.dispose()


def back_up(path: Path, version: str) -> Path:
    """Copy a catalog with its write-ahead log to a file beside it, and return the file's path.

    The copy is named ``catalog.sqlite.v1-backup``, with a number appended if that is taken, and
    appears under its name only when it is complete.
    """
    target = path.with_name(f"{path.name}.v{version}-backup")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.v{version}-backup-{number}")
    unfinished = target.with_name(target.name + _UNFINISHED)
    try:
        remove(unfinished)
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(unfinished)) as copy,
        ):
            source.backup(copy)
        _sync(unfinished)
        unfinished.rename(target)
    finally:
        remove(unfinished)
    _sync(path.parent)
    return target


def backups(path: Path) -> list[Path]:
    """Return the backups beside a catalog, unfinished ones included."""
    return sorted(path.parent.glob(f"{path.name}.v*-backup*"))


def _sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
