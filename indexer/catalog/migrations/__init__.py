"""Catalogs with the tables of an earlier version, brought to those of this one.

One file a version in ``versions``, run by Alembic. The tables of version 1 are where the chain
begins: a catalog of that version has no ``alembic_version``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from indexer.catalog.connection import remove

# What every version has had; a database without them is none of ours.
FIRST_TABLES = frozenset({"meta", "person", "file", "source", "item", "revision"})

_UNFINISHED = ".new"


def upgrade(path: Path) -> None:
    """Run what leads from a catalog's version to this one, in one transaction."""
    import alembic.command  # takes a second to import, and is needed once in the life of an index
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
    """Copy a catalog, its write-ahead log included, to a file beside it; returns its path.

    The copy is ``catalog.sqlite.v1-backup``, or with a number behind where there is one already;
    it appears under its name only when it is whole.
    """
    target = _free_name(path, version)
    unfinished = target.with_name(target.name + _UNFINISHED)
    try:
        remove(unfinished)
        _copy(path, unfinished)
        unfinished.rename(target)
    finally:
        remove(unfinished)
    _sync(path.parent)
    return target


def backups(path: Path) -> list[Path]:
    """The backups beside a catalog, unfinished ones too."""
    return sorted(path.parent.glob(f"{path.name}.v*-backup*"))


def _free_name(path: Path, version: str) -> Path:
    name = path.with_name(f"{path.name}.v{version}-backup")
    taken = 1
    while name.exists():
        taken += 1
        name = path.with_name(f"{path.name}.v{version}-backup-{taken}")
    return name


def _copy(path: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
    _sync(target)


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before anything else is written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
