"""A catalog in memory: dry runs write to it and report what would have been written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Table, create_engine

from indexer.catalog import schema
from indexer.catalog.writer import CatalogWriter
from indexer.types import Space


@contextlib.contextmanager
def in_memory_catalog(space: Space) -> Iterator[InMemoryWriter]:
    """Yield a writer to an empty catalog, which is discarded at the end."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        yield InMemoryWriter(connection, Path("memory"), space)
    engine.dispose()


class InMemoryWriter(CatalogWriter):
    """A writer that drops items inserted in bulk: their vectors would fill the memory."""

    def put_rows(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert rows as :class:`CatalogWriter` does, except items."""
        if table is not schema.item:
            super().put_rows(table, columns, rows)

    def files(self) -> list[Path]:
        """Return the paths of all files, in no order."""
        return [Path(path) for path in self._firsts("SELECT path FROM file")]
