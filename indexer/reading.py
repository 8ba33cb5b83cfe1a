"""Looking into one file: its hash, then its items; what the worker threads of a run do."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Generator, Iterator
from pathlib import Path

from indexer.changes import Job
from indexer.errors import RefusedFile
from indexer.records import Source
from indexer.types import MODALITIES, Extractor, Kind, Media, Modality

_MODALITIES: dict[Kind, tuple[Modality, ...]] = {
    "picture": ("face",),
    "sound": ("voice",),
    "video": MODALITIES,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """One item found in the file of a job, and whose it is."""

    job: Job
    person: str
    media: Media


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """All of a file was looked into.

    ``same`` says that its bytes are those known already, so that nothing was taken from it.
    ``fault`` is the first refusal of one of its sources.
    """

    job: Job
    sha256: str
    same: bool = False
    fault: RefusedFile | None = None


class FileReader:
    """Looks into files with an extractor; may be used by several threads at once."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor

    def read(self, job: Job) -> Generator[Piece | End, None, None]:
        """The items of a file one by one, then its end."""
        try:
            sha256 = file_sha256(job.path)
        except RefusedFile as fault:
            yield End(job, "", fault=fault)
            return
        if job.same_request and job.known is not None and job.known.sha256 == sha256:
            yield End(job, sha256, same=True)
            return
        first = yield from self._pieces(job)
        yield End(job, sha256, fault=first)

    def _pieces(self, job: Job) -> Generator[Piece | End, None, RefusedFile | None]:
        """The items of all sources; a source that is refused leaves the others as they are."""
        first: RefusedFile | None = None
        for source in job.sources:
            try:
                for media in self._media(source):
                    yield Piece(job, source.person, media)
            except RefusedFile as fault:
                first = first or fault
        return first

    def _media(self, source: Source) -> Iterator[Media]:
        if not source.ranged:
            yield from self._extractor.extract(source.path, source.modality)
            return
        for modality in self._modalities(source):
            end_s = source.end_s if modality == "voice" else None
            yield Media(source.path, modality, source.start_s, end_s)

    def _modalities(self, source: Source) -> tuple[Modality, ...]:
        """What a range of a file is asked for: what was named, or all its kind can have."""
        if source.modality is not None:
            return (source.modality,)
        kind = self._extractor.kind(source.path)
        return MODALITIES if kind is None else _MODALITIES[kind]


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; RefusedFile, not lasting, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); try again."
        raise RefusedFile(path, reason, lasting=False) from error
