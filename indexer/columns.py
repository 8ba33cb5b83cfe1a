"""The columns of the Parquet files an index goes out to and comes in from.

``docs/exchange.md`` says to users what they mean.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexer import libraries
from indexer.errors import BadRequest, is_utf8, os_reason, printable

# What is in a column, by its name; every further column says something of the person.
COLUMNS = {
    "person": "text",
    "modality": "text",
    "vector": "vector",
    "path": "text",
    "start_s": "number",
    "end_s": "number",
    "box": "box",
    "fault": "text",
    "name": "text",
    "gender": "text",
    "nationality": "text",
    "gallery": "text",
    "size": "whole",
    "mtime_ns": "whole",
    "sha256": "text",
    "settings": "text",
    "refused": "text",
    "lasting": "flag",
    "notes": "text",
}
NEEDED = ("person", "modality", "vector")
FILE_COLUMNS = ("gallery", "size", "mtime_ns", "sha256", "settings", "notes", "refused", "lasting")
BOX_SIDES = 4
KEY = b"avsearch"  # of the file's metadata
FORMAT = 1

_ESCAPE = "attributes."  # in front of an attribute that is named like one of the columns above
_GROUP_BYTES = 1 << 25  # the vectors of one row group, which bounds the memory of both ways
_GROUP_ROWS = (256, 65536)


def group_rows(dim: int) -> int:
    """How many rows with vectors of ``dim`` numbers are written or read at once."""
    least, most = _GROUP_ROWS
    return min(max(_GROUP_BYTES // (4 * max(dim, 1)), least), most)


def attribute_column(key: str) -> str:
    """The column of an attribute of people."""
    return f"{_ESCAPE}{key}" if key in COLUMNS or key.startswith(_ESCAPE) else key


def attribute_key(column: str) -> str:
    """The attribute that a further column is of."""
    return column.removeprefix(_ESCAPE)


def arrow_type(arrow: types.ModuleType, kind: str, dim: int = 0) -> Any:
    """The type a kind of column has in files of ours; ``dim`` is the length of a vector."""
    return {
        "text": arrow.string(),
        "number": arrow.float64(),
        "whole": arrow.int64(),
        "flag": arrow.bool_(),
        "box": arrow.list_(arrow.float64(), BOX_SIDES),
        "vector": arrow.list_(arrow.float32(), dim),
    }[kind]


def import_pyarrow(path: Path) -> types.ModuleType:
    """pyarrow with what is used of it.

    Raises BadRequest, naming the file, where it is missing or cannot open a file of this name.
    """
    if not is_utf8(path):
        raise BadRequest(f"{printable(path)} has a name that is not UTF-8; rename it.")
    for used in ("pyarrow.compute", "pyarrow.parquet"):
        libraries.load(used, printable(path), "parquet")
    return libraries.load("pyarrow", printable(path), "parquet")


@contextlib.contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Say what pyarrow cannot read in a sentence."""
    arrow = import_pyarrow(path)
    try:
        yield
    except FileNotFoundError as error:
        raise BadRequest(f"There is no file {printable(path)}; check the name.") from error
    except (OSError, arrow.ArrowException, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error
        said = " ".join(str(error).split()).rstrip(".")
        raise BadRequest(
            f"{printable(path)} cannot be read as Parquet: {said}; make or copy it again."
        ) from error
