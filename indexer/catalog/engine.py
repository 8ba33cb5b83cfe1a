"""SQLAlchemy over the SQLite file of a catalog, for everything that writes."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from indexer.catalog.connection import connect, writable


def engine_of(path: Path, *, new: bool = False) -> Engine:
    """Return an engine whose connections are those of :func:`indexer.catalog.connection.connect`.

    They raise sqlite3.Error, as the driver does.
    """
    # A connection that reads without locks may show an old state, so it is not used twice.
    pooled = {"poolclass": QueuePool, "max_overflow": -1}  # for any number of threads
    engine = create_engine(
        "sqlite://",
        creator=functools.partial(connect, path, new=new),
        json_serializer=lambda value: json.dumps(value, ensure_ascii=False),
        **(pooled if writable(path) else {"poolclass": NullPool}),
    )
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _raise_original)
    return engine


def _begin(connection: Connection) -> None:
    """Begin in SQLite too: Python's driver would wait for the first change."""
    raw: Any = connection.connection.driver_connection
    raw.execute("BEGIN")


def _raise_original(context: ExceptionContext) -> None:
    """Raise the driver's own error, so that callers meet one kind of error."""
    raise context.original_exception
