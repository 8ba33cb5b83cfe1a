"""Version 4: files carry notes about what was left out of them or chosen between."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """From the tables of version 3."""
    op.add_column("file", Column("notes", String))
    op.execute("UPDATE meta SET value = '4' WHERE key = 'version'")
