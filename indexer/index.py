"""The index: a catalog and its vectors in one folder."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self

import numpy as np

from indexer.approximate import Recall, measure_recall
from indexer.arguments import Value, filter_texts, require_one_of, whole_number
from indexer.catalog import catalog as catalogs
from indexer.catalog import migrations
from indexer.catalog.catalog import Catalog
from indexer.catalog.reader import CatalogReader
from indexer.errors import (
    AvsearchError,
    BadRequest,
    ForeignSpace,
    IndexDamaged,
    NoIndex,
    os_reason,
    printable,
)
from indexer.maintenance.erase import DeletionPlan, Receipt, proof
from indexer.records import Counts, Deletion, Item, Person
from indexer.runtime import lock
from indexer.runtime.atomic import absolute
from indexer.runtime.lock import only_writer
from indexer.search.segment import Segment
from indexer.search.vector_index import Device, SearchPlan
from indexer.search_cache import SearchCache
from indexer.types import METRICS, MODALITIES, Ids, Modality, Space, Vectors
from indexer.unicode_names import same_name


@dataclasses.dataclass(frozen=True, slots=True)
class SearchResult:
    """The items and scores of each query, best first, and the plan of the search."""

    hits: list[list[tuple[Item, float]]]
    plan: SearchPlan


class Index:
    """Faces and voices of people with their vectors of one space, in one folder.

    Made by :meth:`create`, :meth:`open` or :meth:`open_or_create`; a context manager. Any number
    of processes may read while one writes.

    Any number of threads may use one object, so a server opens an index once. They search at the
    same time, each call sees one revision, and writes of threads wait for each other; only another
    process that writes raises IndexBusy. After a fork, parent and child may both use it. Close it
    when no thread uses it any more.

    While an index is open, no code of the process may open the files of its catalog by other means
    than SQLite: closing them would release SQLite's locks, and other processes could overwrite what
    is being written.
    """

    def __init__(self, folder: Path, catalog: Catalog, device: Device = "cpu") -> None:
        self.folder = folder
        self.catalog = catalog
        self._cache = SearchCache(folder, catalog, device)

    @classmethod
    def create(
        cls,
        folder: Path | str,
        space: Space,
        *,
        notes: Mapping[str, str] | None = None,
        device: Device = "cpu",
    ) -> Index:
        """Create an empty index with these notes; BadRequest if there is one already."""
        require_one_of("metric", space.metric, METRICS)
        folder = absolute(folder)
        _make(folder)
        with only_writer(folder):
            if _exists(folder):
                raise BadRequest(f"There is an index in {printable(folder)} already.")
            return cls._created(folder, space, notes, device)

    @classmethod
    def _created(
        cls, folder: Path, space: Space, notes: Mapping[str, str] | None, device: Device
    ) -> Index:
        """Create an index; the caller holds the write lock and has seen none."""
        index = cls(folder, Catalog.create(folder / catalogs.NAME, space, notes or {}), device)
        index._cache.clear()  # there may be one of an index whose catalog was deleted
        return index

    @classmethod
    def open(cls, folder: Path | str, *, device: Device = "cpu", upgrade: bool = True) -> Index:
        """Open the index in a folder; no vector is read yet.

        Args:
            folder: the folder of the index.
            device: the device of searches.
            upgrade: migrate an index of an earlier version; refuse it otherwise.

        Raises:
            NoIndex: there is none.
            IndexDamaged: its catalog is not a catalog.
        """
        folder = absolute(folder)
        if not _exists(folder):
            raise NoIndex(
                f"There is no index in {printable(folder)}; make one with avsearch index GALLERY."
            )
        return cls(folder, Catalog.open(folder / catalogs.NAME, upgrade=upgrade), device)

    @classmethod
    def open_or_create(
        cls,
        folder: Path | str,
        space: Space,
        *,
        notes: Mapping[str, str] | None = None,
        device: Device = "cpu",
    ) -> Index:
        """Open the index in a folder, or create it, and write these notes to it.

        Raises ForeignSpace if it is of another space.
        """
        folder = absolute(folder)
        if not _exists(folder):
            _make(folder)
            with only_writer(folder):
                if not _exists(folder):  # another thread may have been quicker
                    return cls._created(folder, space, notes, device)
        index = cls.open(folder, device=device)
        try:
            index.check_space(space)
            index.note(notes or {})
        except AvsearchError:
            index.close()
            raise
        return index

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._cache.held = None
        self.catalog.close()

    @property
    def space(self) -> Space:
        """The space of its vectors."""
        return self.catalog.space

    @property
    def revision(self) -> int:
        """The number of the newest revision, which only ever grows."""
        with self.catalog.read() as read:
            return read.revision().number

    def counts(self) -> Counts:
        """Return the totals: people with items, faces, voices, files taken, files refused."""
        with self.catalog.read() as read:
            return read.counts()

    def refused(self) -> list[tuple[Path, str]]:
        """Return the files that were refused, by path, with the reasons."""
        with self.catalog.read() as read:
            return read.refused()

    def file_notes(self) -> list[tuple[Path, str]]:
        """Return the notes on files that were taken, by path."""
        with self.catalog.read() as read:
            return read.file_notes()

    def notes(self) -> dict[str, str]:
        """Return the notes on the index, such as the path of its model."""
        with self.catalog.read() as read:
            return read.notes()

    def note(self, notes: Mapping[str, str]) -> None:
        """Write notes; IndexBusy if another process is writing."""
        if notes.items() <= self.notes().items():
            return
        with self.writing() as catalog, catalog.write("note") as write:
            write.put_notes(notes)

    def people(self) -> list[Person]:
        """Return all people by key, including those whose files were all refused."""
        with self.catalog.read() as read:
            return list(read.people().values())

    def person(self, key: str) -> Person:
        """Return a person by the name of their folder; BadRequest with similar names otherwise."""
        with self.catalog.read() as read:
            return _person(read, key)

    def check_space(self, space: Space) -> None:
        """Raise ForeignSpace if vectors of ``space`` cannot be compared with those of the index."""
        if space != self.space:
            raise ForeignSpace(
                f"The index in {printable(self.folder)} was made by {self.space.describe()}, and "
                f"the model at hand is {space.describe()}; use the index's own model with "
                f"--model, or index the gallery into another folder with --index."
            )

    def search(
        self,
        vectors: Vectors,
        k: int,
        *,
        modality: Modality | None = None,
        where: Mapping[str, Value] | None = None,
        by: Literal["item", "person"] = "item",
        approximate: bool = False,
    ) -> SearchResult:
        """Return the k nearest items of each query, ties by item id.

        Args:
            vectors: (q, dim) float32 queries.
            k: number of neighbours.
            modality: face or voice; None means both.
            where: only people whose columns have these values, regardless of case: person, name,
                gender, nationality, or any further column of ``people.csv``. Values are compared
                as text, so that 1985 finds ``1985``.
            by: with ``person`` only the best item of each person counts, and k people are found
                whenever k match.
            approximate: search the approximate index, which finds most of the neighbours, except
                under a filter that leaves few.

        Raises:
            BadRequest: a query of the wrong size or not finite, k below 1, an unknown column, a
                value of another type, or no approximate index.
        """
        k = whole_number("The number of answers", k)
        _check_modality(modality)
        require_one_of("by", by, ("item", "person"))
        queries, texts = self._checked(vectors), filter_texts(where)
        with self.catalog.read() as read:
            snapshot = self._cache.snapshot(read)
            k = min(k, max(len(snapshot.vectors), 1))
            wanted = snapshot.row_filter(read, modality, texts)
            index = self._cache.approximate(read, snapshot) if approximate else snapshot.vectors
            if by == "person":
                found = snapshot.best_of_people(queries, k, wanted, index)
            else:
                found = index.nearest(queries, k, wanted)
            items = read.items(found.ids[found.ids >= 0])
        hits = [
            [(items[number], score) for number, score in zip(*row, strict=True) if number >= 0]
            for row in zip(found.ids.tolist(), found.scores.tolist(), strict=True)
        ]
        return SearchResult(hits, found.plan)

    def count_people(
        self, *, modality: Modality | None = None, where: Mapping[str, Value] | None = None
    ) -> int:
        """Return the number of people that match the filter of a :meth:`search`."""
        _check_modality(modality)
        texts = filter_texts(where)
        with self.catalog.read() as read:
            snapshot = self._cache.snapshot(read)
            return snapshot.count_people(snapshot.row_filter(read, modality, texts))

    def recall(self, sample: int = 100, k: int = 10) -> Recall:
        """Measure the share of the exact answers that the approximate index finds.

        Args:
            sample: number of items drawn from the index as queries.
            k: number of neighbours.

        Raises:
            BadRequest: there is no approximate index, or no item.
        """
        with self.catalog.read() as read:
            snapshot = self._cache.snapshot(read)
            index, ids = self._cache.approximate(read, snapshot), snapshot.vectors.ids
            if len(ids) < 2 or min(sample, k) < 1:
                raise BadRequest("Recall is measured with 1 item or more, of 2 or more there are.")
            drawn = np.sort(np.random.default_rng(0).permutation(ids)[:sample])
            vectors = read.vectors(drawn)
            exact = snapshot.vectors.nearest
            return measure_recall(exact, index.nearest, drawn, vectors, min(k, len(ids) - 1))

    def vectors_of(self, key: str, modality: Modality | None = None) -> tuple[Ids, Vectors]:
        """Return ids (n,) and vectors (n, dim) of a person's items, as the model made them."""
        _check_modality(modality)
        with self.catalog.read() as read:
            _person(read, key)
            ids = read.items_of(key, modality)
            return ids, read.vectors(ids)

    def items_of(self, key: str, modality: Modality | None = None) -> tuple[list[Item], Vectors]:
        """Return a person's items and their vectors (n, dim) as the model made them."""
        _check_modality(modality)
        with self.catalog.read() as read:
            _person(read, key)
            ids = read.items_of(key, modality)
            items = read.items(ids)
            return [items[number] for number in ids.tolist()], read.vectors(ids)

    def bytes_on_disk(self) -> int:
        """Return the size of all files in the folder."""
        total = 0
        for path in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # a writer may delete files of the cache
                total += path.stat().st_size if path.is_file() else 0
        return total

    def forgettable(self, key: str) -> DeletionPlan:
        """Return what :meth:`forget` would delete; BadRequest for an unknown person."""
        with self.catalog.read() as read:
            who, items = _person(read, key), len(read.items_of(key))
            return DeletionPlan(
                person=who.key,
                items=items,
                files=len(read.files_of(key)),
                backups=len(migrations.backups(self.catalog.path)),
                people_left=read.counts().people - min(items, 1),
            )

    def forget(self, key: str) -> Receipt:
        """Delete a person permanently, and search every byte of the folder for remains.

        Rows, vectors, free pages, the write-ahead log, the cache and the backups of the catalog
        are deleted. A record of how much was deleted stays, without the name: :meth:`deletions`.
        Raises BadRequest for an unknown person and IndexBusy if another process is writing.
        """
        with only_writer(self.folder):
            self._finish_deletions()
            with self.catalog.read() as read:
                who, ids, files = _person(read, key), read.items_of(key), read.files_of(key)
                vectors = read.vectors(ids)
                spelt = {part for path in files for part in path.parts if same_name(part, key)}
            with self.catalog.write("forget") as write:
                write.remove_person(key)
                number = write.put_receipt(len(vectors), len(files))
            backups = self._clear_files()
            self._cache.update()
            with self.catalog.read() as read:
                receipt = proof(
                    read, self.folder, who, vectors, files=len(files), backups=backups, spelt=spelt
                )
            self.catalog.complete_receipt(number, receipt.bytes_searched, clean=receipt.clean)
            return receipt

    def deletions(self) -> list[Deletion]:
        """Return the records of deleted people, the earliest first."""
        with self.catalog.read() as read:
            return read.deletions()

    def verify(self) -> list[str]:
        """Return the faults of the index in sentences; nothing is repaired."""
        try:
            with self.catalog.read() as read:
                return self._cache.problems(read)
        except IndexDamaged as error:  # too damaged to be read any further
            return [str(error)]

    def rebuild(self) -> None:
        """Rebuild the cache from the catalog."""
        with only_writer(self.folder):
            self._cache.clear()
            self._cache.update()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Catalog]:
        """Yield the catalog under the write lock, and update the cache at the end."""
        with only_writer(self.folder):
            self._finish_deletions()
            with self.catalog.read() as read:
                unnormalised = read.unnormalised_keys()
            if unnormalised:  # an earlier version wrote them
                with self.catalog.write("names") as write:
                    write.normalise_keys()
            try:
                yield self.catalog
                self._cache.update()
            finally:
                self._cache.discard_prewritten()

    def prewrite(self, segment: Segment) -> None:
        """Write a segment of items that are being written to the catalog to the cache."""
        self._cache.prewrite(segment)

    def _finish_deletions(self) -> None:
        """Clear the files of a deletion that was stopped after the rows were deleted."""
        with self.catalog.read() as read:
            stopped = read.unfinished_deletions()
        if stopped:
            self._clear_files()
        for number in stopped:
            self.catalog.complete_receipt(number, 0, clean=None)

    def _clear_files(self) -> int:
        """Remove deleted rows from all files, and return the number of backups deleted."""
        self._cache.clear()
        backups = migrations.backups(self.catalog.path)
        for backup in backups:
            backup.unlink()
        self.catalog.compact()
        return len(backups)

    def _checked(self, vectors: Vectors) -> Vectors:
        try:
            queries = np.asarray(vectors, np.float32)
        except (TypeError, ValueError) as error:
            raise BadRequest(f"The query is no array of numbers ({error}).") from error
        if queries.ndim != 2 or queries.shape[1] != self.space.dim:
            raise BadRequest(
                f"The query is of shape {queries.shape}; this index takes (n, {self.space.dim})."
            )
        if not np.isfinite(queries).all():
            raise BadRequest("The query has a number that is not finite; embed it again.")
        return queries


def has_other_things(folder: Path) -> bool:
    """Return whether a folder has files in it that are not those of an index, finished or not."""
    if not folder.is_dir() or _exists(folder):
        return False
    unfinished = (lock.NAME, Path(catalogs.NAME).stem)
    return any(not path.name.startswith(unfinished) for path in folder.iterdir())


def _check_modality(modality: object) -> None:
    if modality is not None:
        require_one_of("modality", modality, MODALITIES)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(
            f"No index can be made in {printable(folder)}: "
            f"{os_reason(error, 'choose another folder')}."
        ) from error


def _exists(folder: Path) -> bool:
    return (folder / catalogs.NAME).is_file()


def _person(read: CatalogReader, key: str) -> Person:
    known = read.person(key)
    if known is not None:
        return known
    import difflib  # needed for unknown names alone

    people = [who.key for who in read.people().values()]
    similar = difflib.get_close_matches(key, people, cutoff=0.5)
    hint = (
        f"did you mean {', '.join(similar)}?" if similar else "a person is named as the folder is."
    )
    raise BadRequest(f"There is no {key!r} in this index; {hint}")
