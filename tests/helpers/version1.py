"""A catalog as the first version of the tables had it, frozen: no code of today writes it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sqlite3
from pathlib import Path

from tests.helpers.fakes import SPACE, fake_vector

TABLES = """
CREATE TABLE meta ("key" VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE person (
    id INTEGER NOT NULL, "key" VARCHAR NOT NULL, name VARCHAR, gender VARCHAR,
    nationality VARCHAR, attributes JSON NOT NULL, PRIMARY KEY (id), UNIQUE ("key")
);
CREATE TABLE file (
    id INTEGER NOT NULL, path VARCHAR NOT NULL, gallery VARCHAR NOT NULL, size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL, sha256 VARCHAR NOT NULL, settings VARCHAR NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('ok', 'refused')), reason VARCHAR,
    lasting BOOLEAN NOT NULL, PRIMARY KEY (id), UNIQUE (path)
);
CREATE INDEX ix_file_gallery ON file (gallery);
CREATE TABLE revision (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, at VARCHAR NOT NULL, what VARCHAR NOT NULL
);
CREATE TABLE source (
    id INTEGER NOT NULL, file_id INTEGER NOT NULL, person_id INTEGER NOT NULL, modality VARCHAR,
    start_s FLOAT NOT NULL, end_s FLOAT, PRIMARY KEY (id),
    FOREIGN KEY(file_id) REFERENCES file (id) ON DELETE CASCADE,
    FOREIGN KEY(person_id) REFERENCES person (id)
);
CREATE INDEX ix_source_person_id ON source (person_id);
CREATE INDEX ix_source_file_id ON source (file_id);
CREATE TABLE item (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, file_id INTEGER NOT NULL,
    person_id INTEGER NOT NULL,
    modality VARCHAR NOT NULL CHECK (modality IN ('face', 'voice')), start_s FLOAT NOT NULL,
    end_s FLOAT, box JSON, vector BLOB NOT NULL,
    FOREIGN KEY(file_id) REFERENCES file (id) ON DELETE CASCADE,
    FOREIGN KEY(person_id) REFERENCES person (id)
);
CREATE INDEX ix_item_person_id ON item (person_id);
CREATE INDEX ix_item_file_id ON item (file_id);
INSERT INTO meta VALUES ('version', '1');
INSERT INTO meta VALUES ('note:model', '/m.safetensors');
INSERT INTO person VALUES (1, 'ann', 'Ann Archer', 'f', 'Ireland', '{"club": "North"}');
INSERT INTO person VALUES (2, 'bob', NULL, NULL, NULL, '{}');
INSERT INTO file VALUES (1, '/g/ann/a.wav', '/g', 3, 4, 'aa', 'faces=whole', 'ok', NULL, 1);
INSERT INTO file VALUES (2, '/g/bob/b.mp4', '/g', 5, 6, 'bb', 'faces=whole', 'ok', NULL, 1);
INSERT INTO file VALUES (3, '/g/bob/c.jpg', '/g', 7, 8, '', 'faces=whole', 'refused', 'no', 0);
INSERT INTO source VALUES (1, 1, 1, NULL, 0, NULL), (2, 2, 2, 'voice', 1, 2.5);
INSERT INTO source VALUES (3, 3, 2, NULL, 0, NULL);
INSERT INTO revision VALUES (1, '2026-01-01T00:00:00+00:00', 'create');
INSERT INTO revision VALUES (2, '2026-01-02T00:00:00+00:00', 'index');
"""
ITEMS = [
    (4, 1, 1, "voice", 0.0, 1.0, None, fake_vector("ann").tobytes()),
    (5, 2, 2, "voice", 1.0, 2.5, None, fake_vector("bob").tobytes()),
    (9, 2, 2, "face", 1.0, None, "[1.0, 2.0, 3.0, 4.0]", fake_vector("bob's face").tobytes()),
]


def make(folder: Path) -> Path:
    """Write such a catalog to a folder; its last changes are in the write-ahead log alone."""
    folder.mkdir()
    made = folder.with_name("made") / "catalog.sqlite"
    made.parent.mkdir()
    with contextlib.closing(sqlite3.connect(made)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(TABLES)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with connection:
            space = json.dumps(dataclasses.asdict(SPACE))
            connection.execute("INSERT INTO meta VALUES ('space', ?)", (space,))
            marks = ", ".join("?" * len(ITEMS[0]))
            connection.executemany(f"INSERT INTO item VALUES ({marks})", ITEMS)
        for name in ("catalog.sqlite", "catalog.sqlite-wal"):
            shutil.copy(made.with_name(name), folder)
    return folder / "catalog.sqlite"
