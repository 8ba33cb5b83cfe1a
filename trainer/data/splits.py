"""Train, validation and test splits by person: nobody is in two.

There are four ways to split: ``hash`` (of the name, so that it never changes), ``letters``
(VoxCeleb1's, by the first letter), ``last:V,T`` (people by name, the last T for test and the V
before them for validation), and a file of names and splits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from indexer.errors import BadRequest, printable
from indexer.unicode_names import cleaned
from trainer.data.dataset import (
    DataSet,
    labelled_by_gender,
    labelled_by_person,
    require_both,
)
from trainer.protocols.text_file import read_lines
from trainer.protocols.voxceleb_people import VoxPerson, is_table, read_people

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, Split, Split] = ("train", "validation", "test")

# The names of the splits in published files; 3 of PINs has other clips of the people of 1.
TRAIN, VALIDATION, TEST = SPLITS
SIDES: dict[str, Split] = {
    "train": TRAIN,
    "1": TRAIN,
    "validation": VALIDATION,
    "val": VALIDATION,
    "2": VALIDATION,
    "test": TEST,
    "4": TEST,
}
_LINE = re.compile(r'[\s"]*(.*?)"?[\s,;]+"?([^\s,;"]+)"?[\s,;]*')  # a name and a split
WAYS = "hash, hash:V,T (shares), letters, last:V,T (numbers of people), or a file of `name side`"


def split_of(person: str, *, validation: float = 0.1, test: float = 0.1) -> Split:
    """Return the split of a person by a hash of the name, whatever other people there are.

    The shares are 0 to 1.
    """
    place = int.from_bytes(hashlib.sha256(person.encode()).digest()[:8]) / 2**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def split_people(people: Iterable[str], left_out: Iterable[str] = ()) -> dict[Split, list[str]]:
    """Return the people of each split; those ``left_out`` are in the test split."""
    tested = set(left_out)
    sides: dict[Split, list[str]] = {side: [] for side in SPLITS}
    for person in sorted(set(people)):
        sides["test" if person in tested else split_of(person)].append(person)
    return sides


def split_by_letter(person: str) -> Split:
    """Return VoxCeleb1's split: A and B for validation, C to E for test, all others to train.

    The first letter of a name ``gallery/name`` is that of ``name``.
    """
    first = person.rpartition("/")[2][:1].upper()
    if first in ("A", "B"):
        return "validation"
    return "test" if first in ("C", "D", "E") else "train"


def read_split(path: Path) -> dict[str, Split]:
    """Read the split of each person from lines ``name split``.

    They are separated by blanks, a comma, semicolon or tab; the file may be gzip. Splits are train,
    val or validation, and test, or PINs' numbers 1, 2 and 4. A header line ``person,split`` may
    come first. A meta table of VoxCeleb is such a file too.

    Raises:
        BadRequest: A line is wrong, or a person is in two splits.
    """
    sides: dict[str, Split] = {}
    lines = read_lines(path)
    if is_table(lines):
        return {who.name: _part_of(who) for who in read_people([path], ("set",))}
    for at, line in lines:
        found = _LINE.fullmatch(line)
        name, side = (cleaned(found[1]), found[2].lower()) if found else ("", "")
        if at == 0 and side in ("split", "side", "set"):
            continue
        if side not in SIDES or not name:
            one_of = ", ".join(SIDES)
            lines.fault(
                at, f"{line.strip()!r} is not a name and a split; a split is one of {one_of}."
            )
        if sides.setdefault(name, SIDES[side]) != SIDES[side]:
            lines.fault(at, f"{name} is in the {sides[name]} split already; nobody may be in two.")
    return sides


def _part_of(person: VoxPerson) -> Split:
    """The split of a person of VoxCeleb2; a tenth of the others are for validation."""
    return "test" if person.part == "test" else split_of(person.name, test=0)


def split(data: DataSet, how: str = "hash") -> dict[Split, DataSet]:
    """Split a data set by person; the labels of each split are its people, from 0.

    Where fewer than half of the people of the smaller modality have both a face and a voice, all
    labels are genders instead.

    Raises:
        BadRequest: ``how`` is none of :data:`WAYS`, or the training or validation split lacks
            faces, voices or a second person.
    """
    names = sorted(data.names[number] for number in data.people.tolist())
    side_of = _way(how, names)
    sides: dict[Split, set[int]] = {side: set() for side in SPLITS}
    for number in data.people.tolist():
        sides[side_of(data.names[number])].add(number)
    labelled = labelled_by_person if _is_paired(data) else labelled_by_gender
    parts = {side: labelled(data.of_people(people)) for side, people in sides.items()}
    _require_people(parts, how)
    return parts


def require_disjoint(parts: dict[Split, DataSet]) -> None:
    """Raise BadRequest for a person in two splits."""
    sides: dict[str, Split] = {}
    for side, part in parts.items():
        for number in part.people.tolist():
            name = part.names[number]
            if sides.setdefault(name, side) != side:
                raise BadRequest(
                    f"{name} is in the {sides[name]} set and in the {side} set; "
                    "nobody may be in two."
                )


def _is_paired(data: DataSet) -> bool:
    smaller = min(len(set(side.people.tolist())) for side in (data.faces, data.voices))
    return 2 * len(data.paired) >= smaller


def _way(how: str, names: Sequence[str]) -> Callable[[str], Split]:
    kind, _, rest = how.partition(":")
    if kind == "letters" and not rest:
        return split_by_letter
    if kind == "hash":
        validation, test = _two(how, rest) if rest else (0.1, 0.1)
        return lambda name: split_of(name, validation=validation, test=test)
    if kind == "last" and rest:
        validation, test = _two(how, rest)
        return _last(names, round(validation), round(test)).__getitem__
    if not Path(how).is_file():
        raise BadRequest(f"{how!r} is neither a way to split people nor a file; use one of {WAYS}.")
    return _listed(Path(how), names).__getitem__


def _two(how: str, text: str) -> tuple[float, float]:
    try:
        validation, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadRequest(f"{how!r} is not a way to split people; use one of {WAYS}.") from error
    if validation < 0 or test < 0:
        raise BadRequest(f"{how!r} has a negative number; give numbers of 0 or more.")
    return validation, test


def _last(names: Sequence[str], validation: int, test: int) -> dict[str, Split]:
    first_test = len(names) - test
    return {
        name: "test"
        if at >= first_test
        else "validation"
        if at >= first_test - validation
        else "train"
        for at, name in enumerate(names)
    }


def _listed(path: Path, names: Sequence[str]) -> dict[str, Split]:
    """The splits of a file, which must name everybody in the data."""
    sides = read_split(path)
    absent = [name for name in names if name not in sides]
    if absent:
        raise BadRequest(
            f"{printable(path)} does not name {absent[0]} and {len(absent) - 1} others; add them, "
            "or remove them from the data."
        )
    return {name: sides[name] for name in names}


def _require_people(parts: dict[Split, DataSet], how: str) -> None:
    require_disjoint(parts)
    for side in ("train", "validation"):
        try:
            require_both(parts[side])
        except BadRequest as error:
            raise BadRequest(f"The {side} side of the split {how!r}: {error}") from error
