"""VoxCeleb1 with VGGFace, and VoxCeleb2 with VGGFace2, in the folders they come in.

A person has two names: ``id10001`` in the recordings and ``A.J._Buckley`` in the images
(``id00012`` and ``n000012`` in VoxCeleb2). The published ``vox1_meta.csv`` or ``vox2_meta.csv``,
which must be in the root, says which names belong together, and gives the gender and nationality
of everybody. Below the root every folder with one of these names is that person's, at any
depth: ``wav/id10001/VIDEO/00001.wav``, ``dev/aac/id00012/...``,
``A.J._Buckley/1.6/VIDEO/0003800.jpg``, ``vgg_face/A.J._Buckley/00000001.jpg``.

People of VoxCeleb1 go by their names, which its splits use: ``letters`` of
:mod:`trainer.data.splits`, or the file of PINs. People of VoxCeleb2 go by their ids, and its table
itself has the split, with 118 test people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from avsearch.media import MediaExtractor
from indexer.errors import BadRequest, printable
from indexer.ingest.system_files import left_by_system
from indexer.records import Person, Source, gender_code
from trainer.data.galleries import file_job
from trainer.data.prepared_cache import PrepareJob
from trainer.protocols.voxceleb_people import People, VoxPerson, read_people

TABLES = ("vox1_meta.csv", "vox2_meta.csv", "vox1_meta.csv.gz", "vox2_meta.csv.gz")


def find_table(root: Path) -> Path | None:
    """Return the meta table of a root of VoxCeleb; None where there is none."""
    found = [root / name for name in TABLES if (root / name).is_file()]
    return found[0] if found else None


def voxceleb_jobs(
    root: Path, extractor: MediaExtractor
) -> tuple[list[PrepareJob], Mapping[str, Person]]:
    """Return the decoding jobs of a root of VoxCeleb, and its people.

    Raises:
        BadRequest: The root has no table, or no folder of a person in it.
    """
    table = find_table(root)
    if table is None:
        raise BadRequest(f"{printable(root)} has no {TABLES[0]} or {TABLES[1]}; put it there.")
    people = read_people([table], ("gender",))
    jobs = [
        file_job(Source(path, who.name, None, 0.0, None, root), who.name, extractor)
        for path, who in _media(root, people, extractor)
    ]
    if not jobs:
        first = next(iter(people))
        raise BadRequest(
            f"{printable(root)} holds no media in a folder named as {printable(table)} names "
            f"people, such as {first.id} or {first.picture_name}."
        )
    known = {
        who.name: Person(
            who.name, who.picture_name, gender_code(who.gender), who.nationality or None
        )
        for who in people
    }
    return jobs, known


def _media(
    folder: Path, people: People, extractor: MediaExtractor
) -> Iterator[tuple[Path, VoxPerson]]:
    """The media below every folder with a person's name, in a fixed order."""
    for entry in _entries(folder):
        if not entry.is_dir():
            continue
        who = people.get(entry.name)
        if who is None:
            yield from _media(entry, people, extractor)
            continue
        for path in _below(entry):
            if extractor.kind(path) is not None and path.is_file():
                yield path, who


def _below(folder: Path) -> Iterator[Path]:
    """Everything below a folder, in the order of paths."""
    for path in _entries(folder):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder, without those that an operating system leaves there."""
    return [path for path in sorted(folder.iterdir()) if left_by_system(path) is None]
