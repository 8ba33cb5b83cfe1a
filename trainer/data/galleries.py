"""Galleries and manifests as data sources, in the form that an index reads too."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from avsearch.media import MediaExtractor, load_media
from indexer.errors import BadRequest, printable
from indexer.ingest.scan import Scan, scan
from indexer.ingest.system_files import left_by_system
from indexer.records import Person, Source
from indexer.tables.people import find_people
from indexer.types import MODALITIES, Kind, Media, Modality
from indexer.unicode_names import normalised
from trainer.data.prepared_cache import PrepareJob

_POSSIBLE: dict[Kind | None, tuple[Modality, ...]] = {
    "image": ("face",),
    "audio": ("voice",),
    "video": MODALITIES,
}


def gallery_jobs(
    gallery: Path, extractor: MediaExtractor, on_warning: Callable[[str], None] = lambda _: None
) -> tuple[list[PrepareJob], Mapping[str, Person]]:
    """Return the decoding jobs of a gallery, and its people.

    A person's name is the gallery's name, a slash, and the person's folder, so that people of two
    galleries are never mixed up. ``on_warning`` receives notes about the people.csv.

    Raises:
        BadRequest: The folder has no media.
    """
    found = scan(gallery, extractor.kind)
    for path, note in found.notes:
        on_warning(f"{printable(path)}: {note}")
    return _jobs(found, normalised(gallery.resolve().name), extractor, gallery)


def manifest_jobs(
    table: Path, extractor: MediaExtractor
) -> tuple[list[PrepareJob], Mapping[str, Person]]:
    """Return the decoding jobs of the files of a manifest, and its people.

    Its columns are those of an index's manifest; paths are relative to its folder.

    Raises:
        BadRequest: A file is missing or cannot be read.
    """
    found = scan(table.parent, extractor.kind, manifest=table)
    if found.refused:
        first = found.refused[0]
        raise BadRequest(
            f"{printable(table)} names {len(found.refused)} files that cannot be read; the "
            f"first, {printable(first.path)}, {first.reason}"
        )
    return _jobs(found, normalised(table.stem), extractor, table)


def find_galleries(folder: Path) -> list[Path]:
    """Return the galleries of a folder: itself, or the folders in it that have a people.csv."""
    if not folder.is_dir() or find_people(folder) is not None:
        return [folder]
    entries = (each for each in sorted(folder.iterdir()) if left_by_system(each) is None)
    return [each for each in entries if each.is_dir() and find_people(each)] or [folder]


def file_job(source: Source, person: str, extractor: MediaExtractor) -> PrepareJob:
    """Return the job that decodes a file, or a range of it, for a person."""
    found = source.path.stat()
    identity = [
        str(source.path),
        found.st_size,
        found.st_mtime_ns,
        source.modality,
        source.start_s,
        source.end_s,
        extractor.settings,
    ]
    read = functools.partial(_items, source, extractor)
    return PrepareJob(person, str(source.path), json.dumps(identity), read)


def _jobs(
    found: Scan, name: str, extractor: MediaExtractor, path: Path
) -> tuple[list[PrepareJob], Mapping[str, Person]]:
    if not found.sources:
        raise BadRequest(
            f"{printable(path)} holds no media; a gallery has one folder per person with images, "
            "audio or videos."
        )
    jobs = [file_job(each, f"{name}/{each.person}", extractor) for each in found.sources]
    return jobs, {f"{name}/{key}": person for key, person in found.people.items()}


def _items(source: Source, extractor: MediaExtractor) -> Iterator[Media]:
    if not source.ranged:
        yield from extractor.extract(source.path, source.modality)
        return
    for modality in (
        [source.modality] if source.modality else _POSSIBLE[extractor.kind(source.path)]
    ):
        end_s = source.end_s if modality == "voice" else None
        media = Media(source.path, modality, source.start_s, end_s)
        yield dataclasses.replace(media, data=load_media(media))
