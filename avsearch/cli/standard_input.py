"""A file that comes through a pipe: ``avsearch query -``."""

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
_HEAD = 200  # bytes that tell what it is


@contextlib.contextmanager
def spooled() -> Iterator[Path]:
    """Keep what comes through standard input in a file, for as long as it is asked with.

    Raises RefusedFile, which names standard input, for what is no picture, sound or video, and in
    place of any refusal of that file.
    """
    if sys.stdin is None:  # as services are started at times
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
