"""Bulk insert: rows of a Parquet file into one transaction of the catalog."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.cache.prewrite import Prewriter
from indexer.catalog import writer
from indexer.catalog.schema import file, item, source
from indexer.catalog.writer import SPAN_COLUMNS, CatalogWriter
from indexer.errors import BadRequest, printable
from indexer.exchange.parquet_reader import ParquetSource, RowBatch
from indexer.records import PERSON_COLUMNS, Person
from indexer.tables.parquet import FILE_COLUMNS
from indexer.tables.people import merged
from indexer.types import MODALITIES, Ids

Flags = NDArray[np.bool_]

PAGES = 1 << 27  # bytes of database pages cached during the import
_NONE = -1  # in place of a row number
_NO_MODALITY = len(MODALITIES)  # in place of a position in MODALITIES
_MODALITIES = np.array([*MODALITIES, None], object)


@dataclasses.dataclass(frozen=True, slots=True)
class ImportReport:
    """The content of an imported file.

    ``people``, ``faces``, ``voices``, ``files`` and ``rows`` are counts; ``replaced`` of the files
    were in the index before. ``notes`` are sentences on columns that were left out.
    """

    people: int
    faces: int
    voices: int
    files: int
    replaced: int
    rows: int = 0
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a batch as numbers, (n,) each.

    ``people`` and ``files`` are row numbers in the catalog, -1 for none; ``modalities`` are
    positions in MODALITIES; ``ends`` are NaN where there is none.
    """

    people: Ids
    files: Ids
    modalities: Ids
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]

    def spans(self, rows: Ids) -> list[list[Any]]:
        """Return the SPAN_COLUMNS of these rows."""
        ends = self.ends[rows].astype(object)
        ends[np.isnan(self.ends[rows])] = None
        modalities = _MODALITIES[self.modalities[rows]]
        columns = (self.files[rows], self.people[rows], modalities, self.starts[rows], ends)
        return [column.tolist() for column in columns]


class Importer:
    """Writes the batches of a file; metadata of people are written at the end."""

    def __init__(
        self, write: CatalogWriter, parquet: ParquetSource, prewriter: Prewriter | None = None
    ) -> None:
        write.hold_pages(PAGES)
        self._prewriter, self._next_item = prewriter, write.next_item()
        self._into_empty = not write.has_files()
        if self._into_empty:
            write.drop_indexes()
        self._write, self._parquet = write, parquet
        self._folder = printable(parquet.path.absolute().parent)
        self._first_file = self._next_file = write.next_number(file)
        self._known = {who.key: who for who in write.people().values()}
        self._numbers: dict[str, int] = {}  # row numbers of the people met
        self._cells: dict[str, dict[str, str]] = {}  # of people, by key
        self._varying: set[str] = set()  # further columns that vary within a person
        self._replaced = 0
        self._with_sources: list[Ids] = []  # files whose sources are rows of their own
        self._pairs: list[Ids] = []  # (2, n) files and people of items, each once per batch
        self._counts = np.zeros(len(MODALITIES), np.int64)

    def take(self, batch: RowBatch) -> None:
        """Write the rows of a batch; BadRequest, with the row, for a wrong one."""
        self._check(batch)
        for cells in batch.people:
            if "person" in cells:
                self._add_cells(self._cells.setdefault(cells["person"], {}), cells)
        starts, ends = self._times(batch)
        modalities = self._modalities(batch)
        rows = _Rows(self._people(batch), self._files(batch), modalities, starts, ends)
        self._put_sources(batch, rows)
        self._prewrite(batch, rows)
        self._put_items(batch, rows)
        self._counts += np.bincount(modalities[batch.has_vector], minlength=_NO_MODALITY)

    def finish(self) -> ImportReport:
        """Write the metadata of people and the sources of files without source rows."""
        self._put_whole_sources()
        if self._prewriter is not None:
            self._prewriter.finish()
        if self._into_empty:
            self._write.create_indexes()
        new = {
            key: Person.from_cells(
                {column: text for column, text in cells.items() if column not in self._varying}
            )
            for key, cells in self._cells.items()
        }
        known = {key: who for key, who in self._known.items() if key in new}
        self._write.put_people(list(merged(known, new).values()))
        faces, voices = self._counts.tolist()
        files = self._next_file - self._first_file
        rows, notes = self._parquet.rows, tuple(self._parquet.left_out)
        return ImportReport(len(self._numbers), faces, voices, files, self._replaced, rows, notes)

    def _check(self, batch: RowBatch) -> None:
        has = batch.has_vector
        self._reject(batch, has & (batch.coded("person").codes < 0), "the person is missing.")
        if self._parquet.space is None:
            self._reject(batch, ~has, "the vector is missing; take the row out.")
        self._reject(batch, ~has & ~_filled(batch, "path"), "it has neither a vector nor a path.")
        with_reason = has & _filled(batch, "refused")
        self._reject(batch, with_reason, "a file that was refused has no vectors.")

    def _reject(self, batch: RowBatch, wrong: Flags, what: str) -> None:
        if wrong.any():
            raise self._parquet.wrong(batch.first + int(np.argmax(wrong)), what)

    def _add_cells(self, known: dict[str, str], cells: dict[str, str]) -> None:
        """Add cells of a person; a further column that varies within a person is left out."""
        for column, text in cells.items():
            if known.setdefault(column, text) == text or column in self._varying:
                continue
            if column not in PERSON_COLUMNS:
                self._varying.add(column)
                self._parquet.leave_out(column, "says different things of one person")
                continue
            raise BadRequest(
                f"{printable(self._parquet.path)}: the {column} of {cells['person']!r} "
                f"is {known[column]!r} in one row and {text!r} in another."
            )

    def _people(self, batch: RowBatch) -> Ids:
        named = batch.coded("person")
        new = [key for key in named.texts if key not in self._numbers]
        self._numbers |= self._write.number_people(new)
        numbers = [self._numbers.get(key, _NONE) for key in named.texts]
        return np.array([*numbers, _NONE], np.int64)[named.codes]

    def _modalities(self, batch: RowBatch) -> Ids:
        named = batch.coded("modality")
        for at, text in enumerate(named.texts):
            if text not in MODALITIES:
                wrong = named.codes == at
                self._reject(batch, wrong, f"the modality is {text!r}; write face or voice.")
        self._reject(batch, batch.has_vector & (named.codes < 0), "the modality is missing.")
        positions = [MODALITIES.index(text) for text in named.texts if text in MODALITIES]
        return np.array([*positions, _NO_MODALITY], np.int64)[named.codes]

    def _times(self, batch: RowBatch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        starts = np.nan_to_num(batch.numbers("start_s"), posinf=np.inf)
        ends = batch.numbers("end_s")
        wrong = ~(np.isfinite(starts) & (starts >= 0))
        self._reject(batch, wrong, "start_s must be 0 seconds or more.")
        wrong = np.isinf(ends) | (ends < starts)
        self._reject(batch, wrong, "end_s must be a time after start_s.")
        return starts, ends

    def _files(self, batch: RowBatch) -> Ids:
        """Return row numbers of files; a vector without a path belongs to the Parquet file."""
        named = batch.coded("path")
        texts, codes = [self._absolute(text) for text in named.texts], named.codes
        without_path = batch.has_vector & (codes < 0)
        if without_path.any():
            codes = np.where(without_path, len(texts), codes)
            texts.append(self._absolute(self._parquet.path.name))
        numbers = self._number_files(batch, texts, codes)
        return np.array([*(numbers[text] for text in texts), _NONE], np.int64)[codes]

    def _absolute(self, path: str) -> str:
        return path if path.startswith("/") else os.path.normpath(f"{self._folder}/{path}")

    def _number_files(self, batch: RowBatch, texts: list[str], codes: Ids) -> dict[str, int]:
        """Return row numbers of files by path; adds new ones and replaces those of the index."""
        numbers = self._write.file_numbers(texts)
        stale = [number for number in numbers.values() if number < self._first_file]
        self._write.remove_numbered(stale)
        self._replaced += len(stale)
        numbers = {text: at for text, at in numbers.items() if at >= self._first_file}
        _, firsts = np.unique(codes[codes >= 0], return_index=True)
        rows = np.flatnonzero(codes >= 0)[firsts]  # the first row of each text
        first_rows: dict[str, int] = {}
        for text, row in zip(texts, rows.tolist(), strict=True):
            if text not in numbers:
                first_rows.setdefault(text, row)
        first_rows = dict(sorted(first_rows.items()))  # in the order of the index of paths
        at = np.array(list(first_rows.values()), np.int64)
        columns = [batch.at(column, at) for column in FILE_COLUMNS]
        new = range(self._next_file, self._next_file + len(first_rows))
        values = map(_file_values, new, first_rows, zip(*columns, strict=True))
        self._write.put_rows(file, writer.FILE_COLUMNS, list(values))
        self._next_file = new.stop
        return numbers | dict(zip(first_rows, new, strict=True))

    def _put_sources(self, batch: RowBatch, rows: _Rows) -> None:
        are_sources = ~batch.has_vector & (rows.people >= 0) & (rows.files >= 0)
        self._with_sources.append(np.unique(rows.files[are_sources]))
        places = np.flatnonzero(are_sources)
        columns = (*rows.spans(places), batch.at("fault", places))
        self._write.put_rows(source, (*SPAN_COLUMNS, "reason"), list(zip(*columns, strict=True)))

    def _put_whole_sources(self) -> None:
        """Write a source of the whole file for files without source rows."""
        if not self._pairs:
            return
        pairs = _distinct(*np.concatenate(self._pairs, axis=1))
        with_sources = np.concatenate(self._with_sources)
        files, people = pairs[:, ~np.isin(pairs[0], with_sources)].tolist()
        rows = zip(files, people, itertools.repeat(0.0), strict=False)
        self._write.put_rows(source, ("file_id", "person_id", "start_s"), list(rows))

    def _prewrite(self, batch: RowBatch, rows: _Rows) -> None:
        """Pass the items to the cache, with the ids that the catalog will give them."""
        if self._prewriter is None:
            return
        has = batch.has_vector
        first, self._next_item = self._next_item, self._next_item + len(batch.vectors)
        ids = np.arange(first, self._next_item)
        faces = rows.modalities[has] == MODALITIES.index("face")
        self._prewriter.add(ids, rows.people[has], faces, batch.vectors)

    def _put_items(self, batch: RowBatch, rows: _Rows) -> None:
        has = batch.has_vector
        self._pairs.append(_distinct(rows.files[has], rows.people[has]))
        boxes: list[str | None] = [None] * len(batch)
        for at, box in zip(
            np.flatnonzero(batch.has_box).tolist(), batch.boxes.tolist(), strict=True
        ):
            boxes[at] = json.dumps(box)
        content, size = batch.vectors.tobytes(), 4 * batch.vectors.shape[1]
        blobs = [content[at : at + size] for at in range(0, len(content), size)]
        columns = (
            *rows.spans(np.flatnonzero(has)),
            itertools.compress(boxes, has.tolist()),
            blobs,
        )
        self._write.put_rows(
            item, (*SPAN_COLUMNS, "box", "vector"), list(zip(*columns, strict=True))
        )


def _distinct(files: Ids, people: Ids) -> Ids:
    """Return (2, n) the distinct pairs of a file and a person."""
    width = int(people.max(initial=0)) + 1
    return np.stack(np.divmod(np.unique(files * width + people), width))


def _filled(batch: RowBatch, column: str) -> Flags:
    """Return which rows have a value in a column."""
    filled: Flags = batch.columns[column].is_valid().to_numpy(zero_copy_only=False)
    return filled


def _file_values(number: int, path: str, columns: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values of a file; missing ones are those of a file that was never read."""
    gallery, size, mtime_ns, sha256, settings, notes, reason, permanent = columns
    status = "ok" if reason is None else "refused"
    known = (gallery or "", size or 0, mtime_ns or 0, sha256 or "", settings or "", notes)
    return (number, path, *known, status, reason, permanent is not False)
