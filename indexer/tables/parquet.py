"""The columns of the Parquet files an index goes out to and comes in from.

``docs/exchange.md`` says to users what they mean.
"""

from __future__ import annotations

import contextlib
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from indexer.errors import BadRequest, is_utf8, os_reason, printable
from indexer.runtime import optional_libraries
from indexer.tables.text import as_text

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
_INDEX = re.compile(r"__index_level_\d+__")  # as pandas writes an index without a name
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


def index_columns(schema: Any) -> set[str]:
    """Return the columns that hold the index of a pandas frame, which says nothing of anybody."""
    said: Any = None
    with contextlib.suppress(ValueError):  # what pandas notes is JSON, if nobody harmed it
        said = schema.pandas_metadata
    named = said.get("index_columns") if isinstance(said, dict) else None
    known = [each for each in named or () if isinstance(each, str)]
    return {name for name in schema.names if name in known or _INDEX.fullmatch(name)}


def told_as_text(arrow: types.ModuleType, kind: Any) -> bool:
    """Whether :func:`text_of` can tell the values of an Arrow type."""
    is_ = arrow.types
    if is_.is_dictionary(kind):
        return told_as_text(arrow, kind.value_type)
    numbers = (is_.is_integer, is_.is_boolean, is_.is_floating, is_.is_decimal)
    times = (is_.is_date, is_.is_time, is_.is_timestamp)
    tests = (*numbers, *times, is_.is_null)
    return _is_string(arrow, kind) or any(test(kind) for test in tests) or _is_uuid(kind)


def text_of(arrow: types.ModuleType, array: Any, change: Callable[[str], str] | None = None) -> Any:
    """Return an array of text as ``people.csv`` would have it, null where nothing is said.

    ``array`` is of a type that :func:`told_as_text` allows, or holds the bytes of texts in UTF-8;
    ``change`` is applied to each text.
    """
    is_ = arrow.types
    if is_.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_.is_binary(array.type) or is_.is_large_binary(array.type):
        array = array.cast(arrow.string())
    if change is None and _is_string(arrow, array.type):
        return array.cast(arrow.string())
    if _is_uuid(array.type):
        array = arrow.array(map(str, array.to_pylist()), arrow.string(), mask=array.is_null())
    encoded = array.dictionary_encode()
    texts = _texts(arrow, encoded.dictionary)
    changed = [(text if change is None else change(text)) or None for text in texts]
    return arrow.array(changed, arrow.string()).take(encoded.indices)


def plain_array(arrow: types.ModuleType, array: Any) -> Any:
    """Return the values of an array that are kept apart from it or under another name."""
    if arrow.types.is_dictionary(array.type):
        return array.dictionary_decode()
    return array.storage if is_tensor(array.type) else array


def is_tensor(kind: Any) -> bool:
    """Whether an Arrow type is a list of numbers of a fixed shape."""
    return getattr(kind, "extension_name", None) == "arrow.fixed_shape_tensor"


def _texts(arrow: types.ModuleType, values: Any) -> list[str]:
    """Different values as texts, none of them missing."""
    is_, kind = arrow.types, values.type
    if is_.is_floating(kind):
        wide = values.cast(arrow.float32()) if is_.is_float16(kind) else values
        # Arrow writes a number of 32 bits with the digits that it has, Python with those of 64.
        return [as_text(float(text)) for text in wide.cast(arrow.string()).to_pylist()]
    if is_.is_timestamp(kind):
        values = values.cast(arrow.timestamp("us", kind.tz), safe=False)
    return [as_text(each) for each in values.to_pylist()]


def _is_string(arrow: types.ModuleType, kind: Any) -> bool:
    is_ = arrow.types
    views = (is_.is_string_view,) if hasattr(is_, "is_string_view") else ()  # since pyarrow 16
    return any(test(kind) for test in (is_.is_string, is_.is_large_string, *views))


def _is_uuid(kind: Any) -> bool:
    return getattr(kind, "extension_name", None) == "arrow.uuid"


def import_pyarrow(path: Path) -> types.ModuleType:
    """pyarrow with what is used of it.

    Raises BadRequest, naming the file, where it is missing or cannot open a file of this name.
    """
    if not is_utf8(path):
        raise BadRequest(f"{printable(path)} has a name that is not UTF-8; rename it.")
    for used in ("pyarrow.compute", "pyarrow.parquet"):
        optional_libraries.load(used, printable(path), "parquet")
    return optional_libraries.load("pyarrow", printable(path), "parquet")


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
