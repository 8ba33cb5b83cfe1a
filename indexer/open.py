"""Find, open or create the index of a working folder, as git finds its repository."""

from __future__ import annotations

import os
from pathlib import Path

from indexer.errors import NoIndex, printable
from indexer.index import Index, has_other_things
from indexer.runtime.atomic import absolute

FOLDER = ".avsearch"
VARIABLE = "AVSEARCH_INDEX"


def open_index(path: str | Path | None = None) -> Index:
    """Open the index at ``path``, or the one that :func:`find_index` finds.

    Raises NoIndex if there is none and IndexDamaged if it cannot be read.
    """
    return Index.open(find_index(path))


def find_index(path: str | Path | None = None) -> Path:
    """Return the folder of an existing index, as an absolute path.

    ``path``, or else the environment variable AVSEARCH_INDEX, names it or the folder that contains
    it. Without either, the working folder and its parents are searched.
    """
    named = path or os.environ.get(VARIABLE)
    if named:
        folder = absolute(named)
        inner = folder / FOLDER
        return inner if inner.is_dir() else folder
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    raise NoIndex(
        f"There is no index in {printable(here)} or above it; "
        "make one with 'avsearch index GALLERY', or name one with --index."
    )


def new_index(path: str | Path | None = None) -> Path:
    """Return the folder to write an index to, existing or not.

    In a named folder with other files, the index is a folder of its own.
    """
    if not (path or os.environ.get(VARIABLE)):
        return Path.cwd() / FOLDER
    folder = find_index(path)
    inside = folder.name != FOLDER and has_other_things(folder)
    return folder / FOLDER if inside else folder
