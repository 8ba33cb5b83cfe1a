"""People of VoxCeleb: their two names, gender and nationality, from the published tables.

A person is ``id10002`` in VoxCeleb1's recordings and ``A.R._Rahman`` in VGGFace's images; lists
mix both names. In VoxCeleb2 they are ``id00012`` and ``n000012``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from indexer.errors import BadRequest, printable
from indexer.unicode_names import cleaned, normalised
from trainer.protocols.text_file import SEPARATORS, Lines, cells_of, read_lines


@dataclasses.dataclass(frozen=True, slots=True)
class VoxPerson:
    """A row of ``vox1_meta.csv`` or ``vox2_meta.csv``; an empty value is unknown."""

    id: str  # of the recordings
    picture_name: str
    gender: str = ""
    nationality: str = ""
    part: str = dataclasses.field(default="", compare=False)  # dev or test; tables differ in it

    @property
    def name(self) -> str:
        """The person's name here: VGGFace's name, or VoxCeleb2's id."""
        return self.id if re.fullmatch(r"n\d+", self.picture_name) else self.picture_name


class People:
    """People by either of their names."""

    def __init__(self, people: Iterable[VoxPerson] = ()) -> None:
        self._people = list(people)
        self._by_name = {key: who for who in self._people for key in (who.id, who.picture_name)}

    def __len__(self) -> int:
        return len(self._people)

    def __iter__(self) -> Iterator[VoxPerson]:
        return iter(self._people)

    def get(self, name: str) -> VoxPerson | None:
        """Return the person of an id or a name; None where unknown."""
        return self._by_name.get(normalised(name))

    def name(self, name: str) -> str:
        """Return a person's name here; an unknown name stays."""
        who = self.get(name)
        return normalised(name) if who is None else who.name

    def id(self, name: str) -> str:
        """Return the VoxCeleb id of a person; an unknown name stays."""
        who = self.get(name)
        return normalised(name) if who is None else who.id


def read_people(tables: Iterable[Path], needed: Sequence[str] = ()) -> People:
    """Read people from meta tables or split tables, separated by tabs or commas.

    Raises:
        BadRequest: A table lacks the two names or a ``needed`` column, a line has another length,
            or two rows disagree about a person.
    """
    found: dict[str, VoxPerson] = {}
    for table in tables:
        lines = read_lines(table)
        for at, who in enumerate(_people(lines, needed), 1):
            known = found.setdefault(who.id, who)
            if known != who:
                lines.fault(at, f"{who.id} is {who.name} here and {known.name} elsewhere.")
    return People(found.values())


def is_table(lines: Lines) -> bool:
    """Return True for the lines of a table of people."""
    return len(lines) > 0 and lines.texts[0].lstrip(' "').startswith("VoxCeleb")


def _people(lines: Lines, needed: Sequence[str]) -> Iterator[VoxPerson]:
    header = lines.texts[0] if len(lines) else ""
    separator = next((mark for mark in SEPARATORS if mark in header), ",")
    columns = [cell.lower().replace(" ", "_") for cell in _cells(header, separator, 0)]
    _check_columns(lines.path, columns, needed)
    if len(lines) == 1:
        raise BadRequest(f"{printable(lines.path)} names nobody; download it again.")
    for at, line in enumerate(lines.texts[1:], 1):
        cells = _cells(line, separator, len(columns))
        if len(cells) != len(columns):
            lines.fault(at, f"{len(columns)} columns are expected, {len(cells)} are there.")
        more = dict(zip(columns[2:], cells[2:], strict=True))
        if not cells[0] or not cells[1]:
            lines.fault(at, "a person needs both names; fill them in or remove the line.")
        yield VoxPerson(
            cells[0],
            cells[1],
            more.get("gender", "").lower(),
            more.get("nationality", ""),
            more.get("set", ""),
        )


def _check_columns(table: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    if not re.fullmatch(r"voxceleb[12]_id vggface[12]_id", " ".join(columns[:2])):
        raise BadRequest(
            f"{printable(table)} is no table of VoxCeleb's people: its first line must name "
            "VoxCeleb1 ID and VGGFace1 ID, or VoxCeleb2's."
        )
    absent = [name for name in needed if name not in columns]
    if absent:
        raise BadRequest(
            f"{printable(table)} has no column {absent[0]!r}, which VoxCeleb's tables have."
        )


def _cells(line: str, separator: str, count: int) -> list[str]:
    """The cells of a line, without empty ones beyond ``count``."""
    cells = [cleaned(cell) for cell in cells_of(line, separator)]
    while len(cells) > count and not cells[-1]:
        cells.pop()
    return cells
