"""Files that show several people, until all is known that decides whom they are taken for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np

from indexer.catalog.reader import Reader
from indexer.ingest.diff import Job
from indexer.ingest.subjects import Contest, Matcher, Verdict, basis, decide
from indexer.records import FileRecord, NewItem
from indexer.types import Modality

Files = Mapping[Path, FileRecord]


class Contested(Protocol):
    """A file that was looked into, with the people who contest it."""

    @property
    def job(self) -> Job:
        """What was asked of it."""

    @property
    def sha256(self) -> str:
        """The hash of its bytes."""

    @property
    def contests(self) -> Sequence[Contest]:
        """The people in it, where they are several, by whom it is of and by modality."""

    @property
    def items(self) -> Sequence[NewItem]:
        """What nobody contests."""

    def close(self, verdicts: Sequence[Verdict], basis: str) -> None:
        """Receive the verdicts of the contests, in order, and what they rest on."""


File = TypeVar("File", bound=Contested)


class Undecided(Generic[File]):
    """Holds contested files of a run, and knows those of earlier runs.

    All contested files of a person are decided together. A file may be of several people, whose
    other files are then decided with it.
    """

    def __init__(self, matcher: Matcher | None, known: Sequence[Job]) -> None:
        self._matcher = matcher
        self._known = {job.path: job for job in known}  # decided in earlier runs
        self._held: dict[Path, File] = {}
        self._bases: dict[str, str] = {}  # of people

    def hold(self, file: File) -> None:
        """Keep a file to be decided."""
        self._held[file.job.path] = file

    def know(self, job: Job) -> None:
        """Add a file that was decided in an earlier run, and only has another time or place."""
        self._known[job.path] = job

    def take_stale(self, read: Reader) -> tuple[list[Job], list[FileRecord]]:
        """Return the known files to look into again, and the records of those that stay decided.

        A decision is stale where what it rests on changed, or another file of its people is held.
        To be called when all files that nobody contests are written.
        """
        files = self._files(read)
        if self._matcher is None:
            return [], [files[path] for path in self._known]
        theirs: dict[str, list[FileRecord]] = {who: [] for who in self._people()}
        for record in files.values():
            for who in {person for person, *_ in record.asked} & theirs.keys():
                theirs[who].append(record)
        self._bases = {who: basis(self._matcher, who, each) for who, each in theirs.items()}
        drawn = {who for file in self._held.values() for who in file.job.people}
        stale: list[Job] = []
        while more := [
            job
            for job in self._known.values()
            if files[job.path].basis != self._basis_of(job) or not drawn.isdisjoint(job.people)
        ]:
            drawn.update(who for job in more for who in job.people)
            for job in more:
                del self._known[job.path]
                known = files[job.path]
                stale.append(dataclasses.replace(job, known=known, again=True, gone=()))
        stale.sort(key=lambda job: str(job.path))
        return stale, [files[path] for path in self._known]

    def decide(self, read: Reader) -> list[File]:
        """Decide the files that are held, and return them."""
        held, files = list(self._held.values()), self._files(read)
        if self._matcher is None or not held:
            return []
        contests: dict[tuple[str, Modality], list[Contest]] = {}
        for contest in (each for file in held for each in file.contests):
            contests.setdefault((contest.person, contest.modality), []).append(contest)
        verdicts: dict[int, Verdict] = {}
        for (who, modality), theirs in contests.items():
            reference = self._reference(read, files, who, modality)
            found = decide(self._matcher, theirs, reference)
            verdicts |= {id(one): each for one, each in zip(theirs, found, strict=True)}
        for file in held:
            file.close([verdicts[id(one)] for one in file.contests], self._basis_of(file.job))
        return held

    def _people(self) -> set[str]:
        """Return the people who have contested files."""
        jobs = [*self._known.values(), *(file.job for file in self._held.values())]
        return {who for job in jobs for who in job.people}

    def _files(self, read: Reader) -> dict[Path, FileRecord]:
        """Return the files of the people who have contested ones, those that are held too."""
        files = read.files_of_people(self._people())
        held = (file.job.record(file.sha256).decided_by("") for file in self._held.values())
        return {**files, **{record.path: record for record in held}}

    def _basis_of(self, job: Job) -> str:
        return " ".join(self._bases[who] for who in job.people)

    def _reference(self, read: Reader, files: Files, who: str, modality: Modality) -> list[NewItem]:
        """Return what shows a person and nobody else, of one modality."""
        items = read.items(read.items_of(who, modality))
        kept = [
            item
            for item in items.values()
            if (record := files.get(item.path)) is None or record.basis is None
        ]
        vectors = read.vectors(np.array([item.id for item in kept], np.int64))
        known = [
            NewItem(who, modality, item.start_s, item.end_s, item.box, vector)
            for item, vector in zip(kept, vectors, strict=True)
        ]
        beside = (item for file in self._held.values() for item in file.items)
        return known + [one for one in beside if (one.person, one.modality) == (who, modality)]
