"""VoxCeleb1 with VGGFace, and VoxCeleb2 with VGGFace2, in the folders they come in.

A person has two names: ``id10001`` in the recordings and ``A.J._Buckley`` in the pictures
(``id00012`` and ``n000012`` in VoxCeleb2). The published ``vox1_meta.csv`` or ``vox2_meta.csv``,
which must lie in the root, says which belong together, and of which gender and nationality
everybody is. Below the root every folder of one of these names is that person's, whatever
lies between: ``wav/id10001/VIDEO/00001.wav``, ``dev/aac/id00012/...``,
``A.J._Buckley/1.6/VIDEO/0003800.jpg``, ``vgg_face/A.J._Buckley/00000001.jpg``.

People of VoxCeleb1 are called by their names, as its splits are made of them: ``letters`` of
:mod:`trainer.data.splits`, or the file of PINs. People of VoxCeleb2 are called by their ids, and
its table itself splits them: its 118 test people test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from avsearch.media import MediaExtractor
from indexer.errors import BadRequest, printable
from indexer.records import Person, Source, gender_code
from trainer.data.cache import Job
from trainer.data.folders import file_job
from trainer.data.lists import read_list

TABLES = ("vox1_meta.csv", "vox2_meta.csv", "vox1_meta.csv.gz", "vox2_meta.csv.gz")


@dataclasses.dataclass(frozen=True, slots=True)
class Celebrity:
    """One row of a meta table; ``part`` is ``dev`` or ``test``."""

    id: str
    picture_name: str
    gender: str
    nationality: str  # empty in VoxCeleb2
    part: str

    @property
    def name(self) -> str:
        """What the person is called here."""
        return self.id if self.nationality == "" else self.picture_name

    @property
    def person(self) -> Person:
        """The person as every table of people has it."""
        return Person(
            self.name, self.picture_name, gender_code(self.gender), self.nationality or None
        )


def find_table(root: Path) -> Path | None:
    """The meta table of a root of VoxCeleb; None where there is none."""
    found = [root / name for name in TABLES if (root / name).is_file()]
    return found[0] if found else None


def is_meta(lines: list[str]) -> bool:
    """Whether lines are those of a meta table."""
    return bool(lines) and lines[0].startswith("VoxCeleb")


def read_meta(path: Path) -> list[Celebrity]:
    """The people of a meta table: cells between tabs or commas, with blanks about them.

    Raises BadRequest, naming the line, for a table that is not one of VoxCeleb's and for a row
    with cells missing.
    """
    lines = read_list(path)
    if not is_meta(lines):
        raise BadRequest(
            f"{printable(path)} is no table of VoxCeleb: its first line must begin with VoxCeleb."
        )
    columns = [cell.casefold() for cell in _cells(lines[0])]
    place = {what: _column(path, columns, what) for what in ("gender", "set")}
    country = columns.index("nationality") if "nationality" in columns else None
    people = []
    for number, line in enumerate(lines[1:], start=2):
        cells = _cells(line)
        if not line.strip():
            continue
        if len(cells) != len(columns):
            raise BadRequest(
                f"{printable(path)}, line {number}: there are {len(cells)} cells where the header "
                f"has {len(columns)}."
            )
        nationality = "" if country is None else cells[country]
        people.append(
            Celebrity(cells[0], cells[1], cells[place["gender"]], nationality, cells[place["set"]])
        )
    return people


def voxceleb_jobs(root: Path, extractor: MediaExtractor) -> tuple[list[Job], Mapping[str, Person]]:
    """What is to be decoded of a root of VoxCeleb, and who its people are.

    Raises BadRequest where the root has no table or no folder of anybody in it.
    """
    table = find_table(root)
    if table is None:
        raise BadRequest(f"{printable(root)} has no {TABLES[0]} or {TABLES[1]}; put it there.")
    people = read_meta(table)
    folders = {name: one for one in people for name in (one.id, one.picture_name)}
    jobs = [
        file_job(Source(path, who.name, None, 0.0, None, root), who.name, extractor)
        for path, who in _media(root, folders, extractor)
    ]
    if not jobs:
        raise BadRequest(
            f"{printable(root)} holds no media in a folder named as {printable(table)} names "
            f"people, such as {people[0].id} or {people[0].picture_name}."
        )
    return jobs, {one.name: one.person for one in people}


def _media(
    folder: Path, names: Mapping[str, Celebrity], extractor: MediaExtractor
) -> Iterator[tuple[Path, Celebrity]]:
    """The media below every folder with a person's name, in a fixed order."""
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir():
            continue
        if entry.name not in names:
            yield from _media(entry, names, extractor)
            continue
        for path in sorted(entry.rglob("*")):
            if extractor.kind(path) is not None and path.is_file():
                yield path, names[entry.name]


def _cells(line: str) -> list[str]:
    cells = [cell.strip() for cell in line.replace("\t", ",").split(",")]
    return cells[:-1] if cells[-1] == "" else cells


def _column(path: Path, columns: list[str], what: str) -> int:
    if what not in columns:
        raise BadRequest(f"{printable(path)} has no column {what!r}, which VoxCeleb's tables have.")
    return columns.index(what)
