"""Reading a Parquet file of vectors: its columns checked, its rows some at a time."""

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
    in_words,
    index_columns,
    is_tensor,
    plain_array,
    text_of,
    told_as_text,
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
_BUFFER = 1 << 20  # bytes read at once, so that a large row group is not read whole


@dataclasses.dataclass(frozen=True, slots=True)
class Coded:
    """(n,) texts of which many are the same: the different ones, and which each row has.

    A row that has none is -1.
    """

    texts: list[str]
    codes: Ids


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file; (n,) columns unless said otherwise.

    ``first`` is the number of the first row, from 1. ``people`` are the different things said
    of people, by column. ``vectors`` are (m, dim), of the m rows that have one, in order;
    ``boxes`` likewise are (b, 4).
    """

    first: int
    columns: Mapping[str, Any]  # pyarrow arrays, each of the type that its kind has here
    people: list[dict[str, str]]
    has_vector: NDArray[np.bool_]
    vectors: Vectors
    has_box: NDArray[np.bool_]
    boxes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.has_vector)

    def coded(self, column: str) -> Coded:
        """A column of text; an empty one says nothing."""
        encoded = self.columns[column].dictionary_encode()
        texts: list[str] = encoded.dictionary.to_pylist()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        if "" in texts:
            empty = texts.index("")
            texts.pop(empty)
            codes = np.where(codes == empty, -1, codes - (codes > empty))
        return Coded(texts, codes)

    def at(self, column: str, places: Ids) -> list[Any]:
        """What a column has at these places, None where a row says nothing."""
        values: list[Any] = self.columns[column].take(places).to_pylist()
        return values

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column of numbers, NaN where a row says nothing."""
        numbers: NDArray[np.float64] = self.columns[column].to_numpy(zero_copy_only=False)
        return numbers


class ParquetSource:
    """A Parquet file to take in; a context manager.

    ``space`` and ``notes`` are what the file says of itself, None and empty for one that other
    tools made; ``dim`` is the length of its vectors; ``left_out`` are sentences on columns that say
    nothing here. Raises BadRequest for a file that is not Parquet, lacks a column, or has one of
    the wrong type.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrow = import_pyarrow(path)
        if is_open_here(path):
            raise BadRequest(f"{printable(path)} belongs to an open index; export that instead.")
        with in_words(path):
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
            self.space, self.notes = self._said()
            self.dim = self._dim()
        except AvsearchError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def rows(self) -> int:
        """How many rows it says it has."""
        return int(self._file.metadata.num_rows)

    def batches(self) -> Generator[Batch, None, None]:
        """The rows, some at a time; BadRequest, naming the row, for one that is wrong."""
        first = 1
        columns = [*self._columns.values(), *self._further.values()]
        for batch in self._record_batches(group_rows(self.dim), columns):
            yield self._batch(first, batch)
            first += batch.num_rows

    def leave_out(self, key: str, why: str) -> None:
        """Read the attribute of a key no further, and note why."""
        self.left_out.append(f"the column {self._further[key]!r} {why} and was left out.")
        # Anew: the batches may be read by another thread.
        self._further = {each: name for each, name in self._further.items() if each != key}

    def wrong(self, row: int, what: str) -> BadRequest:
        """An error that names the file and the row."""
        return BadRequest(f"{printable(self.path)}, row {row}: {what}")

    def _record_batches(self, rows: int, columns: list[str] | None = None) -> Iterator[Any]:
        batches = self._file.iter_batches(rows, columns=columns)
        while True:
            with in_words(self.path):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _batch(self, first: int, batch: Any) -> Batch:
        columns = {name: self._column(name, batch) for name in COLUMNS}
        has_vector, vectors = self._lists(first, columns["vector"], self.dim, "vector")
        has_box, boxes = self._lists(first, columns["box"], BOX_SIDES, "box")
        people = self._people(columns, batch)
        vectors = np.ascontiguousarray(vectors, "<f4")
        return Batch(first, columns, people, has_vector, vectors, has_box, boxes)

    def _column(self, name: str, batch: Any) -> Any:
        kind = COLUMNS[name]
        if name not in self._columns:
            return self._arrow.nulls(batch.num_rows, arrow_type(self._arrow, kind, self.dim))
        array = self._valid(batch.column(self._columns[name]))
        if kind in ("box", "vector"):
            return array
        with in_words(self.path):
            if kind == "text":
                return text_of(self._arrow, array, _CHANGES.get(name))
            return self._numbers(name, array)

    def _numbers(self, name: str, array: Any) -> Any:
        """A column of numbers or flags in its own type.

        Whole numbers become others in pandas once one of them is missing, which is NaN then.
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
        """An array whose bytes are what its type says, as plain as its type allows."""
        with in_words(self.path):
            array.validate(full=True)  # a text could have bytes that are no text
        return plain_array(self._arrow, array)

    def _lists(
        self, first: int, array: Any, width: int, what: str
    ) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """Which rows have a list, and the (m, width) numbers of those; all of them finite."""
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
        numbers = flat.to_numpy(zero_copy_only=False)  # an empty place becomes NaN
        if numbers.dtype.kind != "f":
            numbers = numbers.astype(np.float64)
        numbers = self._narrowed(numbers, what).reshape(-1, width)
        finite = np.isfinite(numbers).all(1)
        if not finite.all():
            at = int(np.flatnonzero(present)[np.argmin(finite)])
            raise self.wrong(first + at, f"the {what} has a number that is missing or not finite.")
        return present, numbers

    def _narrowed(self, numbers: NDArray[Any], what: str) -> NDArray[Any]:
        """As they are kept; what float32 cannot hold becomes infinite, and is refused as that."""
        with np.errstate(over="ignore"):
            return numbers.astype("<f4" if what == "vector" else "<f8", copy=False)

    def _people(self, columns: Mapping[str, Any], batch: Any) -> list[dict[str, str]]:
        """The different things this batch says of people; what says nothing is left out."""
        said = {name: columns[name] for name in PERSON_COLUMNS}
        for key, name in self._further.items():
            with in_words(self.path):
                said[attribute_column(key)] = text_of(
                    self._arrow, self._valid(batch.column(name)), cleaned
                )
        different = self._arrow.table(said).group_by(list(said)).aggregate([]).to_pylist()
        return [
            {attribute_key(name): text for name, text in row.items() if text} for row in different
        ]

    def _said(self) -> tuple[Space | None, dict[str, str]]:
        raw = (self._schema.metadata or {}).get(KEY)
        if raw is None:
            return None, {}
        try:
            said = json.loads(raw)
            if said["format"] == FORMAT:
                return Space(**said["space"]), dict(said["notes"])
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
        """Our columns by the names that the file has for them, whose case may be another."""
        names = self._schema.names
        found: dict[str, str] = {}
        for name in names:
            ours = name if name in COLUMNS else cleaned(name).casefold()
            if ours in COLUMNS and not (name != ours and ours in names):
                self._refuse_second(found, ours, name)
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
        """Attributes by key with the columns that say them; why others are left out."""
        found: dict[str, str] = {}
        left_out: list[str] = []
        passed = {*self._columns.values(), *index_columns(self._schema)}
        for name in self._schema.names:
            key = cleaned(attribute_key(name))
            if name in passed or not key:
                continue
            of = self._schema.field(name).type
            if not told_as_text(self._arrow, of):
                left_out.append(f"the column {name!r} is of type {of} and was left out.")
                continue
            self._refuse_second(found, key, name)
            found[key] = name
        return found, left_out

    def _refuse_second(self, found: Mapping[str, str], ours: str, name: str) -> None:
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
    """Whether a column of the type ``found`` can be read as a kind."""
    is_ = arrow.types
    if is_.is_null(found):
        return kind != "vector"
    if kind == "text":
        bytes_ = is_.is_binary(found) or is_.is_large_binary(found)  # as old programs write text
        return bytes_ or told_as_text(arrow, found)
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
