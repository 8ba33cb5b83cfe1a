"""Absolute paths, and files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from indexer.errors import BadRequest, os_reason, printable


def require_readable(path: Path) -> None:
    """Raise BadRequest, with the system's reason, for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error


def absolute(path: object) -> Path:
    """Return an absolute path, so that it does not depend on the working folder of a later moment.

    Raises BadRequest for anything but a path or text.
    """
    if not isinstance(path, str | os.PathLike):
        raise BadRequest(f"A file or folder is a path or text, not {type(path).__name__}.")
    return Path(path).absolute()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside a file, which replaces the file at the end.

    If the path is a link, its target is replaced. If anything is raised, the temporary file is
    deleted and the old file stays. The file gets the usual permissions of the folder, whatever
    wrote it: safetensors makes its files private.
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.touch(exist_ok=False)  # to learn the permissions of new files here
        mode = stat.S_IMODE(partial.stat().st_mode)
        partial.unlink()
        yield partial
        partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
