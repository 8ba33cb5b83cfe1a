"""People of VoxCeleb1: their two names, gender and nationality.

VoxCeleb calls a person ``id10002``, VGGFace ``A.R._Rahman``; lists mix both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

from indexer.errors import BadRequest, printable
from trainer.protocols.lines import fault, read_lines

_NEEDED = ("voxceleb1_id", "vggface1_id")


@dataclasses.dataclass(frozen=True, slots=True)
class VoxPerson:
    """A row of ``vox1_meta.csv``; an empty value is unknown."""

    id: str  # of VoxCeleb1
    name: str  # of VGGFace
    gender: str = ""
    nationality: str = ""


class People:
    """Who is who, by either name."""

    def __init__(self, people: Iterable[VoxPerson] = ()) -> None:
        self._people = list(people)
        self._by_name = {key: who for who in self._people for key in (who.id, who.name)}

    def __len__(self) -> int:
        return len(self._people)

    def __iter__(self) -> Iterator[VoxPerson]:
        return iter(self._people)

    def get(self, name: str) -> VoxPerson | None:
        """The person of an id or a name; None for somebody unknown."""
        return self._by_name.get(name)

    def name(self, name: str) -> str:
        """The VGGFace name of a person; a name that is not known stands for itself."""
        who = self._by_name.get(name)
        return name if who is None else who.name

    def id(self, name: str) -> str:
        """The VoxCeleb1 id of a person; a name that is not known stands for itself."""
        who = self._by_name.get(name)
        return name if who is None else who.id


def read_people(tables: Iterable[Path]) -> People:
    """People of ``vox1_meta.csv`` or of split tables with its columns, by tab or by comma.

    Raises BadRequest for a table without these columns, a line of another length, and two rows
    that disagree about a person.
    """
    found: dict[str, VoxPerson] = {}
    for table in tables:
        for number, who in _rows(table):
            known = found.setdefault(who.id, who)
            if known != who:
                fault(table, number, f"{who.id} is {who.name} here and {known.name} elsewhere.")
    return People(found.values())


def _rows(table: Path) -> Iterator[tuple[int, VoxPerson]]:
    lines = read_lines(table)
    header = next(lines, (0, ""))[1]
    separator = "\t" if "\t" in header else ","
    columns = [name.strip().lower().replace(" ", "_") for name in header.split(separator)]
    if tuple(columns[:2]) != _NEEDED:
        raise BadRequest(
            f"{printable(table)} is no table of VoxCeleb1 people: its first line must name "
            "VoxCeleb1 ID and VGGFace1 ID."
        )
    for number, line in lines:
        values = [value.strip() for value in line.split(separator)]
        if len(values) != len(columns):
            fault(table, number, f"{len(columns)} columns are expected, {len(values)} are there.")
        row = dict(zip(columns, values, strict=True))
        yield (
            number,
            VoxPerson(
                id=row["voxceleb1_id"],
                name=row["vggface1_id"],
                gender=row.get("gender", "").lower(),
                nationality=row.get("nationality", ""),
            ),
        )
