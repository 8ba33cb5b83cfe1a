"""The content of an index without ids and times, so that equal indexes compare equal."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from pathlib import Path

QUESTIONS = {
    "people": "SELECT key, name, gender, nationality, attributes FROM person",
    "files": "SELECT path, gallery, size, sha256, settings, status, reason, lasting, notes"
    " FROM file",
    "sources": "SELECT path, key, modality, start_s, end_s, source.reason FROM source"
    " JOIN file ON file.id = file_id JOIN person ON person.id = person_id",
    "items": "SELECT path, key, modality, start_s, end_s, box, vector FROM item"
    " JOIN file ON file.id = file_id JOIN person ON person.id = person_id",
    "receipts": "SELECT items, files FROM receipt",
}


def contents(folder: Path) -> dict[str, Counter[tuple[object, ...]]]:
    """Return the rows of each table with their counts, names in place of ids."""
    with contextlib.closing(sqlite3.connect(folder / "catalog.sqlite")) as connection:
        return {
            what: Counter(connection.execute(question).fetchall())
            for what, question in QUESTIONS.items()
        }
