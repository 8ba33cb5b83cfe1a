"""Columns of exchange files, and pyarrow with its errors.

``docs/exchange.md`` describes the columns for users.
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

# The kind of each column; every further column is an attribute of the person.
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
KEY = b"avsearch"  # in the metadata of the file
FORMAT = 1

_ESCAPE = "attributes."  # prefix of attributes named like one of the columns above
_INDEX = re.compile(r"__index_level_\d+__")  # pandas writes an index without a name so
_GROUP_BYTES = 1 << 25  # vectors of one row group, which bounds the memory of both directions
_GROUP_ROWS = (256, 65536)


def group_rows(dim: int) -> int:
    """Return the number of rows, with vectors of ``dim`` numbers, read or written at once."""
    least, most = _GROUP_ROWS
    return min(max(_GROUP_BYTES // (4 * max(dim, 1)), least), most)


def attribute_column(key: str) -> str:
    """Return the column of an attribute of people."""
    return f"{_ESCAPE}{key}" if key in COLUMNS or key.startswith(_ESCAPE) else key


def attribute_key(column: str) -> str:
    """Return the attribute of a further column."""
    return column.removeprefix(_ESCAPE)


def arrow_type(arrow: types.ModuleType, kind: str, dim: int = 0) -> Any:
    """Return the Arrow type of a kind of column; ``dim`` is the length of a vector."""
    return {
        "text": arrow.string(),
        "number": arrow.float64(),
        "whole": arrow.int64(),
        "flag": arrow.bool_(),
        "box": arrow.list_(arrow.float64(), BOX_SIDES),
        "vector": arrow.list_(arrow.float32(), dim),
    }[kind]


def index_columns(schema: Any) -> set[str]:
    """Return the columns that hold the index of a pandas frame."""
    metadata: Any = None
    with contextlib.suppress(ValueError):  # pandas' metadata may not be JSON
        metadata = schema.pandas_metadata
    named = metadata.get("index_columns") if isinstance(metadata, dict) else None
    known = [each for each in named or () if isinstance(each, str)]
    return {name for name in schema.names if name in known or _INDEX.fullmatch(name)}


def is_text_like(arrow: types.ModuleType, kind: Any) -> bool:
    """Return whether :func:`text_of` can convert an Arrow type."""
    is_ = arrow.types
    if is_.is_dictionary(kind):
        return is_text_like(arrow, kind.value_type)
    numbers = (is_.is_integer, is_.is_boolean, is_.is_floating, is_.is_decimal)
    times = (is_.is_date, is_.is_time, is_.is_timestamp)
    tests = (*numbers, *times, is_.is_null)
    return _is_string(arrow, kind) or any(test(kind) for test in tests) or _is_uuid(kind)


def text_of(arrow: types.ModuleType, array: Any, change: Callable[[str], str] | None = None) -> Any:
    """Return an array as texts in the form of ``people.csv``, null for empty ones.

    Args:
        arrow: pyarrow.
        array: values of a type that :func:`is_text_like` allows, or bytes of texts in UTF-8.
        change: is applied to each text.
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
    """Return the values of a dictionary or a tensor as a plain array."""
    if arrow.types.is_dictionary(array.type):
        return array.dictionary_decode()
    return array.storage if is_tensor(array.type) else array


def is_tensor(kind: Any) -> bool:
    """Return whether an Arrow type is a tensor of fixed shape."""
    return getattr(kind, "extension_name", None) == "arrow.fixed_shape_tensor"


def _texts(arrow: types.ModuleType, values: Any) -> list[str]:
    """Return distinct values, none missing, as texts."""
    is_, kind = arrow.types, values.type
    if is_.is_floating(kind):
        wide = values.cast(arrow.float32()) if is_.is_float16(kind) else values
        # Arrow writes a float32 with its own digits, Python with those of a float64.
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
    """Return pyarrow with the modules in use.

    Raises BadRequest, with the file, if pyarrow is missing or cannot open a file of this name.
    """
    if not is_utf8(path):
        raise BadRequest(f"{printable(path)} has a name that is not UTF-8; rename it.")
    for used in ("pyarrow.compute", "pyarrow.parquet"):
        optional_libraries.load(used, printable(path), "parquet")
    return optional_libraries.load("pyarrow", printable(path), "parquet")


@contextlib.contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn pyarrow's errors into errors with a sentence."""
    arrow = import_pyarrow(path)
    try:
        yield
    except FileNotFoundError as error:
        raise BadRequest(f"There is no file {printable(path)}; check the name.") from error
    except (OSError, arrow.ArrowException, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error
        reason = " ".join(str(error).split()).rstrip(".")
        raise BadRequest(
            f"{printable(path)} cannot be read as Parquet: {reason}; make or copy it again."
        ) from error
