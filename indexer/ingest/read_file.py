"""The work of the worker threads: hash one file, then yield its items."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import threading
from collections.abc import Generator
from pathlib import Path

from indexer.errors import RefusedFile, os_reason, printable
from indexer.ingest.diff import FileJob
from indexer.records import FileRecord, Source, SourceKey
from indexer.runtime.timing import Stopwatch
from indexer.types import Extractor, Media

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class FilePart:
    """One item found in the file of a job."""

    source: Source
    media: Media
    job: FileJob


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """The end of a file.

    ``same`` says that its bytes are known, so that no item was read. ``moved`` is the known file
    with these bytes whose path it replaces. ``faults`` are the refusals by source, ``notes`` those
    of the extractor.
    """

    job: FileJob
    sha256: str
    same: bool = False
    moved: FileRecord | None = None
    faults: dict[SourceKey, RefusedFile] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


class FileReader:
    """Reads files with an extractor; several threads may use it at once."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self._claiming = threading.Lock()
        self._claimed: set[Path] = set()

    def read(self, job: FileJob) -> Generator[FilePart | End, None, None]:
        """Yield the items of a file, then its end."""
        watch, items = Stopwatch(), 0
        for event in watch.run(self._read(job)):
            items += isinstance(event, FilePart)
            yield event
        logger.info("%s: %d items, %.2f s", printable(job.path), items, watch.seconds)

    def _read(self, job: FileJob) -> Generator[FilePart | End, None, None]:
        try:
            sha256 = file_sha256(job.path)
        except RefusedFile as fault:
            yield End(job, "", faults={source.key: fault for source in job.sources})
            return
        known = job.known if job.same_sources and not job.reread else None
        if known is not None and known.sha256 == sha256:
            yield End(job, sha256, same=True)
            return
        if moved := self._claim(job.moved_from(sha256)):
            yield End(job, sha256, moved=moved)
            return
        notes: dict[str, None] = {}  # in order, each once
        faults: dict[SourceKey, RefusedFile] = {}
        for source in job.sources:
            span = (source.start_s, source.end_s) if source.ranged else ()
            try:
                for media in self._extractor.extract(
                    source.path,
                    source.modality,
                    *span,
                    on_note=lambda note: notes.update({note: None}),
                ):
                    yield FilePart(source, media, job)
            except RefusedFile as fault:  # the other sources are read all the same
                faults[source.key] = fault
        yield End(job, sha256, faults=faults, notes=tuple(notes))

    def _claim(self, records: list[FileRecord]) -> FileRecord | None:
        """Return a record that no other file has claimed: of two copies, one is the moved file."""
        with self._claiming:
            free = [record for record in records if record.path not in self._claimed]
            self._claimed.update(record.path for record in free[:1])
            return free[0] if free else None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; RefusedFile, not permanent, if unreadable."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = f"cannot be read: {os_reason(error)}."
        raise RefusedFile(path, reason, permanent=False) from error
