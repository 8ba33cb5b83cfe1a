"""What a file says before anything else is read of it: whose tables, which version, which space."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from indexer.catalog.connection import ADVICE
from indexer.catalog.migrations import FIRST_TABLES
from indexer.errors import IndexDamaged, printable
from indexer.types import Space

VERSION = "4"  # of the tables as :mod:`indexer.catalog.schema` has them
VERSIONED = "alembic_version"  # the table that says it, as Alembic named it; version 1 had none
TABLES = FIRST_TABLES | {VERSIONED, "receipt"}


def version_of(driver: sqlite3.Connection, path: Path) -> int:
    """The version of a catalog's tables; IndexDamaged where the file is no catalog."""
    tables = _tables(driver)
    if not tables.issuperset(FIRST_TABLES):
        raise _foreign(path)
    kept = "SELECT value FROM meta WHERE key = 'version'"
    if VERSIONED in tables:
        kept = f"SELECT version_num FROM {VERSIONED}"
    row = driver.execute(kept).fetchone()
    said = str(row[0]) if row else ""
    if not said.isdecimal():
        raise IndexDamaged(f"{printable(path)} does not say the version of its tables; {ADVICE}.")
    return int(said)


def space_of(driver: sqlite3.Connection, path: Path) -> Space:
    """The space written in a catalog, once its tables are seen to be ours."""
    if not _tables(driver).issuperset(TABLES):
        raise _foreign(path)
    facts = dict(driver.execute("SELECT key, value FROM meta").fetchall())
    try:
        return Space(**json.loads(facts["space"]))
    except (KeyError, TypeError, ValueError) as error:
        raise IndexDamaged(f"{printable(path)} does not say its space; {ADVICE}.") from error


def _tables(driver: sqlite3.Connection) -> set[str]:
    return {name for (name,) in driver.execute("SELECT name FROM sqlite_master").fetchall()}


def _foreign(path: Path) -> IndexDamaged:
    return IndexDamaged(f"{printable(path)} is a database, but not an index of avsearch; {ADVICE}.")
