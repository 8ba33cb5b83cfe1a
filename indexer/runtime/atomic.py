"""Paths that stay what they are, and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from indexer.errors import BadRequest, os_reason, printable


def require_readable(path: Path) -> None:
    """Raise BadRequest, with the system's reason, for a file that cannot be opened or read."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error


def absolute(path: object) -> Path:
    """A path, or one as text, that means the same whatever folder the process works in later.

    Raises BadRequest for what is no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise BadRequest(f"A file or folder is a path or text, not {type(path).__name__}.")
    return Path(path).absolute()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside a file to write to; it takes the file's place at the end.

    Where it is a link, the file that it leads to is replaced. Where the writing fails the temporary
    file is deleted, and what was there before stays. Whatever writes it, it may be read by whom the
    place lets read: safetensors makes its files private.
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        mode = _mode_of_new(partial)
        yield partial
        partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _mode_of_new(path: Path) -> int:
    """Who may read and write a file that is made here; it is not left."""
    path.touch(exist_ok=False)
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode
