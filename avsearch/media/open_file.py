"""Open a media file, or say why it cannot be opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from indexer.errors import ADDRESS, RefusedFile, is_address, os_reason


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading.

    Raises:
        RefusedFile: The file is missing, empty, not a plain file, or may not be read.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():  # opening a pipe would block
            raise RefusedFile(path, "it is not a plain file; name an image, audio or video file.")
        if size == 0:
            raise RefusedFile(path, "the file is empty; copy it again from where it came.")
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        yield file


def _unreadable(path: Path, error: OSError) -> RefusedFile:
    reasons = {
        FileNotFoundError: "there is no such file; check the name.",
        PermissionError: "no permission to read it; ask its owner, or change its mode.",
    }
    if is_address(str(path)):
        return RefusedFile(path, f"it {ADDRESS}", permanent=False)
    reason = reasons.get(type(error), f"it cannot be read: {os_reason(error)}.")
    return RefusedFile(path, reason, permanent=False)
