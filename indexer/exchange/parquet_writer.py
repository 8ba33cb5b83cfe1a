"""Writer of Parquet files: a row group at a time, complete or not at all."""

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
from indexer.types import Space

_SUFFIXES = (".parquet", ".pq", ".parq", "")
_LISTS = ("box", "vector")
_MAGIC = b"PAR1"  # first bytes of a Parquet file


class ParquetTarget:
    """A Parquet file that is being written; a context manager.

    The file appears under its name when it is complete, and not at all if anything is raised.

    Args:
        path: the file.
        space: the space of the vectors.
        notes: the notes of the index.
        attributes: the further columns of people.

    Raises:
        BadRequest: pyarrow or the folder is missing, or another file has the name.
    """

    def __init__(
        self, path: Path, space: Space, notes: Mapping[str, str], attributes: Sequence[str]
    ) -> None:
        self._arrow = arrow = import_pyarrow(path)
        _check(path)
        self._path = path
        self._dim = space.dim
        fields = [(name, arrow_type(arrow, kind, space.dim)) for name, kind in COLUMNS.items()]
        fields += [(attribute_column(key), arrow.string()) for key in attributes]
        metadata = {"format": FORMAT, "space": dataclasses.asdict(space), "notes": dict(notes)}
        self._schema = arrow.schema(fields, {KEY: json.dumps(metadata, ensure_ascii=False)})

    def __enter__(self) -> Self:
        # Vectors are noise: they do not compress, and statistics of them are useless.
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
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def write(self, columns: Mapping[str, Any], rows: int) -> None:
        """Write one row group; missing columns are empty.

        Args:
            columns: ``vector`` is (rows, dim) float32, every other column a list. Attributes have
                the names of :func:`indexer.tables.parquet.attribute_column`.
            rows: number of rows.
        """
        arrow, arrays = self._arrow, []
        for field in self._schema:
            values = columns.get(field.name)
            if values is None:
                arrays.append(arrow.nulls(rows, field.type))
            elif field.name == "vector":
                flat = arrow.array(values.reshape(-1))
                arrays.append(arrow.FixedSizeListArray.from_arrays(flat, self._dim))
            else:
                arrays.append(arrow.array(values, field.type))
        table = arrow.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(table, max(rows, 1))


def _leaf(column: str) -> str:
    """Return the path of the values of a column in Parquet."""
    return f"{column}.list.element" if column in _LISTS else column


def _check(path: Path) -> None:
    """Raise BadRequest for a file that must not be overwritten."""
    if not path.parent.is_dir():
        raise BadRequest(f"There is no folder {printable(path.parent)}; make it first.")
    if path.exists() and not (path.is_file() and not is_open_here(path) and _is_parquet(path)):
        raise BadRequest(f"{printable(path)} is there and no Parquet file; choose another name.")
    if path.suffix.lower() not in _SUFFIXES:
        raise BadRequest(
            f"{printable(path)} ends in {path.suffix}, and an index is written as Parquet; name it "
            f"{printable(path.with_suffix('.parquet'))}."
        )


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) in (_MAGIC, b"")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
