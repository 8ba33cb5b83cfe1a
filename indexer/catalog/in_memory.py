"""A catalog in memory, empty and without vectors: what would be written is told by it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Table, create_engine, select

from indexer.catalog import schema
from indexer.catalog.writer import Writer
from indexer.types import Space


@contextlib.contextmanager
def rehearsal(space: Space) -> Iterator[Rehearsal]:
    """A writer to such a catalog, which is gone at the end."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        yield Rehearsal(connection, Path("nowhere"), space)
    engine.dispose()


class Rehearsal(Writer):
    """Takes everything but items in bulk, whose vectors would fill the memory."""

    def put_rows(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """As a writer does; items are left out."""
        if table is not schema.item:
            super().put_rows(table, columns, rows)

    def files(self) -> list[Path]:
        """The paths of all files, in no order."""
        return [
            Path(path) for path in self._connection.execute(select(schema.file.c.path)).scalars()
        ]
