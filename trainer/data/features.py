"""Frozen features: files that say which vector, or map, another encoder gave to which path.

A file holds one row an item, in one of three formats, told by the suffix:

- ``.npz`` with the arrays ``faces`` (n, ...) and ``face_paths`` (n,), ``voices`` and
  ``voice_paths``, of one modality or both, and ``face_people`` and ``voice_people`` (n,) where
  the first folder of a path is not whose it is. Stored uncompressed (``numpy.savez``), the
  vectors are mapped and not read;
- ``.safetensors`` with the tensors ``faces`` and ``voices``; the other arrays are JSON lists in
  its metadata, under the same names. Always mapped;
- ``.parquet`` with the columns ``path``, ``modality``, ``vector`` and, if wanted, ``person``.

What is known of the people stands in ``people.csv`` beside the file, as in a gallery. Pickles
are refused: one from a stranger can run code.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from indexer.errors import BadRequest, printable
from indexer.runtime.atomic import replacing
from indexer.tables.parquet import (
    import_pyarrow,
    is_text_like,
    parquet_errors,
    plain_array,
    text_of,
)
from indexer.tables.people import find_people, read_people
from indexer.types import MODALITIES, Modality
from indexer.unicode_names import cleaned, normalised
from trainer.data.assemble import DataSource, SourceItems
from trainer.data.dataset import DataSet, Side
from trainer.data.mmap_arrays import Arrays, map_npz, map_safetensors
from trainer.data.sources import FeatureSource

SUFFIXES = (".npz", ".safetensors", ".parquet")
PICKLES = (".pkl", ".pickle", ".pt", ".pth")
_CHECKED_ROWS = 4096  # read at a time when looking for values that are no numbers


@dataclasses.dataclass(frozen=True, slots=True)
class FeatureTable:
    """The rows of one modality of a feature file."""

    values: NDArray[Any]  # (n, ...)
    paths: Sequence[str]
    people: Sequence[str]


def read_feature_file(path: Path) -> dict[Modality, FeatureTable]:
    """The rows of a feature file by modality.

    Raises BadRequest for a file that cannot be read or is cut short, a pickle, and rows that are
    no numbers or have no path.
    """
    if path.suffix in PICKLES:
        raise BadRequest(
            f"{printable(path)} is a pickle, which may run any code when it is read; "
            "save its vectors as .npz, .safetensors or .parquet."
        )
    arrays = _parquet(path) if path.suffix == ".parquet" else _arrays(path)
    tables = {one: _table(path, arrays, one) for one in MODALITIES if f"{one}s" in arrays}
    if not tables:
        raise BadRequest(
            f"{printable(path)} holds neither 'faces' nor 'voices', but "
            f"{', '.join(map(repr, sorted(arrays))) or 'nothing'}; name its arrays so."
        )
    return tables


def write_feature_file(path: Path, tables: Mapping[Modality, FeatureTable]) -> None:
    """Save tables as the ``.safetensors`` that :func:`read_feature_file` maps.

    Written to a temporary name and renamed.
    """
    lists = {
        f"{modality}_{what}": json.dumps(list(getattr(table, what)))
        for modality, table in tables.items()
        for what in ("paths", "people")
    }
    arrays = {f"{one}s": np.ascontiguousarray(table.values) for one, table in tables.items()}
    with replacing(path) as partial:
        save_file(arrays, partial, lists)


def feature_source(path: Path) -> DataSource:
    """A feature file as a place of data, with the ``people.csv`` beside it.

    Raises BadRequest as :func:`read_feature_file` does, and for rows that are not finite or do
    not say whose they are.
    """
    items = {modality: _items(path, rows) for modality, rows in read_feature_file(path).items()}
    table = find_people(path.parent)
    known = {} if table is None else read_people(table)
    return DataSource(printable(path), items.get("face"), items.get("voice"), known)


def _items(path: Path, table: FeatureTable) -> SourceItems:
    for row, person in enumerate(table.people):
        if not person:
            raise BadRequest(
                f"{printable(path)} does not say whose row {row} is; give the people, or paths "
                "that begin with the person's folder."
            )
    _require_finite(path, table)
    return SourceItems(FeatureSource(table.values, table.paths), table.people)


def _require_finite(path: Path, table: FeatureTable) -> None:
    for start in range(0, len(table.values), _CHECKED_ROWS):
        finite = np.isfinite(table.values[start : start + _CHECKED_ROWS])
        rows = finite.reshape(len(finite), -1).all(1)
        if not rows.all():
            raise BadRequest(
                f"{printable(path)}: the vector of {table.paths[start + int(rows.argmin())]} holds "
                "values that are no numbers; compute it again or take the row out."
            )


def with_private(data: DataSet, modality: Modality, path: Path) -> DataSet:
    """The same data with P2VANet's private attributes of one modality from a feature file.

    An item that the file does not name has NaN. Raises BadRequest for a file that names a file
    the data does not hold.
    """
    tables = read_feature_file(path)
    if modality not in tables:
        raise BadRequest(f"{printable(path)} holds no {modality}s; name the array so.")
    side = data.side(modality)
    return data.with_side(
        modality, dataclasses.replace(side, private=_by_path(side, tables[modality], path))
    )


def _by_path(side: Side, table: FeatureTable, path: Path) -> NDArray[np.float32]:
    width = int(np.prod(table.values.shape[1:]))
    values = np.asarray(table.values, np.float32).reshape(len(table.paths), width)
    places = collections.defaultdict(list)  # a file may hold several items
    for at, origin in enumerate(side.origins(np.arange(len(side)))):
        places[normalised(origin)].append(at)
    private = np.full((len(side), width), np.nan, np.float32)
    absent = []
    for row, name in enumerate(table.paths):
        beside = str((path.parent / name).resolve())
        found = places.get(normalised(name)) or places.get(normalised(beside))
        private[found or []] = values[row]
        absent += [] if found else [name]
    if absent:
        raise BadRequest(
            f"{printable(path)} names {len(absent)} files that the data does not hold, "
            f"{absent[0]} the first; correct the paths or take the rows out."
        )
    return private


def _arrays(path: Path) -> Arrays:
    """Arrays by name; of safetensors, the lists of its metadata are arrays too."""
    if path.suffix == ".npz":
        return map_npz(path)
    tensors, metadata = map_safetensors(path)
    try:
        lists = {name: np.array(json.loads(text), str) for name, text in metadata.items()}
    except ValueError as error:
        raise BadRequest(
            f"{printable(path)}: its metadata are no JSON lists of paths and people: {error}."
        ) from error
    return {**tensors, **lists}


def _table(path: Path, arrays: Mapping[str, Any], modality: Modality) -> FeatureTable:
    values = arrays[f"{modality}s"]
    if values.dtype.kind not in "fiu" or values.ndim < 2:
        raise BadRequest(
            f"{printable(path)}: an array of {values.dtype} and shape {values.shape} is no table "
            "of vectors; save (n, d) or (n, c, h, w) numbers."
        )
    paths = _names(path, arrays, f"{modality}_paths", len(values))
    people = [_first_folder(name) for name in paths]
    if f"{modality}_people" in arrays:
        people = _names(path, arrays, f"{modality}_people", len(values))
    return FeatureTable(values, paths, [cleaned(person) for person in people])


def _names(path: Path, arrays: Mapping[str, Any], name: str, count: int) -> list[str]:
    found = [str(each) for each in np.ravel(arrays.get(name, ()))]
    if len(found) != count:
        raise BadRequest(
            f"{printable(path)}: {name!r} has {len(found)} rows and the vectors have {count}; "
            "give one a row."
        )
    return found


def _first_folder(path: str) -> str:
    parts = PurePosixPath(path).parts
    return parts[0] if len(parts) > 1 else ""


def _parquet(path: Path) -> dict[str, Any]:
    """The columns of a Parquet file as the arrays of an npz; rows without a vector are left out."""
    arrow = import_pyarrow(path)
    with parquet_errors(path):
        table = arrow.parquet.read_table(path)
    names = {cleaned(name).lower(): name for name in reversed(table.column_names)}
    absent = [name for name in ("path", "modality", "vector") if name not in names]
    if absent:
        raise BadRequest(
            f"{printable(path)} has no column {absent[0]!r}; it needs path, modality and vector."
        )
    columns = {name: plain_array(arrow, _whole(arrow, table, names[name])) for name in names}
    _check_types(path, arrow, columns)
    with parquet_errors(path):
        told = {
            name: text_of(arrow, columns[name], change)
            for name, change in _TOLD.items()
            if name in columns
        }
    kept = columns["vector"].is_valid().to_numpy(zero_copy_only=False)
    modalities = np.array(_filled(told["modality"]), str)
    arrays: dict[str, Any] = {}
    for modality in MODALITIES:
        rows = np.flatnonzero((modalities == modality) & kept)
        if len(rows):
            arrays[f"{modality}s"] = _vectors(path, arrow, columns["vector"].take(rows))
            arrays[f"{modality}_paths"] = _filled(told["path"].take(rows))
            if "person" in told:
                arrays[f"{modality}_people"] = _filled(told["person"].take(rows))
    return arrays


_TOLD: Mapping[str, Callable[[str], str] | None] = {
    "path": None,
    "modality": lambda text: cleaned(text).lower(),
    "person": cleaned,
}


def _whole(arrow: Any, table: Any, name: str) -> Any:
    """A column as one array."""
    chunks = table.column(name).chunks
    return arrow.concat_arrays(chunks) if chunks else arrow.nulls(0, table.schema.field(name).type)


def _check_types(path: Path, arrow: Any, columns: Mapping[str, Any]) -> None:
    for name in ("path", "modality", "person"):
        if name in columns and not is_text_like(arrow, columns[name].type):
            raise BadRequest(
                f"{printable(path)}: the column {name!r} is of type {columns[name].type}; "
                "it must hold text."
            )
    kind, is_ = columns["vector"].type, arrow.types
    lists = is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind)
    if not lists or not (is_.is_floating(kind.value_type) or is_.is_integer(kind.value_type)):
        raise BadRequest(
            f"{printable(path)}: the column 'vector' is of type {kind}; it must hold lists of "
            "numbers."
        )


def _vectors(path: Path, arrow: Any, lists: Any) -> NDArray[Any]:
    """Lists as (n, d) numbers; BadRequest for lists of different lengths."""
    lengths = set(arrow.compute.list_value_length(lists).to_pylist())
    if len(lengths) > 1:
        raise BadRequest(
            f"{printable(path)}: the vectors of one modality have different lengths, "
            f"{min(lengths)} and {max(lengths)}."
        )
    numbers: NDArray[Any] = lists.flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(len(lists), -1)


def _filled(texts: Any) -> list[str]:
    return [text or "" for text in texts.to_pylist()]
