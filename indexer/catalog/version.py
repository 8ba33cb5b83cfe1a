"""Version and embedding space of a catalog file, read before anything else."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from indexer.catalog.connection import ADVICE
from indexer.catalog.migrations import FIRST_TABLES
from indexer.errors import IndexDamaged, printable
from indexer.types import Space

VERSION = "4"  # of the tables in indexer.catalog.schema
VERSION_TABLE = "alembic_version"  # Alembic chose the name; version 1 had no such table
TABLES = FIRST_TABLES | {VERSION_TABLE, "receipt"}


def version_of(driver: sqlite3.Connection, path: Path) -> int:
    """Return the version of a catalog's tables; IndexDamaged where the file is no catalog."""
    tables = _require_tables(driver, path, FIRST_TABLES)
    statement = "SELECT value FROM meta WHERE key = 'version'"
    if VERSION_TABLE in tables:
        statement = f"SELECT version_num FROM {VERSION_TABLE}"
    row = driver.execute(statement).fetchone()
    text = str(row[0]) if row else ""
    if not text.isdecimal():
        raise IndexDamaged(f"{printable(path)} does not say the version of its tables; {ADVICE}.")
    return int(text)


def space_of(driver: sqlite3.Connection, path: Path) -> Space:
    """Return the space stored in a catalog; IndexDamaged where there is none."""
    _require_tables(driver, path, TABLES)
    meta = dict(driver.execute("SELECT key, value FROM meta").fetchall())
    try:
        return Space(**json.loads(meta["space"]))
    except (KeyError, TypeError, ValueError) as error:
        raise IndexDamaged(f"{printable(path)} does not say its space; {ADVICE}.") from error


def _require_tables(
    driver: sqlite3.Connection, path: Path, required: frozenset[str]
) -> frozenset[str]:
    found = driver.execute("SELECT name FROM sqlite_master").fetchall()
    tables = frozenset(name for (name,) in found)
    if not tables >= required:
        raise IndexDamaged(
            f"{printable(path)} is a database, but not an index of avsearch; {ADVICE}."
        )
    return tables
