"""Galleries and index folders as plain files."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path

PEOPLE = """\
person,name,gender,nationality,club
ann,Ann Archer,Female,Ireland,North
bob,Bob Baker,M,France,north
cid,Cid Cook,male,france,
eve,Eve Nobody,f,Peru,South
"""


def change(folder: Path, statement: str, *values: object) -> None:
    """Change the catalog behind the index's back."""
    connection = sqlite3.connect(folder / "catalog.sqlite")
    with connection:
        connection.execute(statement, values)
    connection.close()


def everything(folder: Path) -> dict[Path, bytes]:
    """The content of all files in a folder; an index in it may be open here."""
    return {path: _content(path) for path in folder.rglob("*") if path.is_file()}


def _content(path: Path) -> bytes:
    """The bytes of a file; another process reads SQLite's, since closing one drops locks."""
    if path.name.startswith("catalog."):
        return subprocess.run(["cat", path], stdout=subprocess.PIPE, check=True).stdout
    return path.read_bytes()


def fill(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
