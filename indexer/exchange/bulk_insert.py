"""Rows of a Parquet file into one transaction of the catalog, many at a time."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.cache.prewrite import Keeping
from indexer.catalog.schema import file, item, source
from indexer.catalog.writer import Writer
from indexer.errors import BadRequest, printable
from indexer.exchange.parquet_reader import Batch, ParquetSource
from indexer.records import PERSON_COLUMNS, Person
from indexer.tables.parquet import FILE_COLUMNS
from indexer.tables.people import merged
from indexer.types import MODALITIES, Ids

Flags = NDArray[np.bool_]

_SPAN = ("file_id", "person_id", "modality", "start_s", "end_s")
_FILE = ("id", "path", *FILE_COLUMNS[:-2], "status", "reason", "lasting")
PAGES = 1 << 27  # bytes of the catalog's pages to hold in memory meanwhile
_NOBODY = -1
_UNKNOWN = len(MODALITIES)  # the place of no modality, behind those there are
_MODALITIES = np.array([*MODALITIES, None], object)


@dataclasses.dataclass(frozen=True, slots=True)
class Imported:
    """What was taken: people, faces, voices, files; ``replaced`` were in the index before.

    ``rows`` is how many rows said so. ``notes`` are sentences
    on columns of the file that were left out.
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
    """What the rows of a batch say, as numbers: (n,) each.

    ``people`` and ``files`` are row numbers in the catalog, -1 for none; ``modalities`` places
    in MODALITIES; ``ends`` NaN where there is none.
    """

    people: Ids
    files: Ids
    modalities: Ids
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]

    def spans(self, places: Ids) -> list[list[Any]]:
        """The columns _SPAN of the rows at these places."""
        modalities = _MODALITIES[self.modalities[places]]
        starts, ends = self.starts[places], self.ends[places].astype(object)
        ends[np.isnan(self.ends[places])] = None
        columns = (self.files[places], self.people[places], modalities, starts, ends)
        return [column.tolist() for column in columns]


class Importer:
    """Takes the batches of a file in; what they say of people is written at the end."""

    def __init__(
        self, write: Writer, parquet: ParquetSource, keeping: Keeping | None = None
    ) -> None:
        write.hold_pages(PAGES)
        self._keeping, self._next_item = keeping, write.next_item()
        self._bulk = not write.holds_files()
        if self._bulk:
            write.drop_indexes()
        self._write, self._parquet = write, parquet
        self._folder = printable(parquet.path.absolute().parent)
        self._first_file = self._next_file = write.next_number(file)
        self._known = {who.key: who for who in write.people().values()}
        self._numbers: dict[str, int] = {}  # of the people met
        self._said: dict[str, dict[str, str]] = {}
        self._changing: set[str] = set()  # further columns that are not of people
        self._replaced = 0
        self._asked: list[Ids] = []  # files of which a row says what was asked
        self._taken: list[Ids] = []  # (2, n) files and people of items, each once a batch
        self._counts = np.zeros(len(MODALITIES), np.int64)

    def take(self, batch: Batch) -> None:
        """Write the rows of a batch; BadRequest, naming the row, for one that is wrong."""
        self._check(batch)
        self._hear(batch)
        starts, ends = self._times(batch)
        modalities = self._modalities(batch)
        rows = _Rows(self._people(batch), self._files(batch), modalities, starts, ends)
        self._put_sources(batch, rows)
        self._keep(batch, rows)
        self._put_items(batch, rows)
        self._counts += np.bincount(modalities[batch.has_vector], minlength=_UNKNOWN)

    def finish(self) -> Imported:
        """Write what was said of people, and that files without a word of it were taken whole."""
        self._ask_for_all()
        if self._keeping is not None:
            self._keeping.finish()
        if self._bulk:
            self._write.create_indexes()
        said = {
            key: Person.from_cells(
                {c: text for c, text in cells.items() if c not in self._changing}
            )
            for key, cells in self._said.items()
        }
        known = {key: who for key, who in self._known.items() if key in said}
        self._write.put_people(list(merged(known, said).values()))
        faces, voices = self._counts.tolist()
        files = self._next_file - self._first_file
        rows, notes = self._parquet.rows, tuple(self._parquet.left_out)
        return Imported(len(self._numbers), faces, voices, files, self._replaced, rows, notes)

    def _check(self, batch: Batch) -> None:
        has = batch.has_vector
        self._refuse(batch, has & (batch.coded("person").codes < 0), "the person is missing.")
        if self._parquet.space is None:
            self._refuse(batch, ~has, "the vector is missing; take the row out.")
        self._refuse(batch, ~has & ~_says(batch, "path"), "it has neither a vector nor a path.")
        self._refuse(
            batch, has & _says(batch, "refused"), "a file that was refused has no vectors."
        )

    def _refuse(self, batch: Batch, wrong: Flags, what: str) -> None:
        if wrong.any():
            raise self._parquet.wrong(batch.first + int(np.argmax(wrong)), what)

    def _hear(self, batch: Batch) -> None:
        """Note what is said of people, each thing once and the same in every row."""
        for cells in batch.people:
            if "person" in cells:
                self._agree(self._said.setdefault(cells["person"], {}), cells)

    def _agree(self, said: dict[str, str], cells: dict[str, str]) -> None:
        """Add what a row says of a person; a further column that changes says it of the items."""
        for column, text in cells.items():
            if said.setdefault(column, text) == text or column in self._changing:
                continue
            if column not in PERSON_COLUMNS:
                self._changing.add(column)
                self._parquet.leave_out(column, "says different things of one person")
                continue
            raise BadRequest(
                f"{printable(self._parquet.path)}: the {column} of {cells['person']!r} "
                f"is {said[column]!r} in one row and {text!r} in another."
            )

    def _people(self, batch: Batch) -> Ids:
        named = batch.coded("person")
        new = [key for key in named.texts if key not in self._numbers]
        self._numbers |= self._write.number_people(new)
        numbers = [self._numbers.get(key, _NOBODY) for key in named.texts]
        return np.array([*numbers, _NOBODY], np.int64)[named.codes]

    def _modalities(self, batch: Batch) -> Ids:
        named = batch.coded("modality")
        for text in named.texts:
            if text not in MODALITIES:
                at = named.codes == named.texts.index(text)
                self._refuse(batch, at, f"the modality is {text!r}; write face or voice.")
        self._refuse(batch, batch.has_vector & (named.codes < 0), "the modality is missing.")
        places = [MODALITIES.index(text) for text in named.texts if text in MODALITIES]
        return np.array([*places, _UNKNOWN], np.int64)[named.codes]

    def _times(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        starts, ends = (
            np.nan_to_num(batch.numbers("start_s"), posinf=np.inf),
            batch.numbers("end_s"),
        )
        wrong = ~(np.isfinite(starts) & (starts >= 0))
        self._refuse(batch, wrong, "start_s must be 0 seconds or more.")
        wrong = np.isinf(ends) | (ends < starts)
        self._refuse(batch, wrong, "end_s must be a time after start_s.")
        return starts, ends

    def _files(self, batch: Batch) -> Ids:
        """The numbers of the rows' files; vectors without one are of the Parquet file itself."""
        named = batch.coded("path")
        texts, codes = [self._absolute(text) for text in named.texts], named.codes
        homeless = batch.has_vector & (codes < 0)
        if homeless.any():
            codes = np.where(homeless, len(texts), codes)
            texts.append(self._absolute(self._parquet.path.name))
        numbers = self._number_files(batch, texts, codes)
        return np.array([*(numbers[text] for text in texts), _NOBODY], np.int64)[codes]

    def _absolute(self, path: str) -> str:
        return path if path.startswith("/") else os.path.normpath(f"{self._folder}/{path}")

    def _number_files(self, batch: Batch, texts: list[str], codes: Ids) -> dict[str, int]:
        """The numbers of files; what was in the index before makes place for what is new."""
        numbers = self._write.file_numbers(texts)
        stale = [number for number in numbers.values() if number < self._first_file]
        self._write.remove_numbered(stale)
        self._replaced += len(stale)
        numbers = {text: at for text, at in numbers.items() if at >= self._first_file}
        _, firsts = np.unique(codes[codes >= 0], return_index=True)
        rows = np.flatnonzero(codes >= 0)[firsts]  # the first of each text
        new: dict[str, int] = {}
        for text, row in zip(texts, rows.tolist(), strict=True):
            if text not in numbers:
                new.setdefault(text, row)
        new = dict(sorted(new.items()))  # neighbours in the index of paths
        self._put_files(batch, new)
        return numbers | dict(
            zip(new, range(self._next_file - len(new), self._next_file), strict=True)
        )

    def _put_files(self, batch: Batch, new: dict[str, int]) -> None:
        """Write files with what the rows ``new`` say of them."""
        rows = np.array(list(new.values()), np.int64)
        said = [batch.at(column, rows) for column in FILE_COLUMNS]
        numbers = range(self._next_file, self._next_file + len(new))
        values = map(_file_values, numbers, new, zip(*said, strict=True))
        self._write.put_rows(file, _FILE, list(values))
        self._next_file += len(new)

    def _put_sources(self, batch: Batch, rows: _Rows) -> None:
        asked = ~batch.has_vector & (rows.people >= 0) & (rows.files >= 0)
        self._asked.append(np.unique(rows.files[asked]))
        places = np.flatnonzero(asked)
        columns = (*rows.spans(places), batch.at("fault", places))
        self._write.put_rows(source, (*_SPAN, "reason"), list(zip(*columns, strict=True)))

    def _ask_for_all(self) -> None:
        """Of a file of whose sources no row speaks everything was asked."""
        if not self._taken:
            return
        taken = _different(*np.concatenate(self._taken, axis=1))
        asked = np.concatenate(self._asked)
        files, people = taken[:, ~np.isin(taken[0], asked)].tolist()
        rows = zip(files, people, itertools.repeat(0.0), strict=False)
        self._write.put_rows(source, ("file_id", "person_id", "start_s"), list(rows))

    def _keep(self, batch: Batch, rows: _Rows) -> None:
        """Have the items in the cache, by the numbers that the catalog will give them."""
        if self._keeping is None:
            return
        has = batch.has_vector
        first, self._next_item = self._next_item, self._next_item + len(batch.vectors)
        ids = np.arange(first, self._next_item)
        faces = rows.modalities[has] == MODALITIES.index("face")
        self._keeping.add(ids, rows.people[has], faces, batch.vectors)

    def _put_items(self, batch: Batch, rows: _Rows) -> None:
        has = batch.has_vector
        self._taken.append(_different(rows.files[has], rows.people[has]))
        spans = rows.spans(np.flatnonzero(has))
        columns = (*spans, _boxes(batch), _blobs(batch))
        self._write.put_rows(item, (*_SPAN, "box", "vector"), list(zip(*columns, strict=True)))


def _different(files: Ids, people: Ids) -> Ids:
    """(2, n) the different pairs of a file and a person."""
    width = int(people.max(initial=0)) + 1
    return np.stack(np.divmod(np.unique(files * width + people), width))


def _says(batch: Batch, column: str) -> Flags:
    """Which rows have something in a column."""
    said: Flags = batch.columns[column].is_valid().to_numpy(zero_copy_only=False)
    return said


def _file_values(number: int, path: str, said: tuple[Any, ...]) -> tuple[Any, ...]:
    """A file as the catalog has it; what was not said is as of a file that was never read."""
    gallery, size, mtime_ns, sha256, settings, notes, refused, lasting = said
    status = "ok" if refused is None else "refused"
    facts = (gallery or "", size or 0, mtime_ns or 0, sha256 or "", settings or "", notes)
    return (number, path, *facts, status, refused, lasting is not False)


def _boxes(batch: Batch) -> list[str | None]:
    """The box of each vector, as the catalog has it."""
    boxes: list[str | None] = [None] * len(batch)
    for at, box in zip(np.flatnonzero(batch.has_box).tolist(), batch.boxes.tolist(), strict=True):
        boxes[at] = json.dumps(box)
    return list(itertools.compress(boxes, batch.has_vector.tolist()))


def _blobs(batch: Batch) -> list[bytes]:
    """The bytes of each vector."""
    content, size = batch.vectors.tobytes(), 4 * batch.vectors.shape[1]
    return [content[at : at + size] for at in range(0, len(content), size)]
