"""Checks of arguments that callers pass to an index."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from indexer.errors import BadRequest
from indexer.tables.text import as_text

Value = str | int | float | bool | np.generic  # of a filter


def require_one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise BadRequest, with the allowed values, for any other value."""
    if not isinstance(value, str) or value not in allowed:
        raise BadRequest(f"{name} is {value!r}; it must be {' or '.join(allowed)}.")


def whole_number(what: str, value: Any, least: int = 1) -> int:
    """Return ``value`` as an integer of at least ``least``; BadRequest for anything else."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool_) or number < least:
        raise BadRequest(f"{what} is {value!r}; ask for {least} or more, in a whole number.")
    return number


def filter_texts(where: Mapping[str, Value] | None) -> dict[str, str]:
    """Return a filter with its values as text: 1985 and 2.0 become ``1985`` and ``2``.

    Raises BadRequest, with the column, for a value that is no text, number, True or False.
    """
    if where is None:
        return {}
    if not isinstance(where, Mapping) or not all(isinstance(column, str) for column in where):
        raise BadRequest(
            f"The filter is {where!r}; it is a mapping of columns to values, such as "
            "{'gender': 'f'}."
        )
    return {column: _filter_text(column, value) for column, value in where.items()}


def _filter_text(column: str, value: Any) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, str):
        return plain
    if isinstance(plain, int) or (isinstance(plain, float) and math.isfinite(plain)):
        narrow = isinstance(value, np.float32 | np.float16)  # with fewer digits
        return as_text(float(str(value)) if narrow else plain)
    raise BadRequest(
        f"The filter asks {column!r} to be {value!r}; a column is compared with one text, one "
        "number, True or False."
    )
