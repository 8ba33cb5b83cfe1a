"""The tables of the catalog as of :data:`indexer.catalog.version.VERSION`.

``migrations`` leads there from earlier ones.
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

from indexer.catalog.version import VERSIONED

metadata = MetaData()

# The version of the tables, kept by Alembic under the names it chose. Catalogs of version 1 have
# no such table: they have the row "version" of meta, which programs of that time go by.
version = Table(
    VERSIONED,
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
    Column("notes", String),  # a sentence a line
    # The same bytes under another name: a file that was moved, or one of two people.
    Index("ix_file_bytes", "size", "sha256"),
    Index("ix_file_refused", "id", sqlite_where=text("status = 'refused'")),  # few, as a rule
)


def _owned_by(parent: Table, *, index: bool = True, **options: Any) -> Column[int]:
    reference = ForeignKey(parent.c.id, **options)
    return Column(f"{parent.name}_id", Integer, reference, nullable=False, index=index)


# What was asked of a file: a recording may hold several people, each in their own ranges.
source = Table(
    "source",
    metadata,
    Column("id", Integer, primary_key=True),
    _owned_by(file, ondelete="CASCADE"),
    _owned_by(person),
    Column("modality", String),
    Column("start_s", Float, nullable=False),
    Column("end_s", Float),
    Column("reason", String),  # why nothing came of it, where other sources of the file were taken
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
    # Whose items are which is told from this alone; the rows hold the vectors.
    Index("ix_item_owner", "person_id", "modality"),
    sqlite_autoincrement=True,  # a number once given is never given again
)

revision = Table(
    "revision",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("what", String, nullable=False),
    sqlite_autoincrement=True,
)

# What was forgotten, of whom it does not say. A row without bytes_searched is of a forgetting that
# was stopped between the deletion and its proof; one without clean was never proved.
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
