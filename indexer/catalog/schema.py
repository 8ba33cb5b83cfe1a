"""Tables of the catalog, version :data:`indexer.catalog.version.VERSION`.

:mod:`indexer.catalog.migrations` brings earlier versions to it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    text,
)

from indexer.catalog.version import VERSION_TABLE

metadata = MetaData()

# Alembic chose these names. Catalogs of version 1 have the row "version" of meta instead, which
# programs of that version check.
version = Table(
    VERSION_TABLE,
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

meta = Table(
    "meta",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)

person = Table(
    "person",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String, nullable=False, unique=True),
    Column("name", String),
    Column("gender", String),
    Column("nationality", String),
    Column("attributes", JSON, nullable=False),
)

file = Table(
    "file",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", String, nullable=False, unique=True),
    Column("gallery", String, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("settings", String, nullable=False),
    Column("status", String, CheckConstraint("status IN ('ok', 'refused')"), nullable=False),
    Column("reason", String),
    Column("lasting", Boolean, nullable=False),
    Column("notes", String),  # one sentence a line
    # Finds the same bytes under another name: moved files and duplicates.
    Index("ix_file_bytes", "size", "sha256"),
    Index("ix_file_refused", "id", sqlite_where=text("status = 'refused'")),
)


def _owned_by(parent: Table, *, index: bool = True, **options: Any) -> Column[int]:
    reference = ForeignKey(parent.c.id, **options)
    return Column(f"{parent.name}_id", Integer, reference, nullable=False, index=index)


# Requests on a file: a recording may hold several people, each with their own time ranges.
source = Table(
    "source",
    metadata,
    Column("id", Integer, primary_key=True),
    _owned_by(file, ondelete="CASCADE"),
    _owned_by(person),
    Column("modality", String),
    Column("start_s", Float, nullable=False),
    Column("end_s", Float),
    Column("reason", String),  # why it gave no item, where other sources of the file did
    Index("ix_source_refused", "file_id", sqlite_where=text("reason IS NOT NULL")),
)

item = Table(
    "item",
    metadata,
    Column("id", Integer, primary_key=True),
    _owned_by(file, ondelete="CASCADE"),
    _owned_by(person, index=False),
    Column("modality", String, CheckConstraint("modality IN ('face', 'voice')"), nullable=False),
    Column("start_s", Float, nullable=False),
    Column("end_s", Float),
    Column("box", JSON(none_as_null=True)),
    Column("vector", LargeBinary, nullable=False),  # dim float32, little endian
    # Owners are read from this index alone; the rows are large because they hold the vectors.
    Index("ix_item_owner", "person_id", "modality"),
    sqlite_autoincrement=True,  # ids are never reused
)

revision = Table(
    "revision",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("what", String, nullable=False),
    sqlite_autoincrement=True,
)

# Deletions of people, without their names. bytes_searched is NULL while a deletion is unfinished;
# clean is NULL if the bytes were never searched.
receipt = Table(
    "receipt",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("items", Integer, nullable=False),
    Column("files", Integer, nullable=False),
    Column("bytes_searched", BigInteger),
    Column("clean", Boolean),
)
