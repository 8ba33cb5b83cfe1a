"""A file from a pipe: ``avsearch query -``."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from avsearch.media.file_types import suffix_of_content
from indexer.errors import BadRequest, RefusedFile

STDIN = Path("-")
_HEAD = 200  # bytes that identify the format


@contextlib.contextmanager
def spooled() -> Iterator[Path]:
    """Yield a temporary file with what standard input holds.

    Raises:
        BadRequest: There is no standard input.
        RefusedFile: It is not a picture, sound or video, or the file was refused in the block;
            the error names standard input.
    """
    if sys.stdin is None:  # a service may have none
        raise BadRequest("There is no standard input; name a file.")
    head = sys.stdin.buffer.read(_HEAD)
    suffix = suffix_of_content(head)
    if suffix is None:
        what = "is no picture, sound or video of a known format" if head else "is empty"
        raise RefusedFile(STDIN, f"standard input {what}; pass one on, or name a file.")
    with tempfile.TemporaryDirectory(prefix="avsearch-") as folder:
        path = Path(folder) / f"stdin{suffix}"
        with path.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield path
        except RefusedFile as refusal:
            raise RefusedFile(STDIN, refusal.reason, permanent=refusal.permanent) from refusal
