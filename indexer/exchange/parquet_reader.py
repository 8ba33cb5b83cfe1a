"""Reader of Parquet files of vectors: checked columns, rows in batches."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.connection import is_open_here
from indexer.errors import AvsearchError, BadRequest, printable
from indexer.records import PERSON_COLUMNS, gender_code
from indexer.tables.parquet import (
    BOX_SIDES,
    COLUMNS,
    FORMAT,
    KEY,
    NEEDED,
    arrow_type,
    attribute_column,
    attribute_key,
    group_rows,
    import_pyarrow,
    index_columns,
    is_tensor,
    is_text_like,
    parquet_errors,
    plain_array,
    text_of,
)
from indexer.types import Ids, Space, Vectors
from indexer.unicode_names import cleaned

_WANTED = {
    "text": "text",
    "number": "numbers",
    "whole": "whole numbers",
    "flag": "true or false",
    "box": "lists of four numbers",
    "vector": "lists of numbers",
}
_BUFFER = 1 << 20  # bytes read at once, so that no large row group is read whole


@dataclasses.dataclass(frozen=True, slots=True)
class Coded:
    """(n,) texts, dictionary-encoded: the distinct texts, and the position of each row's, or -1."""

    texts: list[str]
    codes: Ids


@dataclasses.dataclass(frozen=True, slots=True)
class RowBatch:
    """n consecutive rows of a file.

    Attributes:
        first: number of the first row, from 1.
        columns: (n,) pyarrow arrays by name, each of the type of its kind.
        people: the distinct metadata of people, by column.
        has_vector: (n,) True for the m rows with a vector.
        vectors: (m, dim) their vectors, in order.
        has_box: (n,) True for the b rows with a box.
        boxes: (b, 4) their boxes, in order.
    """

    first: int
    columns: Mapping[str, Any]
    people: list[dict[str, str]]
    has_vector: NDArray[np.bool_]
    vectors: Vectors
    has_box: NDArray[np.bool_]
    boxes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.has_vector)

    def coded(self, column: str) -> Coded:
        """Return a column of text, dictionary-encoded; empty texts count as missing."""
        encoded = self.columns[column].dictionary_encode()
        texts: list[str] = encoded.dictionary.to_pylist()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        if "" in texts:
            empty = texts.index("")
            texts.pop(empty)
            codes = np.where(codes == empty, -1, codes - (codes > empty))
        return Coded(texts, codes)

    def at(self, column: str, places: Ids) -> list[Any]:
        """Return the values of a column at these places, None where missing."""
        values: list[Any] = self.columns[column].take(places).to_pylist()
        return values

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column of numbers, NaN where missing."""
        numbers: NDArray[np.float64] = self.columns[column].to_numpy(zero_copy_only=False)
        return numbers


class ParquetSource:
    """A Parquet file to import; a context manager.

    Attributes:
        space: the space of its vectors as the file says; None for files of other tools.
        notes: the notes of the exported index; empty for files of other tools.
        dim: the length of its vectors.
        left_out: sentences on columns that are not used.

    Raises:
        BadRequest: the file is not Parquet, lacks a column, or has one of the wrong type.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrow = import_pyarrow(path)
        if is_open_here(path):
            raise BadRequest(f"{printable(path)} belongs to an open index; export that instead.")
        with parquet_errors(path):
            self._file = self._arrow.parquet.ParquetFile(
                path,
                buffer_size=_BUFFER,
                pre_buffer=False,  # it keeps all of the file in memory
                page_checksum_verification=True,
            )
        try:
            self._schema = self._file.schema_arrow
            self._columns = self._known_columns()
            self._further, self.left_out = self._further_columns()
            self.space, self.notes = self._metadata()
            self.dim = self._dim()
        except AvsearchError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self._file.metadata.num_rows)

    def batches(self) -> Generator[RowBatch, None, None]:
        """Yield the rows in batches; BadRequest, with the row, for a wrong one."""
        first = 1
        columns = [*self._columns.values(), *self._further.values()]
        for batch in self._record_batches(group_rows(self.dim), columns):
            yield self._batch(first, batch)
            first += batch.num_rows

    def leave_out(self, key: str, why: str) -> None:
        """Stop reading the attribute of a key, and note why."""
        self.left_out.append(f"the column {self._further[key]!r} {why} and was left out.")
        # Replaced as a whole: another thread may be reading batches.
        self._further = {each: name for each, name in self._further.items() if each != key}

    def wrong(self, row: int, what: str) -> BadRequest:
        """Return an error that names the file and the row."""
        return BadRequest(f"{printable(self.path)}, row {row}: {what}")

    def _record_batches(self, rows: int, columns: list[str] | None = None) -> Iterator[Any]:
        batches = self._file.iter_batches(rows, columns=columns)
        while True:
            with parquet_errors(self.path):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _batch(self, first: int, batch: Any) -> RowBatch:
        columns = {name: self._column(name, batch) for name in COLUMNS}
        has_vector, vectors = self._lists(first, columns["vector"], self.dim, "vector")
        has_box, boxes = self._lists(first, columns["box"], BOX_SIDES, "box")
        people = self._people(columns, batch)
        vectors = np.ascontiguousarray(vectors, "<f4")
        return RowBatch(first, columns, people, has_vector, vectors, has_box, boxes)

    def _column(self, name: str, batch: Any) -> Any:
        kind = COLUMNS[name]
        if name not in self._columns:
            return self._arrow.nulls(batch.num_rows, arrow_type(self._arrow, kind, self.dim))
        array = self._valid(batch.column(self._columns[name]))
        if kind in ("box", "vector"):
            return array
        with parquet_errors(self.path):
            if kind == "text":
                return text_of(self._arrow, array, _CHANGES.get(name))
            return self._numbers(name, array)

    def _numbers(self, name: str, array: Any) -> Any:
        """Return a column of numbers or flags in its own type.

        A column of whole numbers is floating in pandas once one is missing, with NaN there.
        """
        kind = COLUMNS[name]
        plain = array
        if kind == "whole" and self._arrow.types.is_floating(array.type):
            plain = self._arrow.compute.if_else(array.is_nan(), None, array)
        try:
            return plain.cast(arrow_type(self._arrow, kind))
        except self._arrow.ArrowInvalid as error:
            raise self._unfit(name, self._columns[name]) from error

    def _valid(self, array: Any) -> Any:
        """Return the plain values of an array, once they are checked to be of its type."""
        with parquet_errors(self.path):
            array.validate(full=True)  # the bytes of a text may not be UTF-8
        return plain_array(self._arrow, array)

    def _lists(
        self, first: int, array: Any, width: int, what: str
    ) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """Return which rows have a list, and their (m, width) numbers, all finite."""
        present = array.is_valid().to_numpy(zero_copy_only=False)
        if not present.any():
            return present, np.empty((0, width))
        lengths = self._arrow.compute.list_value_length(array).fill_null(width).to_numpy()
        if (lengths != width).any():
            at = int(np.argmax(lengths != width))
            raise self.wrong(
                first + at, f"the {what} has {lengths[at]} numbers where {width} belong."
            )
        flat = array.flatten()
        if self._arrow.types.is_decimal(flat.type):
            flat = flat.cast(self._arrow.float64())
        numbers = flat.to_numpy(zero_copy_only=False)  # missing numbers become NaN
        if numbers.dtype.kind != "f":
            numbers = numbers.astype(np.float64)
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and rejected
            numbers = numbers.astype("<f4" if what == "vector" else "<f8", copy=False)
        numbers = numbers.reshape(-1, width)
        finite = np.isfinite(numbers).all(1)
        if not finite.all():
            at = int(np.flatnonzero(present)[np.argmin(finite)])
            raise self.wrong(first + at, f"the {what} has a number that is missing or not finite.")
        return present, numbers

    def _people(self, columns: Mapping[str, Any], batch: Any) -> list[dict[str, str]]:
        """Return the distinct metadata of people in a batch, without empty cells."""
        cells = {name: columns[name] for name in PERSON_COLUMNS}
        for key, name in self._further.items():
            with parquet_errors(self.path):
                cells[attribute_column(key)] = text_of(
                    self._arrow, self._valid(batch.column(name)), cleaned
                )
        distinct = self._arrow.table(cells).group_by(list(cells)).aggregate([]).to_pylist()
        return [
            {attribute_key(name): text for name, text in row.items() if text} for row in distinct
        ]

    def _metadata(self) -> tuple[Space | None, dict[str, str]]:
        raw = (self._schema.metadata or {}).get(KEY)
        if raw is None:
            return None, {}
        try:
            metadata = json.loads(raw)
            if metadata["format"] == FORMAT:
                return Space(**metadata["space"]), dict(metadata["notes"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadRequest(
                f"{printable(self.path)} does not say its space in a way that can be read; "
                "export it again."
            ) from error
        raise BadRequest(
            f"{printable(self.path)} was exported by another version of avsearch; use that one."
        )

    def _dim(self) -> int:
        name = self._columns["vector"]
        kind = _plain_type(self._schema.field(name).type)
        if self._arrow.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        for batch in self._record_batches(group_rows(1), [name]):
            lengths = self._arrow.compute.list_value_length(batch.column(0)).drop_null()
            if len(lengths):
                return int(lengths[0].as_py())
        return 0 if self.space is None else self.space.dim

    def _known_columns(self) -> dict[str, str]:
        """Return the names in the file of known columns, which may differ in case."""
        names = self._schema.names
        found: dict[str, str] = {}
        for name in names:
            ours = name if name in COLUMNS else cleaned(name).casefold()
            if ours in COLUMNS and not (name != ours and ours in names):
                self._reject_second(found, ours, name)
                found[ours] = name
        for name in NEEDED:
            if name not in found:
                raise BadRequest(
                    f"{printable(self.path)} has no column {name!r}; it needs "
                    f"{', '.join(NEEDED[:-1])} and {NEEDED[-1]}."
                )
        for ours, name in found.items():
            if not _fits(self._arrow, COLUMNS[ours], self._schema.field(name).type):
                raise self._unfit(ours, name)
        return found

    def _unfit(self, ours: str, name: str) -> BadRequest:
        return BadRequest(
            f"{printable(self.path)}: the column {name!r} is of type "
            f"{self._schema.field(name).type}; it must hold {_WANTED[COLUMNS[ours]]}."
        )

    def _further_columns(self) -> tuple[dict[str, str], list[str]]:
        """Return the columns of attributes by key, and sentences on those left out."""
        found: dict[str, str] = {}
        left_out: list[str] = []
        skipped = {*self._columns.values(), *index_columns(self._schema)}
        for name in self._schema.names:
            key = cleaned(attribute_key(name))
            if name in skipped or not key:
                continue
            of = self._schema.field(name).type
            if not is_text_like(self._arrow, of):
                left_out.append(f"the column {name!r} is of type {of} and was left out.")
                continue
            self._reject_second(found, key, name)
            found[key] = name
        return found, left_out

    def _reject_second(self, found: Mapping[str, str], ours: str, name: str) -> None:
        if ours in found:
            others = "" if found[ours] == name else f", {found[ours]!r} and {name!r}"
            raise BadRequest(f"{printable(self.path)} has two columns {ours!r}{others}; drop one.")


_CHANGES: Mapping[str, Callable[[str], str]] = {
    "person": cleaned,
    "name": cleaned,
    "nationality": cleaned,
    "gender": lambda text: gender_code(cleaned(text)),
    "modality": lambda text: cleaned(text).lower(),
}


def _plain_type(kind: Any) -> Any:
    return kind.storage_type if is_tensor(kind) else kind


def _fits(arrow: Any, kind: str, found: Any) -> bool:
    """Return whether a column of the type ``found`` can be read as a kind."""
    is_ = arrow.types
    if is_.is_null(found):
        return kind != "vector"
    if kind == "text":
        bytes_ = is_.is_binary(found) or is_.is_large_binary(found)  # old programs write text so
        return bytes_ or is_text_like(arrow, found)
    if is_.is_dictionary(found):
        return _fits(arrow, kind, found.value_type)
    if kind in ("box", "vector"):
        plain = _plain_type(found)
        views = ("is_list_view", "is_large_list_view")  # since pyarrow 16
        lists = (is_.is_list, is_.is_large_list, is_.is_fixed_size_list)
        lists += tuple(getattr(is_, name) for name in views if hasattr(is_, name))
        return any(test(plain) for test in lists) and _fits(arrow, "number", plain.value_type)
    numbers = (is_.is_floating, is_.is_integer)
    tests = {"number": (*numbers, is_.is_decimal), "whole": numbers, "flag": (is_.is_boolean,)}
    return any(test(found) for test in tests[kind])
