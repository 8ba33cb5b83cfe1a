"""People that a checkpoint was not trained on, with their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from avsearch.media.file_types import kind_of
from avsearch.runtime.weights import model_record
from indexer.errors import BadRequest, printable
from indexer.ingest.scan import scan
from trainer.data.splits import Split

GALLERIES = ("lfw", "librispeech", "ravdess", "nemo")
GRID = "grid"
# As they look and sound; the data has no table of them, and nobody is trained on them.
GRID_GENDERS = {"bbaf2n": "m", "brbk7n": "f", "lbax4n": "m", "lbbc2a": "f"}
_GENDERS = ("f", "m")


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """A person of a gallery, with all files in the order of their names."""

    key: str  # the person's folder
    gallery: str
    gender: str  # f or m
    nationality: str  # empty where unknown
    files: tuple[Path, ...]


def people_of_side(checkpoint: Path, data: Path, side: Split) -> list[Person]:
    """Return the people of a split in a checkpoint's record, if their gender is known.

    The people of GRID belong to the test split. Raises BadRequest if the record has no splits or
    two people share a name.
    """
    sides = model_record(checkpoint).get("people", {})
    if side not in sides:
        raise BadRequest(
            f"{printable(checkpoint)} does not record who is on its {side} side; evaluate a "
            "checkpoint that a recipe trained."
        )
    wanted = frozenset(sides[side])
    found = [person for name in GALLERIES for person in _recorded(data / name, wanted)]
    if side == "test":
        found += _of_grid(data / GRID)
    keys = [person.key for person in found]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise BadRequest(f"Two galleries have a person {twice}; name their folders apart.")
    return found


def _recorded(gallery: Path, wanted: frozenset[str]) -> Iterator[Person]:
    """The people of a gallery that are ``wanted``, as ``gallery/person``."""
    seen = scan(gallery, kind_of)
    files: dict[str, list[Path]] = {}
    for source in seen.sources:
        files.setdefault(source.person, []).append(source.path)
    for key, own in sorted(files.items()):
        known = seen.people.get(key)
        if f"{gallery.name}/{key}" in wanted and known is not None and known.gender in _GENDERS:
            told = known.gender, known.nationality or ""
            yield Person(key, gallery.name, *told, tuple(sorted(own)))


def _of_grid(gallery: Path) -> Iterator[Person]:
    for key, gender in GRID_GENDERS.items():
        files = tuple(sorted((gallery / key).glob("*.mpg")))
        if files:
            yield Person(key, gallery.name, gender, "", files)
