"""A new catalog file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import insert

from indexer.catalog import schema
from indexer.catalog.engine import engine_of
from indexer.catalog.version import VERSION
from indexer.catalog.writer import Writer
from indexer.types import Space


def create_catalog(path: Path, space: Space, notes: Mapping[str, str]) -> None:
    """Make a catalog of no items, of revision 1, at a path where nothing is."""
    facts = {"version": VERSION, "space": json.dumps(dataclasses.asdict(space))}
    rows = [{"key": key, "value": value} for key, value in facts.items()]
    engine = engine_of(path, new=True)
    with contextlib.closing(engine.raw_connection()) as raw:
        raw.cursor().execute("PRAGMA journal_mode = WAL")
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.meta), rows)
        connection.execute(insert(schema.version).values(version_num=VERSION))
        writer = Writer(connection, path, space)
        writer.put_notes(notes)
        writer.bump_revision("create")
    engine.dispose()
