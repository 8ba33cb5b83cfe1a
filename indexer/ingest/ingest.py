"""Indexing a gallery: scan, compare, read, embed, write. It can be resumed at any point."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from indexer.catalog.catalog import Catalog
from indexer.catalog.in_memory import in_memory_catalog
from indexer.catalog.writer import CatalogWriter
from indexer.errors import printable
from indexer.index import Index
from indexer.ingest.diff import Changes, FileJob, changes, is_up_to_date
from indexer.ingest.file_in_progress import FileInProgress
from indexer.ingest.pending_files import PendingFiles
from indexer.ingest.read_file import End, FilePart, FileReader
from indexer.ingest.scan import Scan, scan
from indexer.ingest.subjects import Contest, Matcher
from indexer.maintenance.prune import (
    Confirm,
    Loss,
    losses,
    may_remove,
    require_something_left,
    still_lost,
)
from indexer.records import Duplicate, FileRecord, NewItem, map_people
from indexer.runtime.prefetch import Prefetcher
from indexer.types import Embedded, Embedder, Extractor, Modality, Space

COMMIT_FILES = 256  # files of one transaction, at most
COMMIT_S = 2.0  # seconds after which embedded files are written

NOT_FINITE = "the model gives no finite vector for it; look whether it is silent or blank."

Progress = Callable[[int, int], None]
MergeItems = Callable[[Path, Sequence[NewItem]], Sequence[NewItem]]


@dataclasses.dataclass(slots=True)
class IngestReport:
    """The result of a run.

    ``added``, ``updated``, ``unchanged``, ``moved`` and ``removed`` count files, each in one of
    them.

    Attributes:
        index: the folder of the index.
        people: total of the index after the run, as ``faces`` and ``voices``.
        moved: files found under another path while the old one is gone; they keep their items.
        refused: path and reason of every file of the gallery that was not taken, in this run or
            before, and of every source named by a manifest that gave no item.
        missing: files of the index that are gone from the gallery; only a run with ``prune``
            removes them.
        vanished: galleries without any of their files, and the number of files that the index has
            of each; ``missing`` contains these too.
        ignored: number of files that are not media, by suffix.
        unmatched: people of a ``people.csv`` who have no folder in its gallery.
        duplicates: files of the index with the same bytes and different people.
        notes: path and sentence for everything lost, left out or chosen in a file of the gallery
            that was taken, in this run or before, and in its tables.
        passed_over: number of files and folders that systems and programs leave in a gallery, by
            name.
    """

    index: Path
    people: int = 0
    faces: int = 0
    voices: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    refused: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    missing: list[Path] = dataclasses.field(default_factory=list)
    ignored: dict[str, int] = dataclasses.field(default_factory=dict)
    unmatched: list[str] = dataclasses.field(default_factory=list)
    moved: int = 0
    duplicates: list[Duplicate] = dataclasses.field(default_factory=list)
    notes: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    passed_over: dict[str, int] = dataclasses.field(default_factory=dict)
    vanished: dict[Path, int] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as the JSON object of ``avsearch index``."""
        return {
            "index": printable(self.index),
            "people": self.people,
            "faces": self.faces,
            "voices": self.voices,
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "moved": self.moved,
            "refused": [
                {"path": printable(path), "reason": reason} for path, reason in self.refused
            ],
            "duplicates": [
                {"paths": [printable(path) for path in same.paths], "people": list(same.people)}
                for same in self.duplicates
            ],
            "notes": [{"path": printable(path), "note": note} for path, note in self.notes],
            "ignored": self.ignored,
            "passed_over": self.passed_over,
            "seconds": round(self.seconds, 3),
        }

    def count_in(self, record: FileRecord) -> None:
        """List the refusals and the notes of a file."""
        self.refused += record.refusals()
        self.notes += [(record.path, note) for note in record.notes]


def ingest(
    index: Index,
    galleries: Path | str | Scan | Sequence[Path | str | Scan],
    extractor: Extractor,
    embedder: Embedder,
    *,
    batch_size: int = 128,
    workers: int = 2,
    prune: bool = False,
    confirm: Confirm | None = None,
    progress: Progress | None = None,
    merge_items: MergeItems | None = None,
    matcher: Matcher | None = None,
) -> IngestReport:
    """Bring the index up to date with galleries.

    Takes only files that are new or changed. A file that is refused stops nothing; any other
    exception is raised, and files finished before it stay. People without any file left are
    dropped; people in tables who have no file are not stored.

    Args:
        index: the index to write to.
        galleries: folders, or scans of them.
        extractor: finds faces and speech in files.
        embedder: makes their vectors.
        batch_size: items embedded at once.
        workers: threads that read files.
        prune: remove the files that are gone.
        confirm: is asked before ``prune`` removes more than half of the files of a gallery.
        progress: is called with the number of files done and their total.
        merge_items: is given the items of a file once all are embedded, and returns the items
            to be written.
        matcher: tells people apart, so that of several people in a file only the one who agrees
            with the person's other files is written (:mod:`indexer.ingest.subjects`). Without it
            all are. Time ranges that a manifest names are written as they are.

    Raises:
        ForeignSpace: the embedder is of another space.
        IndexBusy: another process writes to the index.
        BadRequest: a gallery or table is wrong. With ``prune``, before anything is done: a gallery
            has none of its files left, or less than half of them and there is no ``confirm``.
    """
    started = time.monotonic()
    index.check_space(embedder.space)
    scans = _scans(galleries, extractor)
    report = IngestReport(
        index.folder,
        ignored=_summed(each.ignored for each in scans),
        unmatched=_unmatched(scans),
        notes=[note for each in scans for note in each.notes],
        passed_over=_summed(each.passed_over for each in scans),
    )
    with index.writing() as catalog:
        with catalog.read() as read:
            todo = changes(read, scans, extractor.settings)
            lost = losses(read, scans, todo.maybe_moved)
        if prune:
            require_something_left(lost)
            prune = may_remove(lost, confirm)
        _write_known(catalog, todo, report)
        intake = _Intake(
            catalog, embedder, todo, report, batch_size, progress, merge_items, matcher
        )
        reader = FileReader(extractor)
        intake.run(todo.jobs, reader, workers)
        _sweep(catalog, lost, report, prune=prune, confirm=confirm)
        intake.decide(reader, workers)
        with catalog.read() as read:
            report.duplicates = read.duplicates()
    counts = index.counts()
    report.people, report.faces, report.voices = counts.people, counts.faces, counts.voices
    report.refused.sort()
    report.notes.sort()
    report.seconds = time.monotonic() - started
    return report


def plan(
    index: Index | None,
    galleries: Path | str | Scan | Sequence[Path | str | Scan],
    extractor: Extractor,
    *,
    prune: bool = False,
    confirm: Confirm = lambda _: True,
) -> IngestReport:
    """Report what :func:`ingest` would do, without reading files or writing anything.

    A file that was moved counts as new, and its old path neither as missing nor as removed.
    ``people``, ``faces`` and ``voices`` are the present totals.

    Args:
        index: the index; None stands for one that does not exist yet.
        galleries: as :func:`ingest`.
        extractor: as :func:`ingest`.
        prune: as :func:`ingest`.
        confirm: is asked the questions that a run would ask.

    Raises:
        BadRequest: as :func:`ingest`.
    """
    started = time.monotonic()
    scans = _scans(galleries, extractor)
    empty = in_memory_catalog(Space("", "", 1, "cosine"))
    with empty if index is None else index.catalog.read() as read:
        todo = changes(read, scans, extractor.settings)
        lost = losses(read, scans, todo.maybe_moved)
        counts, duplicates = read.counts(), read.duplicates()
    if prune:
        require_something_left(lost)
        prune = may_remove(lost, confirm)
    missing = list(dict.fromkeys(path for loss in lost for path in loss.missing))
    known = [job.known is not None and job.known.reason is None for job in todo.jobs]
    records = (*todo.with_remarks, *todo.refused)
    file_notes = ((one.path, note) for one in todo.with_remarks for note in one.notes)
    return IngestReport(
        index=Path() if index is None else index.folder,
        people=counts.people,
        faces=counts.faces,
        voices=counts.voices,
        added=known.count(False),
        updated=known.count(True),
        unchanged=todo.unchanged,
        removed=sum(len(loss.of_systems) for loss in lost) + (len(missing) if prune else 0),
        refused=sorted(each for record in records for each in record.refusals()),
        seconds=time.monotonic() - started,
        missing=[] if prune else missing,
        ignored=_summed(each.ignored for each in scans),
        passed_over=_summed(each.passed_over for each in scans),
        unmatched=_unmatched(scans),
        duplicates=duplicates,
        notes=sorted([*(note for each in scans for note in each.notes), *file_notes]),
        vanished={loss.gallery: loss.known for loss in lost if loss.is_whole},
    )


def _scans(
    galleries: Path | str | Scan | Sequence[Path | str | Scan], extractor: Extractor
) -> list[Scan]:
    several = [galleries] if isinstance(galleries, Path | str | Scan) else galleries
    return [each if isinstance(each, Scan) else scan(each, extractor.kind) for each in several]


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = collections.Counter[str]()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def _unmatched(scans: Sequence[Scan]) -> list[str]:
    """Return people of a table who have no folder, often a spelling mistake."""
    whole = [each for each in scans if not each.partial]
    named = {key for each in whole for key in each.people}
    found = {source.person for each in whole for source in each.sources}
    refused = {refusal.person for each in whole for refusal in each.refused}
    return sorted(named - found - refused)


def _write_known(catalog: Catalog, todo: Changes, report: IngestReport) -> None:
    """Write what is known without reading a file: refusals of the scan, metadata of people."""
    report.unchanged = todo.unchanged
    for record in (*todo.with_remarks, *todo.refused):
        report.count_in(record)
    new = [record for record in todo.refused if record.path not in todo.up_to_date]
    with catalog.read() as read:
        known = {who.key: who for who in read.people().values()}
    changed = [who for key, who in todo.people.items() if known.get(key, who) != who]
    if new or changed:
        with catalog.write("index") as write:
            write.put_people(changed)
            write.put_files([(record, []) for record in new], todo.people)


def _sweep(
    catalog: Catalog,
    before: Sequence[Loss],
    report: IngestReport,
    *,
    prune: bool,
    confirm: Confirm | None,
) -> None:
    """Find the files that are gone, and drop refused files that no longer exist."""
    with catalog.read() as read:
        found = still_lost(read, before)
    missing = list(dict.fromkeys(path for loss in found for path in loss.missing))
    stale = [path for loss in found if not loss.is_whole for path in loss.stale]
    of_systems = [path for loss in found for path in loss.of_systems]
    report.removed, stale = len(of_systems), stale + of_systems
    report.vanished = {loss.gallery: loss.known for loss in found if loss.is_whole}
    if prune:
        require_something_left(found)
        # The losses before the run were confirmed; ask again only where more is gone now.
        pairs = zip(before, found, strict=True)
        more = [now for was, now in pairs if len(now.missing) > len(was.missing)]
        prune = may_remove(more, confirm)
    if prune:
        report.removed, stale = report.removed + len(missing), stale + missing
    else:
        report.missing = missing
    if stale:
        with catalog.write("prune") as write:
            write.remove_files(stale)


class _Intake:
    """The main thread of a run: gathers batches across files, embeds them, and writes files."""

    def __init__(
        self,
        catalog: Catalog,
        embedder: Embedder,
        todo: Changes,
        report: IngestReport,
        batch_size: int,
        progress: Progress | None,
        merge_items: MergeItems | None,
        matcher: Matcher | None,
    ) -> None:
        self._merge_items, self._matcher = merge_items, matcher
        self._catalog, self._embedder, self._todo = catalog, embedder, todo
        self._report, self._batch_size, self._progress = report, batch_size, progress
        self._open: dict[Path, FileInProgress] = {}
        self._batch: list[FilePart] = []
        self._embedding: tuple[list[FilePart], Future[Embedded]] | None = None
        self._ready: list[FileInProgress] = []
        self._committed = time.monotonic()
        self._done = todo.total - len(todo.jobs) - len(todo.contested)
        self._pending = PendingFiles(matcher, todo.contested)
        self._moved: set[Path] = set()  # contested files that count as moved

    def run(self, jobs: Sequence[FileJob], reader: FileReader, workers: int) -> None:
        """Read, embed and write files; complete files are written even if this is interrupted.

        Files that show several people are held until :meth:`decide`.
        """
        self._report_progress()
        try:
            with (
                ThreadPoolExecutor(1, "embed") as self._pool,
                Prefetcher(jobs, reader.read, workers=workers, depth=self._batch_size) as events,
            ):
                try:
                    for event in events:
                        self._take(event)
                    self._embed()
                finally:
                    self._collect()  # what is being embedded is nearly finished
        finally:
            self._commit()

    def decide(self, reader: FileReader, workers: int) -> None:
        """Decide files that show several people, once all others are written."""
        with self._catalog.read() as read:
            stale, decided = self._pending.take_stale(read)
        for record in decided:
            self._report.count_in(record)
            self._report.unchanged += record.reason is None and record.path not in self._moved
        if decided:
            self._done += len(decided)
            self._report_progress()
        if stale:
            self.run(stale, reader, workers)
        with self._catalog.read() as read:
            files = self._pending.decide(read)
        for start in range(0, len(files), COMMIT_FILES):
            self._ready = files[start : start + COMMIT_FILES]
            self._commit()

    def _take(self, event: FilePart | End | None) -> None:
        if isinstance(event, FilePart):
            self._file(event.job).waiting += 1
            self._batch.append(event)
        elif isinstance(event, End):
            file = self._file(event.job)
            file.end = event
            for key, fault in event.faults.items():
                file.refuse(key, fault.reason, permanent=fault.permanent)
            self._finish(file)
        due = time.monotonic() - self._committed >= COMMIT_S
        if self._embedding is not None and self._embedding[1].done():
            self._collect()
        if due or len(self._batch) >= self._batch_size:
            self._embed()
        if due or len(self._ready) >= COMMIT_FILES:
            self._commit()

    def _file(self, job: FileJob) -> FileInProgress:
        return self._open.setdefault(job.path, FileInProgress(job))

    def _embed(self) -> None:
        """Start to embed the pieces at hand, while the next ones are gathered."""
        self._collect()
        batch, self._batch = self._batch, []
        if batch:
            media = [piece.media for piece in batch]
            self._embedding = (batch, self._pool.submit(self._embedder.embed, media))

    def _collect(self) -> None:
        """Wait for the batch that is being embedded, and give its vectors to their files."""
        if self._embedding is None:
            return
        (batch, future), self._embedding = self._embedding, None
        embedded, expected = future.result(), (len(batch), self._embedder.space.dim)
        if embedded.vectors.shape != expected:
            raise ValueError(f"the embedder gave {embedded.vectors.shape} for {expected}")
        for at, piece in enumerate(batch):
            file, media = self._file(piece.job), piece.media
            file.waiting -= 1
            vector, reason = embedded.vectors[at], embedded.refusals.get(at)
            if reason is None and not np.isfinite(vector).all():
                reason = NOT_FINITE
            if reason is not None:
                file.refuse(piece.source.key, reason)
            else:
                span = (media.modality, media.start_s, media.end_s, media.box)
                # A copy, so that the vector does not hold its whole batch in memory.
                item = NewItem(piece.source.person, *span, vector.copy())
                (file.items if piece.source.ranged else file.found).append(item)
                file.taken.add(piece.source.key)
            self._finish(file)

    def _finish(self, file: FileInProgress) -> None:
        """Make a file ready to be written, if its end was read and all its items are embedded."""
        if file.end is None or file.waiting:
            return
        self._separate(file)
        del self._open[file.job.path]
        if file.contests:
            self._pending.hold(file)
        else:
            self._ready.append(file)
        self._done += 1
        self._report_progress()

    def _separate(self, file: FileInProgress) -> None:
        """Move the found items to the items, except of modalities that several people contest."""
        found: Sequence[NewItem] = file.found
        if self._merge_items is not None and found:
            found = self._merge_items(file.job.path, found)
        if self._matcher is None:
            file.items += found
            return
        groups: dict[tuple[str, Modality], list[NewItem]] = {}
        for item in found:
            groups.setdefault((item.person, item.modality), []).append(item)
        for (person, modality), items in groups.items():
            people = self._matcher.separate(file.job.path, items)
            if len(people) > 1:
                file.contests.append(Contest(person, modality, people))
            else:
                file.items += people[0]

    def _report_progress(self) -> None:
        if self._progress is not None:
            self._progress(min(self._done, self._todo.total), self._todo.total)

    def _commit(self) -> None:
        """Write the complete files in one transaction."""
        ready, self._ready = self._ready, []
        self._committed = time.monotonic()
        writing = [
            file for file in ready if file.items or not is_up_to_date(file.record(), file.job.known)
        ]
        if writing:
            with self._catalog.write("index") as write:
                self._write(write, writing)
        for file in ready:
            self._count(file)

    def _write(self, write: CatalogWriter, files: list[FileInProgress]) -> None:
        new: list[tuple[FileRecord, Sequence[NewItem]]] = []
        for file in files:
            record = file.record()
            if file.same:
                write.put_stat(file.job.path, file.job.stat)
            elif file.moved is not None:
                new_keys = map_people(file.moved.source_keys, record.source_keys) or {}
                write.move_file(file.moved, record, new_keys, self._todo.people)
            else:
                new.append((record, file.items))
        write.put_files(new, self._todo.people)

    def _count(self, file: FileInProgress) -> None:
        known = file.job.known
        now = known if file.same and known is not None else file.record()
        if now.basis is not None and (file.same or file.moved is not None):
            # It is counted in decide(), which finds whether it is stale.
            self._pending.add_known(file.job)
            self._report.moved += file.moved is not None
            self._moved.update([file.job.path] if file.moved is not None else [])
            return
        self._report.count_in(now)
        if now.reason is not None or file.job.path in self._moved:
            return
        if file.same:
            self._report.unchanged += 1
        elif file.moved is not None:
            self._report.moved += 1
        elif known is not None and known.reason is None:
            self._report.updated += 1
        else:
            self._report.added += 1
