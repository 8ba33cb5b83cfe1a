"""Writing results: a folder for them, and files that appear only when they are whole."""

from __future__ import annotations

from pathlib import Path

from indexer.errors import BadRequest, os_reason, printable
from indexer.runtime.atomic import replacing


def made_folder(folder: Path) -> Path:
    """A folder, made if there is none; BadRequest where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(
            f"{printable(folder)} cannot be a folder for the results: "
            f"{os_reason(error, 'choose another one')}."
        ) from error
    return folder


def written(path: Path, content: bytes) -> Path:
    """A file with this content, in place of the one that was there."""
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path
