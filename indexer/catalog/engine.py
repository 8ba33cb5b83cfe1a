"""SQLAlchemy over the SQLite file of a catalog, for all that a search does not ask."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from indexer.catalog.connection import connect, writable


def engine_of(path: Path, *, new: bool = False) -> Engine:
    """Connections to a database, as :func:`indexer.catalog.connection.connect` makes them.

    They raise sqlite3.Error, as the driver does.
    """
    # What was read without locks may be of the past: such a connection is not used twice.
    kept = {"poolclass": QueuePool, "max_overflow": -1}  # however many threads ask at once
    engine = create_engine(
        "sqlite://",
        creator=functools.partial(connect, path, new=new),
        json_serializer=lambda value: json.dumps(value, ensure_ascii=False),
        **(kept if writable(path) else {"poolclass": NullPool}),
    )
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _raise_as_it_is)
    return engine


def _begin(connection: Connection) -> None:
    """Begin in SQLite too: Python's driver would wait for the first change."""
    raw: Any = connection.connection.driver_connection
    raw.execute("BEGIN")


def _raise_as_it_is(context: ExceptionContext) -> None:
    """Have what went wrong told by one kind of error, whoever asked."""
    raise context.original_exception
