"""Opening a file, and saying why it cannot be opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from indexer.errors import ADDRESS, RefusedFile, is_address, os_reason


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file open for reading, from its first byte.

    Raises RefusedFile for a file that is missing, empty, not a plain file, or not ours to
    read, so that no decoder has to say it in its own words.
    """
    _require_plain_file(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        yield file


def _require_plain_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error
    if not path.is_file():  # a pipe would be waited on for ever
        raise RefusedFile(path, "it is not a plain file; name a picture, sound or video file.")
    if size == 0:
        raise RefusedFile(path, "the file is empty; copy it again from where it came.")


def _unreadable(path: Path, error: OSError) -> RefusedFile:
    reasons = {
        FileNotFoundError: "there is no such file; check the name.",
        PermissionError: "no permission to read it; ask its owner, or change its mode.",
    }
    if is_address(str(path)):
        return RefusedFile(path, f"it {ADDRESS}", permanent=False)
    reason = reasons.get(type(error), f"it cannot be read: {os_reason(error)}.")
    return RefusedFile(path, reason, permanent=False)
