"""Run by Alembic: takes the connection it was given, which is in a transaction already."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
