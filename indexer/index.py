"""The index: a catalog and its vectors in one folder."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from indexer.approximate import Recall, measure_recall
from indexer.arguments import Value, filter_texts, require_one_of, whole_number
from indexer.catalog import catalog as catalogs
from indexer.catalog import migrations
from indexer.catalog.catalog import Catalog
from indexer.catalog.lookup import Lookup
from indexer.errors import (
    AvsearchError,
    BadRequest,
    ForeignSpace,
    IndexDamaged,
    NoIndex,
    os_reason,
    printable,
)
from indexer.maintenance.erase import Forgettable, Receipt, proof
from indexer.records import Counts, Forgetting, Item, Person
from indexer.runtime.atomic import absolute
from indexer.runtime.lock import NAME as NAME_OF_LOCK
from indexer.runtime.lock import only_writer
from indexer.search.segment import Part
from indexer.search.vector_index import Device, Neighbours, Plan
from indexer.search_cache import Derived
from indexer.types import METRICS, MODALITIES, Ids, Modality, Space, Vectors
from indexer.unicode_names import same_name


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """Of each query its items and their scores, best first, and how they were sought."""

    hits: list[list[tuple[Item, float]]]
    plan: Plan


class Index:
    """Faces and voices of people, and their vectors of one space, in one folder.

    Made by :meth:`create`, :meth:`open` or :meth:`open_or_create`; a context manager. Any
    number of processes may read while one writes.

    Any number of threads may use one object, so a server opens an index once. They search at the
    same time, each call sees one revision, and what they write waits for what another thread
    writes; only another process makes it raise IndexBusy. After a fork, parent and child may both
    go on with it. Close it when no thread uses it any more.

    While an index is open, no code of the process may open files of its catalog by any means but
    SQLite: to close one would take SQLite's locks away, and with them what others write.
    """

    def __init__(self, folder: Path, catalog: Catalog, device: Device = "cpu") -> None:
        self.folder = folder
        self.catalog = catalog
        self._derived = Derived(folder, catalog, device)

    @classmethod
    def create(
        cls,
        folder: Path | str,
        space: Space,
        *,
        notes: Mapping[str, str] | None = None,
        device: Device = "cpu",
    ) -> Index:
        """A new, empty index with these notes; BadRequest where there is one already."""
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
        """A new index where the caller, who holds the write lock, has seen none."""
        index = cls(folder, Catalog.create(folder / catalogs.NAME, space, notes or {}), device)
        index._derived.clear()  # one may be left of an index whose catalog was taken away
        return index

    @classmethod
    def open(cls, folder: Path | str, *, device: Device = "cpu", upgrade: bool = True) -> Index:
        """The index in a folder, for search on this device; no vector is loaded yet.

        One of an earlier version is brought to this one, or without ``upgrade`` refused. Raises
        NoIndex where there is none, IndexDamaged where its catalog is not one.
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
        """The index in a folder, new if there is none, with these notes written to it.

        Raises ForeignSpace if it is of another space.
        """
        folder = absolute(folder)
        if not _exists(folder):
            _make(folder)
            with only_writer(folder):
                if not _exists(folder):  # still: another thread may have been quicker
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._derived.held = None
        self.catalog.close()

    @property
    def space(self) -> Space:
        """The space its vectors live in."""
        return self.catalog.space

    @property
    def revision(self) -> int:
        """The number of the newest state; it only ever grows."""
        with self.catalog.look() as read:
            return read.revision().number

    def counts(self) -> Counts:
        """Totals: people with items, faces, voices, files taken, files refused."""
        with self.catalog.look() as read:
            return read.counts()

    def refused(self) -> list[tuple[Path, str]]:
        """The files that were refused, by path, and why."""
        with self.catalog.read() as read:
            return read.refused()

    def file_notes(self) -> list[tuple[Path, str]]:
        """Return the notes about files that were taken, by path."""
        with self.catalog.read() as read:
            return read.file_notes()

    def notes(self) -> dict[str, str]:
        """What whoever writes to the index noted of it, such as where its model lies."""
        with self.catalog.look() as read:
            return read.notes()

    def note(self, notes: Mapping[str, str]) -> None:
        """Write notes; IndexBusy where somebody else is writing."""
        if notes.items() <= self.notes().items():
            return
        with self.writing() as catalog, catalog.write("note") as write:
            write.put_notes(notes)

    def people(self) -> list[Person]:
        """Everybody by key, those whose files were all refused too."""
        with self.catalog.look() as read:
            return list(read.people().values())

    def person(self, key: str) -> Person:
        """A person by the name of their folder; BadRequest with the nearest names otherwise."""
        with self.catalog.look() as read:
            return _person(read, key)

    def check_space(self, space: Space) -> None:
        """Raises ForeignSpace where vectors of ``space`` cannot be compared with those here."""
        if space != self.space:
            raise ForeignSpace(
                f"The index in {printable(self.folder)} was made by {self.space.describe()}, and "
                f"the model at hand is {space.describe()}; use the index's own model with "
                f"--model, or index the gallery anew into another folder with --index."
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
    ) -> Found:
        """The k nearest items of each of the (q, dim) float32 queries, ties by item number.

        ``where`` asks for people whose columns have these values, whatever their case:
        person, name, gender, nationality, or any further column of ``people.csv``. Values are
        compared as text, so that 1985 finds ``1985``. With ``by``
        person only the best item of each person counts, and k people are found whenever k
        match. ``approximate`` asks the index that was made for that, which finds most of them,
        except under a filter that leaves few. Raises BadRequest for a query of the wrong size or
        not finite, for k below 1, for a column that nobody has, for a value that is none of those
        allowed, and where there is no approximate index.
        """
        k = whole_number("The number of answers", k)
        _check_modality(modality)
        require_one_of("by", by, ("item", "person"))
        queries, texts = self._checked(vectors), filter_texts(where)
        with self.catalog.look() as read:
            snapshot = self._derived.snapshot(read)
            k = min(k, max(len(snapshot.vectors), 1))
            wanted = snapshot.wanted(read, modality, texts)
            way = self._derived.approximate(read, snapshot) if approximate else snapshot.vectors
            if by == "person":
                near = snapshot.best_of_people(queries, k, wanted, way)
            else:
                near = way.nearest(queries, k, wanted)
            return _found(near, read)

    def count_people(
        self, *, modality: Modality | None = None, where: Mapping[str, Value] | None = None
    ) -> int:
        """How many people could answer a :meth:`search` with this modality and filter."""
        _check_modality(modality)
        texts = filter_texts(where)
        with self.catalog.look() as read:
            snapshot = self._derived.snapshot(read)
            return snapshot.people_among(snapshot.wanted(read, modality, texts))

    def recall(self, sample: int = 100, k: int = 10) -> Recall:
        """How much of the exact answer the approximate index finds, asked with items drawn here.

        Raises BadRequest where there is no approximate index, or no item.
        """
        with self.catalog.look() as read:
            snapshot = self._derived.snapshot(read)
            way, ids = self._derived.approximate(read, snapshot), snapshot.vectors.ids
            if len(ids) < 2 or min(sample, k) < 1:
                raise BadRequest("Recall is measured with 1 item or more, of 2 or more there are.")
            drawn = np.sort(np.random.default_rng(0).permutation(ids)[:sample])
            vectors = read.vectors(drawn)
            exact = snapshot.vectors.nearest
            return measure_recall(exact, way.nearest, drawn, vectors, min(k, len(ids) - 1))

    def vectors_of(self, key: str, modality: Modality | None = None) -> tuple[Ids, Vectors]:
        """Ids (n,) and vectors (n, dim), as the model made them, of a person's items."""
        _check_modality(modality)
        with self.catalog.look() as read:
            _person(read, key)
            ids = read.items_of(key, modality)
            return ids, read.vectors(ids)

    def items_of(self, key: str, modality: Modality | None = None) -> tuple[list[Item], Vectors]:
        """A person's items, and their vectors (n, dim) as the model made them."""
        _check_modality(modality)
        with self.catalog.look() as read:
            _person(read, key)
            ids = read.items_of(key, modality)
            items = read.items(ids)
            return [items[number] for number in ids.tolist()], read.vectors(ids)

    def bytes_on_disk(self) -> int:
        """Return the size of all files in the folder, of those that are there meanwhile."""
        total = 0
        for path in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # a writer replaces files of the cache
                total += path.stat().st_size if path.is_file() else 0
        return total

    def forgettable(self, key: str) -> Forgettable:
        """What :meth:`forget` would delete; nothing is. BadRequest for somebody unknown."""
        with self.catalog.read() as read:
            who, items = _person(read, key), len(read.items_of(key))
            return Forgettable(
                person=who.key,
                items=items,
                files=len(read.files_of(key)),
                backups=len(migrations.backups(self.catalog.path)),
                people_left=read.counts().people - min(items, 1),
            )

    def forget(self, key: str) -> Receipt:
        """Delete a person for good, and search every byte of the folder for what is left.

        Rows, vectors, free pages, the write-ahead log, the cache and the backups of the catalog
        go. A note of how much was forgotten, and not of whom, stays: :meth:`forgettings`. Raises
        BadRequest for somebody unknown and IndexBusy where somebody else is writing.
        """
        with only_writer(self.folder):
            self._finish_forgetting()
            with self.catalog.read() as read:
                who, ids, files = _person(read, key), read.items_of(key), read.files_of(key)
                vectors = read.vectors(ids)
                spelt = {part for path in files for part in path.parts if same_name(part, key)}
            with self.catalog.write("forget") as write:
                write.remove_person(key)
                number = write.put_receipt(len(vectors), len(files))
            backups = self._clear_files()
            self._derived.bring_forward()
            with self.catalog.read() as read:
                receipt = proof(
                    read, self.folder, who, vectors, files=len(files), backups=backups, spelt=spelt
                )
            self.catalog.prove(number, receipt.bytes_searched, clean=receipt.clean)
            return receipt

    def forgettings(self) -> list[Forgetting]:
        """When somebody was forgotten and what came of it, the earliest first."""
        with self.catalog.read() as read:
            return read.forgettings()

    def verify(self) -> list[str]:
        """What is wrong with the index, in sentences; empty if nothing is. Repairs nothing."""
        try:
            with self.catalog.read() as read:
                return self._derived.problems(read)
        except IndexDamaged as error:  # so damaged that it cannot be asked further
            return [str(error)]

    def rebuild(self) -> None:
        """Make the cache anew from the catalog."""
        with only_writer(self.folder):
            self._derived.clear()
            self._derived.bring_forward()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Catalog]:
        """The catalog to write to, held by nobody else; the cache follows at the end."""
        with only_writer(self.folder):
            self._finish_forgetting()
            self._normalise_keys()
            try:
                yield self.catalog
                self._derived.bring_forward()
            finally:
                self._derived.drop_kept()

    def keep(self, part: Part) -> None:
        """Have the items of a part, which are just being written, in the cache already."""
        self._derived.keep(part)

    def _finish_forgetting(self) -> None:
        """Clear the files of a forgetting that was stopped after the rows were deleted."""
        with self.catalog.read() as read:
            stopped = read.unfinished_forgettings()
        if stopped:
            self._clear_files()
        for number in stopped:
            self.catalog.prove(number, 0, clean=None)

    def _normalise_keys(self) -> None:
        """Bring the keys of people that an earlier version left in other Unicode forms to NFC."""
        with self.catalog.look() as read:
            strange = read.unnormalised_keys()
        if strange:
            with self.catalog.write("names") as write:
                write.normalise_keys()

    def _clear_files(self) -> int:
        """Rid all files of what was deleted from the catalog; how many backups went."""
        self._derived.clear()
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


def _check_modality(modality: object) -> None:
    """None is any; BadRequest for what is no modality."""
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


def has_other_things(folder: Path) -> bool:
    """Whether a folder is in use, and not by an index, finished or not."""
    if not folder.is_dir() or _exists(folder):
        return False
    unfinished = (NAME_OF_LOCK, Path(catalogs.NAME).stem)
    return any(not path.name.startswith(unfinished) for path in folder.iterdir())


def _exists(folder: Path) -> bool:
    return (folder / catalogs.NAME).is_file()


def _person(read: Lookup, key: str) -> Person:
    known = read.person(key)
    if known is not None:
        return known
    import difflib  # nobody who is known needs it

    people = [who.key for who in read.people().values()]
    near = difflib.get_close_matches(key, people, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "a person is named as the folder is."
    raise BadRequest(f"There is no {key!r} in this index; {hint}")


def _found(near: Neighbours, read: Lookup) -> Found:
    items = read.items(near.ids[near.ids >= 0])
    hits = [
        [(items[number], score) for number, score in zip(*row, strict=True) if number >= 0]
        for row in zip(near.ids.tolist(), near.scores.tolist(), strict=True)
    ]
    return Found(hits, near.plan)
