"""Writing a Parquet file of ours: a row group at a time, under its name only when it is whole."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from indexer.catalog.connection import is_open_here
from indexer.errors import BadRequest, os_reason, printable
from indexer.runtime.atomic import replacing
from indexer.tables.parquet import (
    COLUMNS,
    FORMAT,
    KEY,
    arrow_type,
    attribute_column,
    import_pyarrow,
)
from indexer.types import Space, Vectors

_SUFFIXES = (".parquet", ".pq", ".parq", "")
_LISTS = ("box", "vector")
_MAGIC = b"PAR1"  # what a Parquet file begins with


class ParquetTarget:
    """A Parquet file being written; a context manager.

    It appears under its name when it is whole, and not at all where anything is raised.
    ``attributes`` are the further columns of people. Raises BadRequest where pyarrow or the
    folder is missing, or where there is something else of that name.
    """

    def __init__(
        self, path: Path, space: Space, notes: Mapping[str, str], attributes: Sequence[str]
    ) -> None:
        self._arrow = import_pyarrow(path)
        _check(path)
        self._path = path
        self._dim = space.dim
        self._schema = self._make_schema(space, notes, attributes)

    def __enter__(self) -> Self:
        # Vectors are noise: they do not compress, and their extremes say nothing.
        plain = [leaf for leaf in map(_leaf, self._schema.names) if leaf != _leaf("vector")]
        with contextlib.ExitStack() as stack:
            try:
                partial = stack.enter_context(replacing(self._path))
                self._writer = self._arrow.parquet.ParquetWriter(
                    partial,
                    self._schema,
                    compression={**dict.fromkeys(plain, "zstd"), _leaf("vector"): "none"},
                    use_dictionary=plain,
                    write_statistics=plain,
                    write_page_checksum=True,
                )
            except OSError as error:
                raise BadRequest(
                    f"{printable(self._path)} cannot be written: "
                    f"{os_reason(error, 'choose another place')}."
                ) from error
            stack.callback(_sync, partial)
            stack.callback(self._writer.close)
            self._ends = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._ends.__exit__(*raised)

    def write(self, columns: Mapping[str, Any], rows: int) -> None:
        """Write ``rows`` rows as one row group; columns that are left out are empty.

        ``vector`` is (rows, dim) float32, every other column a list; attributes go by the
        names that :func:`indexer.tables.parquet.attribute_column` gives them.
        """
        arrays = [self._array(field, columns.get(field.name), rows) for field in self._schema]
        table = self._arrow.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(table, max(rows, 1))

    def _array(self, field: Any, values: Any, rows: int) -> Any:
        if values is None:
            return self._arrow.nulls(rows, field.type)
        if field.name == "vector":
            return self._vectors(values)
        return self._arrow.array(values, field.type)

    def _vectors(self, vectors: Vectors) -> Any:
        flat = self._arrow.array(vectors.reshape(-1))
        return self._arrow.FixedSizeListArray.from_arrays(flat, self._dim)

    def _make_schema(
        self, space: Space, notes: Mapping[str, str], attributes: Sequence[str]
    ) -> Any:
        arrow = self._arrow
        fields = [(name, arrow_type(arrow, kind, space.dim)) for name, kind in COLUMNS.items()]
        fields += [(attribute_column(key), arrow.string()) for key in attributes]
        said = {"format": FORMAT, "space": dataclasses.asdict(space), "notes": dict(notes)}
        return arrow.schema(fields, {KEY: json.dumps(said, ensure_ascii=False)})


def _leaf(column: str) -> str:
    """The path by which Parquet knows the values of a column."""
    return f"{column}.list.element" if column in _LISTS else column


def _check(path: Path) -> None:
    """Nothing that is no Parquet file is ever written over."""
    if not path.parent.is_dir():
        raise BadRequest(f"There is no folder {printable(path.parent)}; make it first.")
    parquet = path.is_file() and not is_open_here(path) and _begins_as_parquet(path)
    if path.exists() and not parquet:
        raise BadRequest(f"{printable(path)} is there and no Parquet file; choose another name.")
    if path.suffix.lower() not in _SUFFIXES:
        raise BadRequest(
            f"{printable(path)} ends in {path.suffix}, and an index is written as Parquet; name it "
            f"{printable(path.with_suffix('.parquet'))}."
        )


def _begins_as_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) in (_MAGIC, b"")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
