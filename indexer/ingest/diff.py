"""What of a gallery is new or changed, told without reading a file wherever that is possible."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from indexer.catalog.reader import Reader
from indexer.ingest.scan import PASSING, Scan
from indexer.records import Asked, FileRecord, Person, Refusal, Source, Stat, renamed
from indexer.tables.people import merged

CHUNK = 500  # files looked up in the catalog at once


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """A file to look into: what is asked of it, and what is known of it."""

    sources: tuple[Source, ...]
    stat: Stat
    settings: str
    known: FileRecord | None
    gone: tuple[FileRecord, ...] = ()  # files of as many bytes that are no longer there
    again: bool = False  # look into it although nothing changed: the people in it are decided again

    @property
    def path(self) -> Path:
        """The file."""
        return self.sources[0].path

    @property
    def people(self) -> list[str]:
        """Whom the file is of, by their keys."""
        return sorted({source.person for source in self.sources})

    @property
    def same_request(self) -> bool:
        """Whether the same was asked of the file before, and the answer is still good."""
        known = self.known
        return (
            known is not None
            and known.lasting
            and known.plain_settings == self.settings
            and known.asked == self.record().asked
        )

    @property
    def unchanged(self) -> bool:
        """Whether the file need not even be read."""
        return self.same_request and self.known is not None and self.known.stat == self.stat

    def record(self, sha256: str = "") -> FileRecord:
        """The file as it is to be written, taken."""
        asked = frozenset(source.asked for source in self.sources)
        gallery = self.sources[0].gallery
        return FileRecord(self.path, gallery, self.stat, sha256, self.settings, asked)

    def moved_from(self, sha256: str) -> list[FileRecord]:
        """Of the files that are gone those that this one, having these bytes, may have been."""
        return [
            record
            for record in self.gone
            if record.sha256 == sha256
            and record.plain_settings == self.settings
            and record.lasting
            and record.path.suffix.lower() == self.path.suffix.lower()
            and renamed(record.asked, self.record().asked) is not None
        ]


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """What a run has to do.

    ``contested`` are unchanged files that show several people, of whom one was chosen.
    ``again`` are other files as they were that have refusals or notes. ``refused`` are the
    files that the scan refused, as they are to be written, but for those in ``settled``: these
    are written already, or keep what was taken from them when they could be read.
    """

    jobs: list[Job]
    contested: list[Job]
    unchanged: int
    again: list[FileRecord]
    refused: list[FileRecord]
    settled: set[Path]
    people: dict[str, Person]

    @property
    def total(self) -> int:
        """How many files were asked for, those the scan refused aside."""
        refused = sum(record.reason is not None for record in self.again)
        return len(self.jobs) + len(self.contested) + self.unchanged + refused

    @property
    def moving(self) -> set[Path]:
        """Files that are gone and have the size of a new one, which may be them."""
        return {record.path for job in self.jobs for record in job.gone}


def changes(read: Reader, scans: Sequence[Scan], settings: str) -> Changes:
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
        again=[record for record in plain if record.reason or record.parts or record.notes],
        refused=refused,
        settled={one.path for one in refused if is_settled(one, known.get(one.path))},
        people=people,
    )


def is_settled(now: FileRecord, known: FileRecord | None) -> bool:
    """Whether nothing is to be written of a file: it is as known, or refused only for now.

    What was taken from a file stays while the reason does not lie in its bytes.
    """
    for_now = now.reason is not None and not now.lasting
    return known == now or (for_now and known is not None and known.reason is None)


def _jobs(read: Reader, scans: Sequence[Scan], settings: str) -> Iterator[Job]:
    by_path: dict[Path, dict[Asked, Source]] = {}  # the same thing asked twice is taken once
    for source in itertools.chain.from_iterable(scan.sources for scan in scans):
        by_path.setdefault(source.path, {}).setdefault(source.asked, source)
    for paths in _chunks(by_path):
        known = read.files_named(paths)
        jobs = [
            Job(tuple(by_path[path].values()), _stat(path), settings, known.get(path))
            for path in paths
        ]
        yield from _with_gone(read, jobs, by_path)


def _with_gone(read: Reader, jobs: list[Job], present: Container[Path]) -> Iterator[Job]:
    """The jobs, those that are new or changed with the files they may have been before."""
    sizes = {job.stat.size for job in jobs if not job.unchanged}
    gone: dict[int, list[FileRecord]] = {}
    for record in read.files_sized(sizes) if sizes else ():
        if record.path not in present and is_gone(record.path):
            gone.setdefault(record.stat.size, []).append(record)
    for job in jobs:
        may_be = () if job.unchanged else tuple(gone.get(job.stat.size, ()))
        yield dataclasses.replace(job, gone=may_be) if may_be else job


def is_gone(path: Path) -> bool:
    """Whether a file is not there; one in a folder that may not be read is."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _refused(scans: Sequence[Scan], settings: str) -> list[FileRecord]:
    by_path: dict[Path, list[Refusal]] = {}
    for refusal in itertools.chain.from_iterable(scan.refused for scan in scans):
        by_path.setdefault(refusal.path, []).append(refusal)
    return [_refused_record(refusals, settings) for refusals in by_path.values()]


def _refused_record(refusals: list[Refusal], settings: str) -> FileRecord:
    first = refusals[0]
    people = {refusal.person for refusal in refusals if refusal.person is not None}
    return FileRecord(
        path=first.path,
        gallery=first.gallery,
        stat=Stat(0, 0),  # it was not looked into
        sha256="",
        settings=settings,
        asked=frozenset((person, None, 0.0, None) for person in people),
        reason=first.reason,
        lasting=first.reason not in PASSING,
    )


def _stat(path: Path) -> Stat:
    """A file that went away meanwhile has no size; reading it will tell."""
    try:
        found = path.stat()
    except OSError:
        return Stat(-1, -1)
    return Stat(found.st_size, found.st_mtime_ns)


def _chunks(paths: Iterable[Path]) -> Iterator[list[Path]]:
    rest = iter(paths)
    while chunk := list(itertools.islice(rest, CHUNK)):
        yield chunk
