"""Version 2: deletion receipts, an index of files by bytes, reasons of sources without items."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, String

revision = "2"
down_revision = None  # version 1 was not under Alembic


def upgrade() -> None:
    """Migrate the tables of version 1."""
    op.create_table(
        "receipt",
        Column("id", Integer, primary_key=True),
        Column("at", String, nullable=False),
        Column("items", Integer, nullable=False),
        Column("files", Integer, nullable=False),
        Column("bytes_searched", BigInteger),
        Column("clean", Boolean),
    )
    op.create_index("ix_file_bytes", "file", ["size", "sha256"])
    op.add_column("source", Column("reason", String))
    # Programs of version 1 check this row and refuse later versions.
    op.execute("UPDATE meta SET value = '2' WHERE key = 'version'")
