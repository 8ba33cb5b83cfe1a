"""Export of a whole index to a Parquet file, and import of vectors from one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from indexer.cache.prewrite import Prewriter
from indexer.catalog.in_memory import in_memory_catalog
from indexer.errors import BadRequest, ForeignSpace, NoIndex, printable
from indexer.exchange.bulk_insert import Importer, ImportReport
from indexer.exchange.parquet_reader import ParquetSource
from indexer.exchange.parquet_writer import ParquetTarget
from indexer.index import Index
from indexer.ingest.diff import CHUNK
from indexer.records import PERSON_COLUMNS, Person
from indexer.runtime.atomic import absolute
from indexer.runtime.prefetch import Prefetcher
from indexer.tables.parquet import attribute_column, group_rows
from indexer.types import Space

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, slots=True)
class ExportReport:
    """The content of an exported file: people, faces, voices, and files, refused ones too."""

    people: int
    faces: int
    voices: int
    files: int


def export_index(index: Index, path: Path | str, progress: Progress | None = None) -> ExportReport:
    """Write everything one revision of the index holds to a Parquet file.

    Files with their sources come first, then the items by id. The file appears when it is complete.

    Args:
        index: the index.
        path: the file.
        progress: is called with the number of items done and their total.

    Raises:
        BadRequest: the file cannot be written, or exists and is no Parquet file.
    """
    path = absolute(path)
    with index.catalog.read() as read:
        counts, people = read.counts(), read.people()
        attributes = list(dict.fromkeys(key for who in people.values() for key in who.attributes))
        size, done = group_rows(index.space.dim), 0
        with ParquetTarget(path, index.space, read.notes(), attributes) as target:
            for columns in read.source_rows(size):
                columns["lasting"] = list(map(bool, columns["lasting"]))
                target.write(_with_people(columns, people), len(columns["path"]))
            for columns in read.item_rows(size):
                ids, boxes = columns.pop("id"), columns["box"]
                columns["box"] = [None if box is None else json.loads(box) for box in boxes]
                vectors = read.checked_vectors(ids, columns.pop("vector"))
                target.write({**_with_people(columns, people), "vector": vectors}, len(ids))
                done += len(ids)
                if progress is not None:
                    progress(done, counts.faces + counts.voices)
    return ExportReport(counts.people, counts.faces, counts.voices, counts.files + counts.refused)


def import_file(
    path: Path | str,
    folder: Path | str,
    *,
    space: Space | None = None,
    notes: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Import the vectors of a Parquet file into the index in a folder, made if there is none.

    Everything is imported in one transaction, or nothing. Files of the index that the Parquet file
    contains too are replaced. An index that was made stays, empty, if the import fails.

    Args:
        path: the Parquet file.
        folder: the folder of the index.
        space: the space of the vectors; may be left out if the file says it.
        notes: notes for an index that is made, after those in the file.
        progress: is called with the number of rows done and their total.

    Raises:
        BadRequest: the file is wrong, with the row, or says no space.
        ForeignSpace: the vectors are of another space than those of the index.
        IndexBusy: another process is writing.
    """
    path, folder = absolute(path), absolute(folder)
    with ParquetSource(path) as source:
        space = _space(source, space)
        with (
            _opened(folder, space, {**source.notes, **(notes or {})}, path) as index,
            index.writing() as catalog,
            catalog.write("import") as write,
            Prewriter(index.prewrite, space.metric) as prewriter,
        ):
            return _import(source, Importer(write, source, prewriter), progress)


def plan_import(
    path: Path | str,
    folder: Path | str,
    *,
    space: Space | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Report what :func:`import_file` would import, without writing anything.

    Takes the same arguments and raises the same errors, except IndexBusy.
    """
    path = absolute(path)
    with ParquetSource(path) as source, contextlib.ExitStack() as stack:
        space = _space(source, space)
        try:
            index = stack.enter_context(Index.open(folder, upgrade=False))
        except NoIndex:
            index = None
        if index is not None:
            _check_space(index, space, path)
        write = stack.enter_context(in_memory_catalog(space))
        report = _import(source, Importer(write, source), progress)
        replaced = 0
        if index is not None:
            files = write.files()
            with index.catalog.read() as read:
                for start in range(0, len(files), CHUNK):
                    replaced += len(read.files_named(files[start : start + CHUNK]))
    return dataclasses.replace(report, replaced=replaced)


def vector_size(path: Path | str) -> int:
    """Return the length of the vectors of a Parquet file; BadRequest as :func:`import_file`."""
    with ParquetSource(absolute(path)) as source:
        return source.dim


def _import(source: ParquetSource, importer: Importer, progress: Progress | None) -> ImportReport:
    """Import all batches, each read while the one before is written."""
    with Prefetcher([source], ParquetSource.batches, workers=1, depth=1) as batches:
        for batch in batches:
            if batch is not None:
                importer.take(batch)
                if progress is not None:
                    progress(batch.first + len(batch) - 1, source.rows)
    return importer.finish()


def _space(source: ParquetSource, given: Space | None) -> Space:
    space, name = source.space or given, printable(source.path)
    if space is None:
        raise BadRequest(
            f"{name} does not say which model made its vectors; name it with --model, or if it "
            "is none of avsearch's, call it something with --space."
        )
    if given is not None and given != space:
        raise ForeignSpace(
            f"{name} holds vectors of {space.describe()}, not of {given.describe()}; leave the "
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


def _with_people(
    columns: dict[str, list[Any]], people: Mapping[int, Person]
) -> dict[str, list[Any]]:
    """Return columns with those of the people in place of their row numbers."""
    cells = {number: who.cells() for number, who in people.items()}
    owners = columns.pop("person_id")
    rows = [{} if owner is None else cells[owner] for owner in owners]
    names = {column: column for column in PERSON_COLUMNS}
    names |= {key: attribute_column(key) for who in people.values() for key in who.attributes}
    return {**{name: [row.get(key) for row in rows] for key, name in names.items()}, **columns}
