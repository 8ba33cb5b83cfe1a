"""Catalogs of the first version: brought to this one with a backup, all or nothing."""

from __future__ import annotations

import contextlib
import sqlite3

import alembic.command
import pytest

from indexer.catalog import migrations, schema
from indexer.catalog.version import TABLES, VERSION
from indexer.errors import BadRequest, IndexBusy, LaterIndex
from indexer.index import Index
from indexer.runtime.lock import only_writer
from tests.helpers import version1
from tests.helpers.contents import contents
from tests.helpers.fakes import SPACE, fake_vector
from tests.helpers.places import change, everything

BACKUP = "catalog.sqlite.v1-backup"


def rows(path, table):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        columns = [found[1] for found in connection.execute(f"PRAGMA table_info({table})")]
        return [dict(zip(columns, row, strict=True)) for row in connection.execute(
            f"SELECT * FROM {table} ORDER BY 1")]  # fmt: skip


def described(path):
    """Return the columns, indexes and references of every table."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: [
                sorted(map(str, connection.execute(f"PRAGMA {question}({name})")))
                for question in ("table_info", "foreign_key_list")
            ]
            + [sorted(found[1] for found in connection.execute(f"PRAGMA index_list({name})"))]
            for (name,) in tables.fetchall()
        }


def test_an_index_of_version_1_is_migrated_with_every_row(folder):
    path = version1.make(folder)
    before = {table: rows(path, table) for table in migrations.FIRST_TABLES}
    with Index.open(folder) as index:
        assert index.space == SPACE
        assert index.notes() == {"model": "/m.safetensors"}
        assert index.revision == 2
        assert index.refused()[0][1] == "no"
        hits = index.search(fake_vector("bob's face")[None], 3).hits[0]
        assert [(hits[0][0].id, hits[0][0].person.key)] == [(9, "bob")]
        assert index.verify() == []
    after = {table: rows(path, table) for table in migrations.FIRST_TABLES}
    added = {"source": {"reason": None}, "file": {"notes": None}}
    expected = {
        table: [{**row, **added.get(table, {})} for row in before[table]] for table in before
    }
    expected["meta"] = [
        {**row, "value": VERSION} if row["key"] == "version" else row for row in before["meta"]
    ]
    assert after == expected


def test_a_migrated_catalog_has_the_tables_of_a_new_one(folder, tmp_path):
    path = version1.make(folder)
    Index.open(folder).close()
    Index.create(tmp_path / "new", SPACE).close()
    assert described(path) == described(tmp_path / "new" / "catalog.sqlite")


def test_the_backup_is_the_whole_catalog_as_it_was_its_log_included(folder):
    path = version1.make(folder)
    before = {table: rows(path, table) for table in migrations.FIRST_TABLES}
    Index.open(folder).close()
    assert {table: rows(folder / BACKUP, table) for table in before} == before
    assert len(before["item"]) == 3
    with contextlib.closing(sqlite3.connect(folder / BACKUP)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'receipt'")
        assert tables.fetchall() == []


def test_a_backup_is_made_once_and_never_written_over(folder):
    version1.make(folder)
    (folder / BACKUP).write_text("of another time")
    Index.open(folder).close()
    Index.open(folder).close()
    assert (folder / BACKUP).read_text() == "of another time"
    assert [path.name for path in migrations.backups(folder / "catalog.sqlite")] == [
        BACKUP,
        f"{BACKUP}-2",
    ]


def test_what_a_stopped_backup_left_does_not_hinder_the_next(folder):
    version1.make(folder)
    (folder / f"{BACKUP}.new").write_text("half a database")
    (folder / f"{BACKUP}.new-journal").write_text("half a journal")
    Index.open(folder).close()
    assert len(rows(folder / BACKUP, "item")) == 3
    assert not list(folder.glob("*.new*"))


def test_a_migration_that_fails_leaves_the_tables_as_they_were(folder, monkeypatch):
    path = version1.make(folder)
    before = contents_of_version_1(path)
    upgrade = alembic.command.upgrade

    def failing(*arguments):
        upgrade(*arguments)
        raise RuntimeError("the power went")

    monkeypatch.setattr(alembic.command, "upgrade", failing)
    with pytest.raises(RuntimeError):
        Index.open(folder)
    assert contents_of_version_1(path) == before
    monkeypatch.undo()
    with Index.open(folder) as index:
        assert index.verify() == []
    assert sum(contents(folder)["items"].values()) == 3


def contents_of_version_1(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_a_later_version_is_refused_with_a_sentence_and_left_unchanged(folder):
    Index.create(folder, SPACE).close()
    change(folder, "UPDATE alembic_version SET version_num = '99'")
    before = everything(folder)
    with pytest.raises(LaterIndex, match=r"catalog\.sqlite was made by a later .* version 99") as e:
        Index.open(folder)
    assert e.value.exit_code == 4
    assert everything(folder) == before


def test_a_program_of_version_1_sees_that_it_does_not_understand(folder):
    version1.make(folder)
    Index.open(folder).close()
    assert {"key": "version", "value": VERSION} in rows(folder / "catalog.sqlite", "meta")


def test_an_earlier_version_waits_for_its_writer(folder):
    version1.make(folder)
    with only_writer(folder), pytest.raises(IndexBusy, match="is being written to by process"):
        Index.open(folder)
    assert not (folder / BACKUP).exists()


def test_an_earlier_version_that_may_not_be_written_to_says_who_can(folder, unprivileged):
    change(version1.make(folder).parent, "UPDATE meta SET value = value")  # takes the log in
    with unprivileged(folder), pytest.raises(BadRequest, match="brought to this one first: run"):
        Index.open(folder)
    assert sorted(path.name for path in folder.iterdir() if "backup" in path.name) == []


def test_the_chain_of_migrations_ends_at_the_version_of_the_tables():
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(migrations.__path__[0])
    assert script.get_heads() == [VERSION]


def test_a_file_is_known_by_the_tables_that_it_is_made_with():
    assert frozenset(schema.metadata.tables) == TABLES
