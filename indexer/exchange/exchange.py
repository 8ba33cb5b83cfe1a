"""A whole index out to a Parquet file, and vectors of a Parquet file in."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from indexer.cache.prewrite import Keeping
from indexer.catalog.in_memory import rehearsal
from indexer.catalog.reader import Reader
from indexer.errors import BadRequest, ForeignSpace, NoIndex, printable
from indexer.exchange.bulk_insert import Imported, Importer
from indexer.exchange.parquet_reader import Batch, ParquetSource
from indexer.exchange.parquet_writer import ParquetTarget
from indexer.index import Index
from indexer.ingest.diff import CHUNK
from indexer.records import PERSON_COLUMNS, Person
from indexer.runtime.atomic import absolute
from indexer.runtime.prefetch import ReadAhead
from indexer.tables.parquet import attribute_column, group_rows
from indexer.types import Space

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Exported:
    """What was written: people, faces, voices and files, refused ones too."""

    people: int
    faces: int
    voices: int
    files: int


def export_index(index: Index, path: Path | str, progress: Progress | None = None) -> Exported:
    """Write everything one revision of the index holds to a Parquet file.

    First what is known of files and was asked of them, then the items by number. The file
    appears when it is whole. ``progress`` is called with the items done and their total. Raises
    BadRequest where the file cannot be written or is there and no Parquet file.
    """
    path = absolute(path)
    with index.catalog.read() as read:
        counts, people = read.counts(), read.people()
        columns = list(dict.fromkeys(key for who in people.values() for key in who.attributes))
        size, done = group_rows(index.space.dim), 0
        with ParquetTarget(path, index.space, read.notes(), columns) as target:
            for rows in read.asked_rows(size):
                target.write(_asked_columns(rows, people), len(rows))
            for rows in read.item_rows(size):
                target.write(_item_columns(rows, people, read), len(rows))
                done += len(rows)
                if progress is not None:
                    progress(done, counts.faces + counts.voices)
    return Exported(counts.people, counts.faces, counts.voices, counts.files + counts.refused)


def import_file(
    path: Path | str,
    folder: Path | str,
    *,
    space: Space | None = None,
    notes: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Take the vectors of a Parquet file into the index in a folder, made if there is none.

    All of it is taken, in one transaction, or nothing. A file of the index that the Parquet file
    has too is replaced. ``space`` says which model made the vectors; it may be left out where
    the file says it. The ``notes`` are written to an index that is made, after those in the
    file. ``progress`` is called with the rows done and their total.

    Raises BadRequest for a file that is wrong, naming the row, or that says no space,
    ForeignSpace for vectors of another space than the index's, IndexBusy where somebody else
    writes. An index that was made stays, empty.
    """
    path, folder = absolute(path), absolute(folder)
    with ParquetSource(path) as source:
        space = _space(source, space)
        with (
            _opened(folder, space, {**source.notes, **(notes or {})}, path) as index,
            index.writing() as catalog,
            catalog.write("import") as write,
            Keeping(index.keep, space.metric) as keeping,
        ):
            importer = Importer(write, source, keeping)
            for batch in _read_ahead(source):
                importer.take(batch)
                if progress is not None:
                    progress(batch.first + len(batch) - 1, source.rows)
            return importer.finish()


def plan_import(
    path: Path | str,
    folder: Path | str,
    *,
    space: Space | None = None,
    progress: Progress | None = None,
) -> Imported:
    """What :func:`import_file` would take; writes nothing.

    Raises what that does, but for IndexBusy.
    """
    path = absolute(path)
    with ParquetSource(path) as source, contextlib.ExitStack() as stack:
        space = _space(source, space)
        index = _existing(folder)
        if index is not None:
            stack.enter_context(index)
            _check_space(index, space, path)
        write = stack.enter_context(rehearsal(space))
        importer = Importer(write, source)
        for batch in _read_ahead(source):
            importer.take(batch)
            if progress is not None:
                progress(batch.first + len(batch) - 1, source.rows)
        done = importer.finish()
        replaced = 0 if index is None else _known_files(index, write.files())
    return dataclasses.replace(done, replaced=replaced)


def _existing(folder: Path | str) -> Index | None:
    """The index in a folder, as it is; None where there is none."""
    try:
        return Index.open(folder, upgrade=False)
    except NoIndex:
        return None


def _known_files(index: Index, files: Sequence[Path]) -> int:
    """How many of these files an index has."""
    with index.catalog.read() as read:
        some = (files[at : at + CHUNK] for at in range(0, len(files), CHUNK))
        return sum(len(read.files_named(each)) for each in some)


def _read_ahead(source: ParquetSource) -> Iterator[Batch]:
    """The batches of a file, each read while the one before is written."""
    with ReadAhead([source], ParquetSource.batches, workers=1, depth=1) as batches:
        yield from (batch for batch in batches if batch is not None)


def vector_size(path: Path | str) -> int:
    """How many numbers the vectors of a Parquet file have; BadRequest as :func:`import_file`."""
    with ParquetSource(absolute(path)) as source:
        return source.dim


def _space(source: ParquetSource, told: Space | None) -> Space:
    space, name = source.space or told, printable(source.path)
    if space is None:
        raise BadRequest(
            f"{name} does not say which model made its vectors; name it with --model, or if it "
            "is none of avsearch's, call it something with --space."
        )
    if told is not None and told != space:
        raise ForeignSpace(
            f"{name} holds vectors of {space.describe()}, not of {told.describe()}; leave the "
            "model out, the file says it."
        )
    if space.dim != source.dim:
        raise BadRequest(
            f"{name} holds vectors of {source.dim} numbers, and {space.describe()} makes "
            f"{space.dim}; name the model that made them."
        )
    return space


def _opened(folder: Path, space: Space, notes: Mapping[str, str], path: Path) -> Index:
    try:
        index = Index.open(folder)
    except NoIndex:
        return Index.create(folder, space, notes=notes)
    try:
        _check_space(index, space, path)
    except ForeignSpace:
        index.close()
        raise
    return index


def _check_space(index: Index, space: Space, path: Path) -> None:
    if index.space != space:
        raise ForeignSpace(
            f"{printable(path)} holds vectors of {space.describe()}, and the index in "
            f"{printable(index.folder)} has those of {index.space.describe()}; "
            "import it into another folder with --index."
        )


def _asked_columns(rows: Sequence[Row[Any]], people: Mapping[int, Person]) -> dict[str, Any]:
    """The columns of rows that say what is known of a file and was asked of it."""
    names = rows[0]._fields
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return {**_person_columns(columns.pop("person_id"), people), **columns}


def _item_columns(
    rows: Sequence[Row[Any]], people: Mapping[int, Person], read: Reader
) -> dict[str, Any]:
    numbers, owners, *rest, blobs = zip(*rows, strict=True)
    names = rows[0]._fields[2:-1]
    return {
        **_person_columns(owners, people),
        **dict(zip(names, map(list, rest), strict=True)),
        "vector": read.checked_vectors(numbers, blobs),
    }


def _person_columns(
    owners: Sequence[int | None], people: Mapping[int, Person]
) -> dict[str, list[str | None]]:
    cells = {number: who.cells() for number, who in people.items()}
    said = [{} if owner is None else cells[owner] for owner in owners]
    columns = {column: column for column in PERSON_COLUMNS}
    columns |= {key: attribute_column(key) for who in people.values() for key in who.attributes}
    return {column: [each.get(key) for each in said] for key, column in columns.items()}
