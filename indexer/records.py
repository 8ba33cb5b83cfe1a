"""The contents of the catalog as plain values: people, sources, items, files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from indexer.types import Box, Modality, Vectors

PERSON_COLUMNS = ("person", "name", "gender", "nationality")

# Person, modality or None for both, start and end in seconds: a source without its file.
SourceKey = tuple[str, Modality | None, float, float | None]

_GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f"}
_BASIS = "; of several people one, by "  # separates the stored settings of a file from its basis


def gender_code(text: str) -> str:
    """Return ``"m"`` or ``"f"`` for their usual spellings, any other text stripped."""
    return _GENDERS.get(text.strip().casefold(), text.strip())


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """A person: the key the user knows them by, and their row of ``people.csv``.

    ``attributes`` holds the further columns; empty cells are left out.
    """

    key: str
    name: str | None = None
    gender: str | None = None
    nationality: str | None = None
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_cells(cls, cells: Mapping[str, str]) -> Person:
        """Make a person from named cells; ``person`` is the key, empty cells are ignored."""
        filled = {column: text for column, text in cells.items() if text}
        gender = filled.get("gender")
        return cls(
            key=filled["person"],
            name=filled.get("name"),
            gender=None if gender is None else gender_code(gender) or None,
            nationality=filled.get("nationality"),
            attributes={c: text for c, text in filled.items() if c not in PERSON_COLUMNS},
        )

    def cells(self) -> dict[str, str]:
        """Return the filled cells by the column names of ``people.csv``."""
        fixed = (self.key, self.name, self.gender, self.nationality)
        named = zip(PERSON_COLUMNS, fixed, strict=True)
        return {**self.attributes, **{column: text for column, text in named if text is not None}}


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """A face crop or a speech segment in the index, with its person.

    Times are seconds from the start of the file, ``box`` is in pixels of the upright image, as in
    :class:`indexer.types.Media`.
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
    """An item to be written; ``vector`` is (dim,) float32 and finite.

    ``seconds`` is the length of the speech averaged in the vector, if that is more than the span
    of the item. It is not stored.
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
    """A request to take items of one person from one file.

    Without a time range, everything found in the file belongs to the person. With one
    (``start_s`` above 0 or ``end_s`` given, in seconds) exactly that range is taken as a voice, and
    the faces of the frame at ``start_s``. ``modality`` None takes both.
    """

    path: Path
    person: str
    modality: Modality | None
    start_s: float
    end_s: float | None
    gallery: Path

    @property
    def ranged(self) -> bool:
        """True if it names a time range rather than the whole file."""
        return self.start_s > 0 or self.end_s is not None

    @property
    def key(self) -> SourceKey:
        """The source without its file: a rerun compares it to find changes."""
        return (self.person, self.modality, self.start_s, self.end_s)


def describe_source(key: SourceKey) -> str:
    """Return a source in words for messages."""
    who, modality, start_s, end_s = key
    until = "" if end_s is None else f" to {end_s:g} s"
    return f"{modality or 'face and voice'} of {who} from {start_s:g} s{until}"


def map_people(before: frozenset[SourceKey], now: frozenset[SourceKey]) -> dict[str, str] | None:
    """Map old person keys to new ones where the sources of a file are otherwise the same.

    Returns None where anything else differs, or the mapping is ambiguous.
    """
    if before == now:
        return {who: who for who, *_ in before}
    old, new = ({tuple(rest): who for who, *rest in keys} for keys in (before, now))
    if old.keys() != new.keys() or not len(before) == len(now) == len(new):
        return None
    pairs = {(who, new[rest]) for rest, who in old.items()}
    people = dict(pairs)
    return people if len(people) == len(pairs) else None


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """A file that was not taken, with the reason and, where known, the person of its folder."""

    path: Path
    reason: str
    gallery: Path
    person: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Stat:
    """Size in bytes and modification time in ns: equal ones mean an unchanged file."""

    size: int
    mtime_ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as the catalog stores it.

    ``reason`` is None for a file that was taken. ``permanent`` says that a refused file need not
    be read again until it changes. ``sha256`` is empty if the file was never read. ``faults`` are
    the sources of a taken file that gave no item, with the reasons. ``notes`` are sentences on what
    was lost, left out or chosen in a taken file.
    """

    path: Path
    gallery: Path
    stat: Stat
    sha256: str
    settings: str
    source_keys: frozenset[SourceKey]
    reason: str | None = None
    permanent: bool = True
    faults: frozenset[tuple[SourceKey, str]] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def base_settings(self) -> str:
        """The settings of the extractor, without the basis."""
        return self.settings.partition(_BASIS)[0]

    @property
    def basis(self) -> str | None:
        """The hash that the choice between several people rests on; None if it shows one person."""
        _, separator, basis = self.settings.partition(_BASIS)
        return basis if separator else None

    def with_basis(self, basis: str) -> FileRecord:
        """Return the record of a file that shows several people, with the basis of the choice."""
        return dataclasses.replace(self, settings=f"{self.base_settings}{_BASIS}{basis}")

    def refusals(self) -> list[tuple[Path, str]]:
        """Return its path with each reason why it, or one of its sources, was not taken."""
        if self.reason is not None:
            return [(self.path, self.reason)]
        faults = sorted(self.faults, key=lambda fault: (fault[0][2], str(fault)))
        return [(self.path, f"{describe_source(key)}: {reason}") for key, reason in faults]


@dataclasses.dataclass(frozen=True, slots=True)
class Duplicate:
    """Files with the same bytes but different people: their paths and the people's keys."""

    paths: tuple[Path, ...]
    people: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Deletion:
    """The record of a deleted person, without their name.

    ``at`` is ISO 8601, UTC. ``bytes_searched`` and ``clean`` are the result of the byte search;
    0 and None if the run stopped before it.
    """

    at: str
    items: int
    files: int
    bytes_searched: int
    clean: bool | None


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """Totals of an index: people with items, faces, voices, files taken, files refused."""

    people: int
    faces: int
    voices: int
    files: int
    refused: int


@dataclasses.dataclass(frozen=True, slots=True)
class Revision:
    """A state of the catalog: its number and when it was made (ISO 8601, UTC).

    The time distinguishes catalogs that diverged from the same backup.
    """

    number: int
    at: str
