"""New, changed, moved and missing files of galleries, found without reading them if possible."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from indexer.catalog.reader import CatalogReader
from indexer.ingest.scan import TRANSIENT, Scan
from indexer.records import FileRecord, Person, Refusal, Source, SourceKey, Stat, map_people
from indexer.tables.people import merged

CHUNK = 500  # files looked up in the catalog at once


@dataclasses.dataclass(frozen=True, slots=True)
class FileJob:
    """A file to read: its sources, and its record in the catalog.

    ``missing`` are files of the same size that are no longer at their paths, so that the file may
    be one of them under a new path. ``reread`` reads the file although nothing changed, because the
    choice between the people in it is made again.
    """

    sources: tuple[Source, ...]
    stat: Stat
    settings: str
    known: FileRecord | None
    missing: tuple[FileRecord, ...] = ()
    reread: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return self.sources[0].path

    @property
    def people(self) -> list[str]:
        """Keys of the people of the sources."""
        return sorted({source.person for source in self.sources})

    @property
    def same_sources(self) -> bool:
        """True if the catalog has the file with the same sources and settings."""
        known = self.known
        return (
            known is not None
            and known.permanent
            and known.base_settings == self.settings
            and known.source_keys == self.record().source_keys
        )

    @property
    def unchanged(self) -> bool:
        """True if the file need not even be read."""
        return self.same_sources and self.known is not None and self.known.stat == self.stat

    def record(self, sha256: str = "") -> FileRecord:
        """Return the record of the file as taken."""
        keys = frozenset(source.key for source in self.sources)
        gallery = self.sources[0].gallery
        return FileRecord(self.path, gallery, self.stat, sha256, self.settings, keys)

    def moved_from(self, sha256: str) -> list[FileRecord]:
        """Return the missing files that the file, which has this hash, may have been."""
        return [
            record
            for record in self.missing
            if record.sha256 == sha256
            and record.base_settings == self.settings
            and record.permanent
            and record.path.suffix.lower() == self.path.suffix.lower()
            and map_people(record.source_keys, self.record().source_keys) is not None
        ]


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """The work of a run.

    Attributes:
        jobs: files that are new or changed.
        contested: unchanged files that show several people; one of them was chosen.
        unchanged: the number of other unchanged files that were taken.
        with_remarks: those of them, and unchanged refused files, that have refusals or notes.
        refused: files that the scan refused, as they are to be written.
        up_to_date: paths of ``refused`` that need no writing, since they are written already or
            keep what was taken from them when they could be read.
        people: metadata of people by key.
    """

    jobs: list[FileJob]
    contested: list[FileJob]
    unchanged: int
    with_remarks: list[FileRecord]
    refused: list[FileRecord]
    up_to_date: set[Path]
    people: dict[str, Person]

    @property
    def total(self) -> int:
        """Number of requested files, except those that the scan refused."""
        refused = sum(record.reason is not None for record in self.with_remarks)
        return len(self.jobs) + len(self.contested) + self.unchanged + refused

    @property
    def maybe_moved(self) -> set[Path]:
        """Missing files of the size of a new one, which may be them."""
        return {record.path for job in self.jobs for record in job.missing}


def changes(read: CatalogReader, scans: Sequence[Scan], settings: str) -> Changes:
    """Compare galleries with the catalog."""
    jobs = list(_jobs(read, scans, settings))
    same = [(job, job.known) for job in jobs if job.unchanged and job.known is not None]
    contested = [job for job, record in same if record.basis is not None]
    plain = [record for _, record in same if record.basis is None]
    taken = {job.path for job in jobs}
    refused = [record for record in _refused(scans, settings) if record.path not in taken]
    known = read.files_named(record.path for record in refused)
    people: dict[str, Person] = {}
    for scan in scans:
        people = merged(people, scan.people)
    return Changes(
        jobs=[job for job in jobs if not job.unchanged],
        contested=contested,
        unchanged=sum(record.reason is None for record in plain),
        with_remarks=[one for one in plain if one.reason or one.faults or one.notes],
        refused=refused,
        up_to_date={one.path for one in refused if is_up_to_date(one, known.get(one.path))},
        people=people,
    )


def is_up_to_date(now: FileRecord, known: FileRecord | None) -> bool:
    """Return whether a file needs no writing: it is as known, or refused only for now.

    Items of a file stay as long as the reason of a refusal does not lie in its bytes.
    """
    for_now = now.reason is not None and not now.permanent
    return known == now or (for_now and known is not None and known.reason is None)


def is_gone(path: Path) -> bool:
    """Return whether a file does not exist; a file in an unreadable folder counts as existing."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _jobs(read: CatalogReader, scans: Sequence[Scan], settings: str) -> Iterator[FileJob]:
    by_path: dict[Path, dict[SourceKey, Source]] = {}  # a source named twice is taken once
    for source in itertools.chain.from_iterable(scan.sources for scan in scans):
        by_path.setdefault(source.path, {}).setdefault(source.key, source)
    rest = iter(by_path)
    while paths := list(itertools.islice(rest, CHUNK)):
        known = read.files_named(paths)
        jobs = [
            FileJob(tuple(by_path[path].values()), _stat(path), settings, known.get(path))
            for path in paths
        ]
        yield from _with_missing(read, jobs, by_path)


def _with_missing(
    read: CatalogReader, jobs: list[FileJob], present: Container[Path]
) -> Iterator[FileJob]:
    """Yield the jobs; new and changed files come with the missing files of their size."""
    sizes = {job.stat.size for job in jobs if not job.unchanged}
    missing: dict[int, list[FileRecord]] = {}
    for record in read.files_sized(sizes) if sizes else ():
        if record.path not in present and is_gone(record.path):
            missing.setdefault(record.stat.size, []).append(record)
    for job in jobs:
        same_size = () if job.unchanged else tuple(missing.get(job.stat.size, ()))
        yield dataclasses.replace(job, missing=same_size) if same_size else job


def _refused(scans: Sequence[Scan], settings: str) -> list[FileRecord]:
    by_path: dict[Path, list[Refusal]] = {}
    for refusal in itertools.chain.from_iterable(scan.refused for scan in scans):
        by_path.setdefault(refusal.path, []).append(refusal)
    return [
        FileRecord(
            path=path,
            gallery=refusals[0].gallery,
            stat=Stat(0, 0),  # it was not read
            sha256="",
            settings=settings,
            source_keys=frozenset(
                (refusal.person, None, 0.0, None)
                for refusal in refusals
                if refusal.person is not None
            ),
            reason=refusals[0].reason,
            permanent=refusals[0].reason not in TRANSIENT,
        )
        for path, refusals in by_path.items()
    ]


def _stat(path: Path) -> Stat:
    try:
        found = path.stat()
    except OSError:  # it was deleted meanwhile: reading it will say so
        return Stat(-1, -1)
    return Stat(found.st_size, found.st_mtime_ns)
