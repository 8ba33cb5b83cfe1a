"""Version 3: indexes from which totals and refusals are read without the rows."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Migrate the tables of version 2."""
    op.drop_index("ix_item_person_id", "item")
    op.create_index("ix_item_owner", "item", ["person_id", "modality"])
    op.create_index("ix_file_refused", "file", ["id"], sqlite_where=text("status = 'refused'"))
    op.create_index(
        "ix_source_refused", "source", ["file_id"], sqlite_where=text("reason IS NOT NULL")
    )
    op.execute("UPDATE meta SET value = '3' WHERE key = 'version'")
