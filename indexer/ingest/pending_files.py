"""Files that show several people, held until the choice between them can be made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from indexer.catalog.reader import CatalogReader
from indexer.ingest.diff import FileJob
from indexer.ingest.file_in_progress import FileInProgress
from indexer.ingest.subjects import Contest, Matcher, Verdict, basis, decide
from indexer.records import FileRecord, NewItem
from indexer.types import Modality

Files = Mapping[Path, FileRecord]


class PendingFiles:
    """The contested files of a run, and those decided in earlier runs.

    All contested files of a person are decided together. A file with sources of several people
    draws in the contested files of all of them.
    """

    def __init__(self, matcher: Matcher | None, known: Sequence[FileJob]) -> None:
        self._matcher = matcher
        self._known = {job.path: job for job in known}  # decided in earlier runs
        self._held: dict[Path, FileInProgress] = {}
        self._bases: dict[str, str] = {}  # by person

    def hold(self, file: FileInProgress) -> None:
        """Hold a file until :meth:`decide`."""
        self._held[file.job.path] = file

    def add_known(self, job: FileJob) -> None:
        """Add a file decided in an earlier run, which only has another time or path."""
        self._known[job.path] = job

    def take_stale(self, read: CatalogReader) -> tuple[list[FileJob], list[FileRecord]]:
        """Return the known files to read again, and the records of those that stay decided.

        A decision is stale if its basis changed or another file of its people is held. Call it
        when all uncontested files are written.
        """
        files = self._files(read)
        if self._matcher is None:
            return [], [files[path] for path in self._known]
        by_person: dict[str, list[FileRecord]] = {who: [] for who in self._people()}
        for record in files.values():
            for who in {person for person, *_ in record.source_keys} & by_person.keys():
                by_person[who].append(record)
        self._bases = {who: basis(self._matcher, who, each) for who, each in by_person.items()}
        affected = {who for file in self._held.values() for who in file.job.people}
        stale: list[FileJob] = []
        while more := [
            job
            for job in self._known.values()
            if files[job.path].basis != self._basis_of(job) or not affected.isdisjoint(job.people)
        ]:
            affected.update(who for job in more for who in job.people)
            for job in more:
                del self._known[job.path]
                known = files[job.path]
                stale.append(dataclasses.replace(job, known=known, reread=True, missing=()))
        stale.sort(key=lambda job: str(job.path))
        return stale, [files[path] for path in self._known]

    def decide(self, read: CatalogReader) -> list[FileInProgress]:
        """Decide the files that are held, and return them."""
        held, files = list(self._held.values()), self._files(read)
        if self._matcher is None or not held:
            return []
        contests: dict[tuple[str, Modality], list[Contest]] = {}
        for contest in (each for file in held for each in file.contests):
            contests.setdefault((contest.person, contest.modality), []).append(contest)
        verdicts: dict[int, Verdict] = {}
        for (who, modality), some in contests.items():
            reference = self._reference(read, files, who, modality)
            found = decide(self._matcher, some, reference)
            verdicts |= {id(one): each for one, each in zip(some, found, strict=True)}
        for file in held:
            file.close([verdicts[id(one)] for one in file.contests], self._basis_of(file.job))
        return held

    def _people(self) -> set[str]:
        """Return the people with contested files."""
        jobs = [*self._known.values(), *(file.job for file in self._held.values())]
        return {who for job in jobs for who in job.people}

    def _files(self, read: CatalogReader) -> dict[Path, FileRecord]:
        """Return all files of the people with contested files, including those held."""
        files = read.files_of_people(self._people())
        held = (file.job.record(file.sha256).with_basis("") for file in self._held.values())
        return {**files, **{record.path: record for record in held}}

    def _basis_of(self, job: FileJob) -> str:
        return " ".join(self._bases[who] for who in job.people)

    def _reference(
        self, read: CatalogReader, files: Files, who: str, modality: Modality
    ) -> list[NewItem]:
        """Return the items of a person from uncontested files, of one modality."""
        items = [
            item
            for item in read.items(read.items_of(who, modality)).values()
            if (record := files.get(item.path)) is None or record.basis is None
        ]
        vectors = read.vectors(np.array([item.id for item in items], np.int64))
        stored = [
            NewItem(who, modality, item.start_s, item.end_s, item.box, vector)
            for item, vector in zip(items, vectors, strict=True)
        ]
        held = (item for file in self._held.values() for item in file.items)
        return stored + [one for one in held if (one.person, one.modality) == (who, modality)]
