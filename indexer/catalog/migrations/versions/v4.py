"""Version 4: notes on what was left out of a file or chosen in it."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Migrate the tables of version 3."""
    op.add_column("file", Column("notes", String))
    op.execute("UPDATE meta SET value = '4' WHERE key = 'version'")
