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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from indexer.columns import import_pyarrow
from indexer.errors import BadRequest, printable
from indexer.files import replacing
from indexer.people import PEOPLE, read_people
from indexer.types import MODALITIES, Modality
from trainer.data.mapped import Arrays, map_npz, map_safetensors
from trainer.data.places import Items, Place
from trainer.data.sets import DataSet, Side
from trainer.data.sources import FeatureSource

SUFFIXES = (".npz", ".safetensors", ".parquet")
PICKLES = (".pkl", ".pickle", ".pt", ".pth")
_CHECKED_ROWS = 4096  # read at a time when looking for values that are no numbers


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """The rows of one modality of a feature file."""

    values: NDArray[Any]  # (n, ...)
    paths: Sequence[str]
    people: Sequence[str]


def read_feature_file(path: Path) -> dict[Modality, Table]:
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


def write_feature_file(path: Path, tables: Mapping[Modality, Table]) -> None:
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


def feature_place(path: Path) -> Place:
    """A feature file as a place of data, with the ``people.csv`` beside it.

    Raises BadRequest as :func:`read_feature_file` does, and for rows that are not finite or do
    not say whose they are.
    """
    items = {modality: _items(path, rows) for modality, rows in read_feature_file(path).items()}
    table = path.parent / PEOPLE
    known = read_people(table) if table.is_file() else {}
    return Place(printable(path), items.get("face"), items.get("voice"), known)


def _items(path: Path, table: Table) -> Items:
    for row, person in enumerate(table.people):
        if not person:
            raise BadRequest(
                f"{printable(path)} does not say whose row {row} is; give the people, or paths "
                "that begin with the person's folder."
            )
    _require_finite(path, table)
    return Items(FeatureSource(table.values, table.paths), table.people)


def _require_finite(path: Path, table: Table) -> None:
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


def _by_path(side: Side, table: Table, path: Path) -> NDArray[np.float32]:
    width = int(np.prod(table.values.shape[1:]))
    values = np.asarray(table.values, np.float32).reshape(len(table.paths), width)
    places = collections.defaultdict(list)  # a file may hold several items
    for at, origin in enumerate(side.origins(np.arange(len(side)))):
        places[origin].append(at)
    private = np.full((len(side), width), np.nan, np.float32)
    absent = []
    for row, name in enumerate(table.paths):
        found = places.get(name) or places.get(str((path.parent / name).resolve()))
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


def _table(path: Path, arrays: Mapping[str, Any], modality: Modality) -> Table:
    values = arrays[f"{modality}s"]
    if values.dtype.kind not in "fiu" or values.ndim < 2:
        raise BadRequest(
            f"{printable(path)}: an array of {values.dtype} and shape {values.shape} is no table "
            "of vectors; save (n, d) or (n, c, h, w) numbers."
        )
    paths = _names(path, arrays, f"{modality}_paths", len(values))
    if f"{modality}_people" in arrays:
        return Table(values, paths, _names(path, arrays, f"{modality}_people", len(values)))
    return Table(values, paths, [_first_folder(name) for name in paths])


def _names(path: Path, arrays: Mapping[str, Any], name: str, count: int) -> list[str]:
    found = [str(each) for each in arrays.get(name, ())]
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
    """The columns of a Parquet file as the arrays of an npz."""
    pyarrow = import_pyarrow(path)
    try:
        table = pyarrow.parquet.read_table(path)
        parts = {one: table.filter(pyarrow.compute.field("modality") == one) for one in MODALITIES}
        return {name: array for one in MODALITIES for name, array in _columns(parts[one], one)}
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise BadRequest(
            f"{printable(path)} cannot be read as Parquet with the columns path, modality and "
            f"vector: {error}."
        ) from error


def _columns(table: Any, modality: Modality) -> Iterator[tuple[str, Any]]:
    """The rows of one modality as arrays by name, as an npz would hold them."""
    if not table.num_rows:
        return
    vectors = table.column("vector").combine_chunks()
    values = vectors.flatten().to_numpy(zero_copy_only=False)
    if len(values) % len(vectors) or len(set(vectors.value_lengths().to_pylist())) > 1:
        raise KeyError("the vectors of one modality have different lengths")
    yield f"{modality}s", values.reshape(len(vectors), -1)
    yield f"{modality}_paths", table.column("path").to_pylist()
    if "person" in table.column_names:
        yield f"{modality}_people", table.column("person").to_pylist()
