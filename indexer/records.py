"""What the catalog holds, as plain values: people, sources, items, refusals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from indexer.types import Box, Modality, Vectors

PERSON_COLUMNS = ("person", "name", "gender", "nationality")

_GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f"}


def gender_code(text: str) -> str:
    """``"m"`` or ``"f"`` for the usual ways to write them; anything else stays, stripped."""
    return _GENDERS.get(text.strip().casefold(), text.strip())


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """Who: the ID the user knows them by, and what ``people.csv`` says of them.

    ``attributes`` holds the further columns; a cell that was left empty is not in it.
    """

    key: str
    name: str | None = None
    gender: str | None = None
    nationality: str | None = None
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_cells(cls, cells: Mapping[str, str]) -> Person:
        """A person from named cells; ``person`` is the key, empty cells say nothing."""
        said = {column: text for column, text in cells.items() if text}
        gender = said.get("gender")
        return cls(
            key=said["person"],
            name=said.get("name"),
            gender=None if gender is None else gender_code(gender) or None,
            nationality=said.get("nationality"),
            attributes={c: text for c, text in said.items() if c not in PERSON_COLUMNS},
        )

    def cells(self) -> dict[str, str]:
        """Every column that says something, by the name ``people.csv`` has for it."""
        fixed = (self.key, self.name, self.gender, self.nationality)
        named = zip(PERSON_COLUMNS, fixed, strict=True)
        return {**self.attributes, **{column: text for column, text in named if text is not None}}


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One face crop or one stretch of speech in the index, and whose it is.

    Times are seconds from the start of the file, ``box`` pixels of the upright picture; both
    mean what they mean in :class:`indexer.types.Media`.
    """

    id: int
    person: Person
    path: Path
    modality: Modality
    start_s: float
    end_s: float | None
    box: Box | None


@dataclasses.dataclass(frozen=True, slots=True)
class NewItem:
    """An item on its way into the catalog; ``vector`` is (dim,) float32 and finite.

    ``seconds`` is of how much speech the vector is the mean, where that is more than its span; it
    is not stored.
    """

    person: str
    modality: Modality
    start_s: float
    end_s: float | None
    box: Box | None
    vector: Vectors
    seconds: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """What is to be taken from one file for one person.

    Without a range the file is looked into and everything found is the person's. With one
    (``start_s`` above 0 or ``end_s`` given, in seconds) exactly that stretch is taken as a voice,
    and the faces of the frame at ``start_s``. ``modality`` None takes both.
    """

    path: Path
    person: str
    modality: Modality | None
    start_s: float
    end_s: float | None
    gallery: Path

    @property
    def ranged(self) -> bool:
        """Whether a part of the file is named rather than all of it."""
        return self.start_s > 0 or self.end_s is not None

    @property
    def asked(self) -> Asked:
        """The source less its file: what a rerun compares to see that nothing changed."""
        return (self.person, self.modality, self.start_s, self.end_s)


Asked = tuple[str, Modality | None, float, float | None]

_DECIDED = "; of several people one, by "  # behind the settings of a file that shows several


def part_words(asked: Asked) -> str:
    """What was asked of a file, for people."""
    who, modality, start_s, end_s = asked
    until = "" if end_s is None else f" to {end_s:g} s"
    return f"{modality or 'face and voice'} of {who} from {start_s:g} s{until}"


def renamed(before: frozenset[Asked], now: frozenset[Asked]) -> dict[str, str] | None:
    """Who of the people of a file has become whom, where the same is asked of it otherwise.

    None where something else is asked, or it is not clear who is whom.
    """
    if before == now:
        return {who: who for who, *_ in before}
    was, has = ({tuple(rest): who for who, *rest in asked} for asked in (before, now))
    if was.keys() != has.keys() or not len(before) == len(now) == len(has):
        return None
    pairs = {(who, has[part]) for part, who in was.items()}
    people = dict(pairs)
    return people if len(people) == len(pairs) else None


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """A file that was not taken, why, and in whose folder it lies where that is known."""

    path: Path
    reason: str
    gallery: Path
    person: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Stat:
    """What tells without reading a file that it is the same as before: bytes and ns."""

    size: int
    mtime_ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as the catalog knows it.

    ``reason`` is None for a file that was taken. ``lasting`` says whether a refused file need
    not be looked into again before it changes. ``sha256`` is empty where it was never read.
    ``parts`` are what was asked of a file that was taken and came to nothing, with the reasons.
    ``notes`` are sentences about what of a taken file was lost, left out or chosen between.
    """

    path: Path
    gallery: Path
    stat: Stat
    sha256: str
    settings: str
    asked: frozenset[Asked]
    reason: str | None = None
    lasting: bool = True
    parts: frozenset[tuple[Asked, str]] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def plain_settings(self) -> str:
        """How the file was looked into, whatever was decided about the people in it."""
        return self.settings.partition(_DECIDED)[0]

    @property
    def basis(self) -> str | None:
        """What the choice between the people in the file rests on; None where it shows one."""
        _, decided, basis = self.settings.partition(_DECIDED)
        return basis if decided else None

    def decided_by(self, basis: str) -> FileRecord:
        """The record of a file that shows several people, with what the choice rests on."""
        return dataclasses.replace(self, settings=f"{self.plain_settings}{_DECIDED}{basis}")

    def refusals(self) -> list[tuple[Path, str]]:
        """Its path with each reason for which it, or a part of it, was not taken."""
        if self.reason is not None:
            return [(self.path, self.reason)]
        said = sorted(self.parts, key=lambda part: (part[0][2], str(part)))
        return [(self.path, f"{part_words(asked)}: {reason}") for asked, reason in said]


@dataclasses.dataclass(frozen=True, slots=True)
class Duplicate:
    """The same bytes as files of several people: by path, and by the people's keys."""

    paths: tuple[Path, ...]
    people: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Forgetting:
    """That somebody was forgotten, and nothing of who.

    ``bytes_searched`` and ``clean`` are what the search for traces came to; 0 and None where
    the run was stopped before it.
    """

    at: str
    items: int
    files: int
    bytes_searched: int
    clean: bool | None


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """Totals of an index: people who have items, their faces and voices, files taken, refused."""

    people: int
    faces: int
    voices: int
    files: int
    refused: int


@dataclasses.dataclass(frozen=True, slots=True)
class Revision:
    """One state of the catalog: its number, and when it came to be (ISO 8601, UTC).

    The time tells two catalogs apart that went different ways from the same backup.
    """

    number: int
    at: str
