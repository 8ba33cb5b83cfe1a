"""From a gallery to the index: scan, compare, look into, embed, write. Resumable at any point."""

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
from indexer.catalog.in_memory import rehearsal
from indexer.catalog.writer import Writer
from indexer.errors import printable
from indexer.index import Index
from indexer.ingest.diff import Changes, Job, changes, is_settled
from indexer.ingest.pending_files import Undecided
from indexer.ingest.read_file import End, FileReader, Piece
from indexer.ingest.scan import Scan, scan
from indexer.ingest.subjects import Contest, Matcher, Verdict
from indexer.maintenance.prune import Confirm, Loss, check_whole, losses, may_remove, still_lost
from indexer.records import Asked, Duplicate, FileRecord, NewItem, renamed
from indexer.runtime.prefetch import ReadAhead
from indexer.types import MODALITIES, Embedded, Embedder, Extractor, Modality, Space

COMMIT_FILES = 256  # a transaction holds no more files
COMMIT_S = 2.0  # what was embedded is written after this time at the latest

NOTHING = "nothing was found in it."
NOT_FINITE = "the model gives no finite vector for it; look whether it is silent or blank."

Progress = Callable[[int, int], None]
Joiner = Callable[[Path, Sequence[NewItem]], Sequence[NewItem]]


@dataclasses.dataclass(slots=True)
class IngestReport:
    """What a run did. ``people``, ``faces`` and ``voices`` are totals of the index after it.

    ``added``, ``updated``, ``unchanged``, ``moved`` and ``removed`` count files, each in one of
    them. ``moved`` were found in another place, and the old one empty; they keep their items.
    ``refused`` has the path and reason of every file of the gallery that was not taken, in this
    run or before, and of every part of a file that a manifest named and that came to nothing.
    ``missing`` are files of the index that are gone from the gallery; they are removed only
    by a run with ``prune``. ``vanished`` are galleries of which nothing is there, and how many
    files the index has of each; ``missing`` has these too.
    ``ignored`` counts by suffix the files that are not media.
    ``unmatched`` are people of a ``people.csv`` who have no folder in its gallery.
    ``duplicates`` are files of the index that have the same bytes and are of different people.
    ``notes`` has the path and a sentence for each thing that was lost, left out or chosen between
    in a file of the gallery that was taken, in this run or before, and in its tables.
    ``passed_over`` counts by name what systems and programs leave in a gallery.
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
        """Return the report as the JSON of ``avsearch index`` has it."""
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
    joiner: Joiner | None = None,
    matcher: Matcher | None = None,
) -> IngestReport:
    """Bring the index up to date with galleries: folders, or scans of them.

    Takes only what is new or changed. A file that is refused stops nothing; any other exception
    goes through, and what was finished before it stays. ``prune`` removes the files that are
    gone; where they are more than half of what is known of a gallery, ``confirm`` is given a
    question and answers it. ``progress`` is called with the files done and their total.
    ``joiner`` is given what was found in a file, once all of it is embedded, and says what is
    written. ``matcher`` tells people apart: of several people in a file the one is written who
    agrees with the person's other files (:mod:`indexer.ingest.subjects`); without it all are.
    Ranges of files that a manifest names are written as they are. People of whom no file is left
    are dropped; people in tables who have no file are not stored.

    Raises ForeignSpace for an embedder of another space, IndexBusy where somebody else writes,
    and BadRequest for a gallery or table that is wrong. With ``prune`` also BadRequest, before
    anything is done, where none of a gallery's files is there, or more than half are gone and
    there is no ``confirm``.
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
            lost = losses(read, scans, todo.moving)
        if prune:
            check_whole(lost)
            prune = may_remove(lost, confirm)
        _write_known(catalog, todo, report)
        intake = _Intake(catalog, embedder, todo, report, batch_size, progress, joiner, matcher)
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
    """What :func:`ingest` would do, as far as that is told without reading a file; writes nothing.

    A file that was moved counts as new, and its old place neither as missing nor as removed.
    ``people``, ``faces`` and ``voices`` are totals as they are; None for ``index`` stands for an
    index that is yet to be made. ``confirm`` is given the questions that a run would ask. Raises
    BadRequest as :func:`ingest` does.
    """
    started = time.monotonic()
    scans = _scans(galleries, extractor)
    nothing = rehearsal(Space("", "", 1, "cosine"))
    with nothing if index is None else index.catalog.read() as read:
        todo = changes(read, scans, extractor.settings)
        lost = losses(read, scans, todo.moving)
        counts, duplicates = read.counts(), read.duplicates()
    if prune:
        check_whole(lost)
        prune = may_remove(lost, confirm)
    missing = list(dict.fromkeys(path for loss in lost for path in loss.missing))
    known = [job.known is not None and job.known.reason is None for job in todo.jobs]
    return IngestReport(
        index=Path() if index is None else index.folder,
        people=counts.people,
        faces=counts.faces,
        voices=counts.voices,
        added=known.count(False),
        updated=known.count(True),
        unchanged=todo.unchanged,
        removed=sum(len(loss.of_systems) for loss in lost) + (len(missing) if prune else 0),
        refused=sorted(each for one in (*todo.again, *todo.refused) for each in one.refusals()),
        seconds=time.monotonic() - started,
        missing=[] if prune else missing,
        ignored=_summed(each.ignored for each in scans),
        passed_over=_summed(each.passed_over for each in scans),
        unmatched=_unmatched(scans),
        duplicates=duplicates,
        notes=sorted(
            [
                *(note for each in scans for note in each.notes),
                *((one.path, note) for one in todo.again for note in one.notes),
            ]
        ),
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
    """People whom a table names and whose folder was not found, often for a slip of the pen."""
    whole = [each for each in scans if not each.partial]
    named = {key for each in whole for key in each.people}
    found = {source.person for each in whole for source in each.sources}
    refused = {refusal.person for each in whole for refusal in each.refused}
    return sorted(named - found - refused)


def _write_known(catalog: Catalog, todo: Changes, report: IngestReport) -> None:
    """Write what is known without reading a file: refusals of the scan, changes of people."""
    report.unchanged = todo.unchanged
    for record in (*todo.again, *todo.refused):
        report.count_in(record)
    new = [record for record in todo.refused if record.path not in todo.settled]
    with catalog.read() as read:
        known = {who.key: who for who in read.people().values()}
    changed = [who for key, who in todo.people.items() if known.get(key, who) != who]
    if new or changed:
        with catalog.write("index") as write:
            for who in changed:
                write.put_person(who)
            write.put_files([(record, []) for record in new], todo.people)


def _sweep(
    catalog: Catalog,
    before: Sequence[Loss],
    report: IngestReport,
    *,
    prune: bool,
    confirm: Confirm | None,
) -> None:
    """Find the files that are gone, and drop refusals of what is not there to be refused."""
    with catalog.read() as read:
        found = still_lost(read, before)
    missing = list(dict.fromkeys(path for loss in found for path in loss.missing))
    stale = [path for loss in found if not loss.is_whole for path in loss.stale]
    of_systems = [path for loss in found for path in loss.of_systems]
    report.removed, stale = len(of_systems), stale + of_systems
    report.vanished = {loss.gallery: loss.known for loss in found if loss.is_whole}
    if prune:
        check_whole(found)
        pairs = zip(before, found, strict=True)  # of what was counted before, that was asked
        more = [now for was, now in pairs if len(now.missing) > len(was.missing)]
        prune = may_remove(more, confirm)
    if prune:
        report.removed, stale = report.removed + len(missing), stale + missing
    else:
        report.missing = missing
    if stale:
        with catalog.write("prune") as write:
            write.remove_files(stale)


@dataclasses.dataclass(slots=True)
class _File:
    """A file on its way: what came of its items so far."""

    job: Job
    items: list[NewItem] = dataclasses.field(default_factory=list)
    found: list[NewItem] = dataclasses.field(default_factory=list)  # to be joined and separated
    contests: list[Contest] = dataclasses.field(default_factory=list)
    basis: str | None = None  # what was decided of them rests on
    notes: list[str] = dataclasses.field(default_factory=list)  # on that
    waiting: int = 0  # pieces that are not embedded yet
    taken: set[Asked] = dataclasses.field(default_factory=set)
    faults: dict[Asked, tuple[str, bool]] = dataclasses.field(default_factory=dict)  # and lasting?
    end: End | None = None

    @property
    def same(self) -> bool:
        """Whether its bytes are those known already."""
        return self.end is not None and self.end.same

    @property
    def moved(self) -> FileRecord | None:
        """What it was before, if it is known under another path."""
        return None if self.end is None else self.end.moved

    def refuse(self, asked: Asked, reason: str, *, lasting: bool = True) -> None:
        """Note why something asked of it came to nothing; the first reason counts."""
        self.faults.setdefault(asked, (reason, lasting))

    @property
    def sha256(self) -> str:
        """The hash of its bytes, empty while it was not read."""
        return "" if self.end is None else self.end.sha256

    def close(self, verdicts: Sequence[Verdict], basis: str) -> None:
        """Take what the verdicts give; a source of which they leave nothing is refused."""
        self.basis = basis
        for verdict in verdicts:
            self.items += verdict.taken
        for source in self.job.sources:
            wanted = (source.modality,) if source.modality else MODALITIES
            said = [
                verdict.sentence
                for contest, verdict in zip(self.contests, verdicts, strict=True)
                if contest.person == source.person and contest.modality in wanted
            ]
            if any(one.person == source.person and one.modality in wanted for one in self.items):
                self.notes += said
            elif said and not source.ranged:
                self.taken.discard(source.asked)
                self.refuse(source.asked, " ".join(said))

    def record(self) -> FileRecord:
        """The file as it is to be written, once it is complete."""
        taken = self.job.record(self.sha256)
        if self.moved is not None:
            return _at_new_place(self.moved, taken)
        if self.basis is not None:
            taken = taken.decided_by(self.basis)
        nothing = (NOTHING, True)
        missed = {asked: self.faults.get(asked, nothing) for asked in self._missed()}
        lasting = all(lasting for _, lasting in missed.values())
        if self.items:
            parts = frozenset((asked, reason) for asked, (reason, _) in missed.items())
            said = () if self.end is None else self.end.notes
            notes = tuple(note for note in dict.fromkeys((*said, *self.notes)) if note)
            return dataclasses.replace(taken, parts=parts, lasting=lasting, notes=notes)
        reason, _ = next(iter(self.faults.values()), nothing)
        return dataclasses.replace(taken, reason=reason, lasting=lasting)

    def _missed(self) -> list[Asked]:
        """What was asked of it and gave nothing, or was not looked into to its end."""
        broken = self.end.faults.keys() if self.end is not None else ()
        return [
            source.asked
            for source in self.job.sources
            if source.asked not in self.taken or source.asked in broken
        ]


def _at_new_place(before: FileRecord, now: FileRecord) -> FileRecord:
    whom = renamed(before.asked, now.asked) or {}
    parts = {
        ((whom[who], modality, start_s, end_s), reason)
        for (who, modality, start_s, end_s), reason in before.parts
    }
    return dataclasses.replace(
        now, settings=before.settings, parts=frozenset(parts), notes=before.notes
    )


class _Intake:
    """The main thread's part: gathers batches across files, has them embedded, writes files."""

    def __init__(
        self,
        catalog: Catalog,
        embedder: Embedder,
        todo: Changes,
        report: IngestReport,
        batch_size: int,
        progress: Progress | None,
        joiner: Joiner | None,
        matcher: Matcher | None,
    ) -> None:
        self._joiner, self._matcher = joiner, matcher
        self._catalog, self._embedder, self._todo = catalog, embedder, todo
        self._report, self._batch_size, self._progress = report, batch_size, progress
        self._open: dict[Path, _File] = {}
        self._batch: list[Piece] = []
        self._flying: tuple[list[Piece], Future[Embedded]] | None = None
        self._ready: list[_File] = []
        self._committed = time.monotonic()
        self._done = todo.total - len(todo.jobs) - len(todo.contested)
        self._undecided = Undecided[_File](matcher, todo.contested)
        self._moved: set[Path] = set()  # contested files that count as moved

    def run(self, jobs: Sequence[Job], reader: FileReader, workers: int) -> None:
        """Take in jobs; what is complete is written even if this is interrupted.

        Files that show several people are held, to be decided when all others are written.
        """
        self._tell()
        try:
            with (
                ThreadPoolExecutor(1, "embed") as self._embedding,
                ReadAhead(jobs, reader.read, workers=workers, depth=self._batch_size) as events,
            ):
                try:
                    for event in events:
                        self._take(event)
                    self._embed()
                finally:
                    self._collect()  # what is being embedded is as good as finished
        finally:
            self._commit()

    def _take(self, event: Piece | End | None) -> None:
        if isinstance(event, Piece):
            self._file(event.job).waiting += 1
            self._batch.append(event)
        elif isinstance(event, End):
            self._end(event)
        due = time.monotonic() - self._committed >= COMMIT_S
        if self._flying is not None and self._flying[1].done():
            self._collect()
        if due or len(self._batch) >= self._batch_size:
            self._embed()
        if due or len(self._ready) >= COMMIT_FILES:
            self._commit()

    def _file(self, job: Job) -> _File:
        return self._open.setdefault(job.path, _File(job))

    def _end(self, end: End) -> None:
        file = self._file(end.job)
        file.end = end
        for asked, fault in end.faults.items():
            file.refuse(asked, fault.reason, lasting=fault.lasting)
        self._settle(file)

    def _embed(self) -> None:
        """Have the pieces at hand embedded, however few, while the next ones are gathered."""
        self._collect()
        batch, self._batch = self._batch, []
        if batch:
            media = [piece.media for piece in batch]
            self._flying = (batch, self._embedding.submit(self._embedder.embed, media))

    def _collect(self) -> None:
        """Take what became of the batch that is being embedded; waits for it."""
        if self._flying is None:
            return
        (batch, future), self._flying = self._flying, None
        embedded = future.result()
        self._check(embedded, len(batch))
        for at, piece in enumerate(batch):
            file = self._file(piece.job)
            file.waiting -= 1
            self._put(file, piece, embedded, at)
            self._settle(file)

    def _check(self, embedded: Embedded, count: int) -> None:
        expected = (count, self._embedder.space.dim)
        if embedded.vectors.shape != expected:
            raise ValueError(f"the embedder gave {embedded.vectors.shape} for {expected}")

    def _put(self, file: _File, piece: Piece, embedded: Embedded, at: int) -> None:
        vector, media = embedded.vectors[at], piece.media
        reason = embedded.refusals.get(at)
        if reason is None and not np.isfinite(vector).all():
            reason = NOT_FINITE
        if reason is not None:
            file.refuse(piece.source.asked, reason)
            return
        # A copy, so that the vector does not keep its whole batch in memory.
        span = (media.modality, media.start_s, media.end_s, media.box)
        among = file.items if piece.source.ranged else file.found
        among.append(NewItem(piece.source.person, *span, vector.copy()))
        file.taken.add(piece.source.asked)

    def _settle(self, file: _File) -> None:
        """A file is complete with its last item embedded."""
        if file.end is None or file.waiting:
            return
        self._separate(file)
        del self._open[file.job.path]
        if file.contests:
            self._undecided.hold(file)
        else:
            self._ready.append(file)
        self._done += 1
        self._tell()

    def _separate(self, file: _File) -> None:
        """Take what was found in a file; several people of one modality contest it."""
        found: Sequence[NewItem] = file.found
        if self._joiner is not None and found:
            found = self._joiner(file.job.path, found)
        if self._matcher is None:
            file.items += found
            return
        theirs: dict[tuple[str, Modality], list[NewItem]] = {}
        for item in found:
            theirs.setdefault((item.person, item.modality), []).append(item)
        for (person, modality), items in theirs.items():
            people = self._matcher.separate(file.job.path, items)
            if len(people) > 1:
                file.contests.append(Contest(person, modality, people))
            else:
                file.items += people[0]

    def decide(self, reader: FileReader, workers: int) -> None:
        """Decide files that show several people, once all others are as they are to be."""
        with self._catalog.read() as read:
            stale, kept = self._undecided.take_stale(read)
        for record in kept:
            self._report.count_in(record)
            self._report.unchanged += record.reason is None and record.path not in self._moved
        if kept:
            self._done += len(kept)
            self._tell()
        if stale:
            self.run(stale, reader, workers)
        with self._catalog.read() as read:
            decided = self._undecided.decide(read)
        for start in range(0, len(decided), COMMIT_FILES):
            self._ready = decided[start : start + COMMIT_FILES]
            self._commit()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(min(self._done, self._todo.total), self._todo.total)

    def _commit(self) -> None:
        """Write the complete files in one transaction."""
        ready, self._ready = self._ready, []
        self._committed = time.monotonic()
        writing = [file for file in ready if self._differs(file)]
        if writing:
            with self._catalog.write("index") as write:
                self._write(write, writing)
        for file in ready:
            self._count(file)

    def _write(self, write: Writer, files: list[_File]) -> None:
        new: list[tuple[FileRecord, Sequence[NewItem]]] = []
        for file in files:
            record = file.record()
            if file.same:
                write.put_stat(file.job.path, file.job.stat)
            elif file.moved is not None:
                whom = renamed(file.moved.asked, record.asked) or {}
                write.move_file(file.moved, record, whom, self._todo.people)
            else:
                new.append((record, file.items))
        write.put_files(new, self._todo.people)

    def _differs(self, file: _File) -> bool:
        """Whether there is anything to write: not for a file refused as before, or for now."""
        return bool(file.items) or not is_settled(file.record(), file.job.known)

    def _count(self, file: _File) -> None:
        known = file.job.known
        now = known if file.same and known is not None else file.record()
        if now.basis is not None and (file.same or file.moved is not None):
            self._undecided.know(file.job)  # it is counted when it is known whether it is stale
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
