"""Sees to it that the packages open no file of a catalog as a plain file.

To close one takes away every lock that SQLite holds on it in this process, after which another
process deletes or overwrites what is written here. Tests may do so themselves.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = tuple(f"{_ROOT / package}{os.sep}" for package in ("avsearch", "indexer", "trainer"))
_TESTS = f"{_ROOT / 'tests'}{os.sep}"
_seen: list[str] = []
_watching = False


def watch() -> None:
    """Begin to look; there is no way back."""
    global _watching
    if not _watching:
        _watching = True
        sys.addaudithook(_hear)


def taken() -> list[str]:
    """Return the files opened since the last call, with the lines that opened them."""
    seen, _seen[:] = _seen.copy(), []
    return seen


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        name = Path(os.fsdecode(arguments[0])).name
        if name.startswith(("catalog.sqlite", "catalog.new")) and "-backup" not in name:
            _note(name)


def _note(name: str) -> None:
    """Note who opens it: of the packages and the tests, whoever is nearest."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code.co_filename
        if code.startswith(_TESTS):
            return
        if code.startswith(_PACKAGES):
            _seen.append(f"{code}, line {frame.f_lineno} opens {name}")
            return
        frame = frame.f_back
