"""Looking into one file: its hash, then its items; what the worker threads of a run do."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

from indexer.errors import RefusedFile, os_reason, printable
from indexer.ingest.diff import Job
from indexer.records import Asked, FileRecord, Source
from indexer.runtime.timing import Stopwatch
from indexer.types import Extractor, Media, OnNote

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """One item found in the file of a job, and whose it is."""

    source: Source
    media: Media
    job: Job


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """All of a file was looked into.

    ``same`` says that its bytes are those known already, so that nothing was taken from it, and
    ``moved`` is the file it was before, where it is known under another path. ``faults`` are
    the refusals of its sources, ``notes`` what the extractor said of the file.
    """

    job: Job
    sha256: str
    same: bool = False
    moved: FileRecord | None = None
    faults: dict[Asked, RefusedFile] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


class FileReader:
    """Looks into files with an extractor; may be used by several threads at once."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self._claiming = threading.Lock()
        self._claimed: set[Path] = set()

    def read(self, job: Job) -> Generator[Piece | End, None, None]:
        """The items of a file one by one, then its end."""
        watch, items = Stopwatch(), 0
        for event in watch.run(self._read(job)):
            items += isinstance(event, Piece)
            yield event
        logger.info("%s: %d items, %.2f s", printable(job.path), items, watch.seconds)

    def _read(self, job: Job) -> Generator[Piece | End, None, None]:
        try:
            sha256 = file_sha256(job.path)
        except RefusedFile as fault:
            yield End(job, "", faults={source.asked: fault for source in job.sources})
            return
        known = job.known if job.same_request and not job.again else None
        if known is not None and known.sha256 == sha256:
            yield End(job, sha256, same=True)
        elif moved := self._claim(job.moved_from(sha256)):
            yield End(job, sha256, moved=moved)
        else:
            notes: dict[str, None] = {}  # in order, each once
            faults = yield from self._pieces(job, lambda note: notes.update({note: None}))
            yield End(job, sha256, faults=faults, notes=tuple(notes))

    def _claim(self, records: list[FileRecord]) -> FileRecord | None:
        """One of these files that no other has claimed to have been: a copy is not a move."""
        with self._claiming:
            free = [record for record in records if record.path not in self._claimed]
            self._claimed.update(record.path for record in free[:1])
            return free[0] if free else None

    def _pieces(
        self, job: Job, on_note: OnNote
    ) -> Generator[Piece | End, None, dict[Asked, RefusedFile]]:
        """The items of all sources; a source that is refused leaves the others as they are."""
        faults: dict[Asked, RefusedFile] = {}
        for source in job.sources:
            try:
                for media in self._media(source, on_note):
                    yield Piece(source, media, job)
            except RefusedFile as fault:
                faults[source.asked] = fault
        return faults

    def _media(self, source: Source, on_note: OnNote) -> Iterator[Media]:
        span = (source.start_s, source.end_s) if source.ranged else ()
        return self._extractor.extract(source.path, source.modality, *span, on_note=on_note)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; RefusedFile, not lasting, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = f"cannot be read: {os_reason(error)}."
        raise RefusedFile(path, reason, lasting=False) from error
