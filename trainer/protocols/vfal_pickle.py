"""Trials of vfal-eva, which are published as pickles.

A pickle from a stranger can run code, so only the constructors of number arrays are allowed;
everything else is rejected before it is called.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import BadRequest, os_reason, printable
from trainer.protocols.trials import (
    Items,
    Matching,
    Register,
    Retrieval,
    Verification,
    modality_of,
)
from trainer.protocols.trials import Protocol as Trials
from trainer.protocols.voxceleb_people import People

_ARRAYS = {
    (module, name)
    for module in ("numpy.core", "numpy._core")
    for module, name in (
        (f"{module}.multiarray", "_reconstruct"),
        (f"{module}.multiarray", "scalar"),
        (f"{module}.numeric", "_frombuffer"),
    )
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
_SETS = {("builtins", "set"), ("__builtin__", "set")}  # sets of pickle protocols before 4


class _NumbersOnly(pickle.Unpickler):
    """An unpickler of numbers, strings, lists, sets, dicts and arrays only."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a constructor of arrays or sets; reject others."""
        if (module, name) not in _ARRAYS | _SETS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read_pickle(path: Path) -> Any:
    """Return the content of a pickle of plain values and arrays.

    Raises:
        BadRequest: The file needs anything else, is cut short, or is no pickle.
    """
    try:
        return _NumbersOnly(io.BytesIO(path.read_bytes())).load()
    except OSError as error:
        raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise BadRequest(
            f"{printable(path)} is no pickle of plain lists and numbers ({error}); it was not "
            "opened further, because a pickle can run code."
        ) from error


def read_trials(path: Path, people: People | None = None) -> list[Trials]:
    """Return the protocols of the lists in a file.

    ``list`` holds labelled pairs. ``match_list`` holds the voices and faces of two or more people,
    and gives matching trials in both directions for the first of them. ``retrieval_lists`` holds
    groups of a voice, a face and their person, and gives retrievals in both directions. Other
    paths belong to the person of their first folder, by either name in ``people``.

    Raises:
        BadRequest: The file has none of these lists.
    """
    found = read_pickle(path)
    if not isinstance(found, Mapping) or not _READERS.keys() & found.keys():
        raise BadRequest(f"{printable(path)} holds none of {', '.join(_READERS)}.")
    try:
        return [
            trials
            for kind, read in _READERS.items()
            if kind in found
            for trials in read(path.stem, found[kind], people or People())
        ]
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise BadRequest(
            f"{printable(path)}: {error or 'a trial is not as it should be'}."
        ) from error


def _pairs(name: str, rows: Sequence[Sequence[Any]], people: People) -> Iterator[Trials]:
    register = _Named(people)
    voices, faces, labels = zip(*rows, strict=True)
    first = [register.add(each) for each in voices]
    second = [register.add(each) for each in faces]
    same = np.array([int(label) for label in labels]) == 1
    yield Verification(name, register.items(), np.array(first), np.array(second), same)


def _matchings(name: str, rows: Sequence[Sequence[Any]], people: People) -> Iterator[Trials]:
    register = _Named(people)
    sides = [_sides(row) for row in rows]
    voices, faces = (
        np.array([[register.add(*media) for media in side[modality]] for side in sides], np.int64)
        for modality in (0, 1)
    )  # (n, k) each, of the same people in the same columns
    items, truth = register.items(), np.zeros(len(rows), np.int64)
    yield Matching(f"{name} V-F", items, voices[:, 0], faces, truth)
    yield Matching(f"{name} F-V", items, faces[:, 0], voices, truth)


def _sides(row: Sequence[Any]) -> tuple[list[tuple[Any, str]], list[tuple[Any, str]]]:
    """The voices and faces of a row, each with its person, or an empty name."""
    if len(row) == 2:
        voices, faces = row
        return [(voice, "") for voice in voices], [(face, "") for face in faces]
    one, voice, face, other, other_voice, other_face = row
    return (
        [(voice, str(one)), (other_voice, str(other))],
        [(face, str(one)), (other_face, str(other))],
    )


def _retrievals(name: str, groups: Sequence[Any], people: People) -> Iterator[Trials]:
    for number, rows in enumerate(groups, 1):
        register = _Named(people)
        places = [[register.add(row[at], str(row[2])) for row in rows] for at in (0, 1)]
        voices, faces = (np.unique(np.array(side, np.int64)) for side in places)
        items = register.items()
        yield Retrieval(f"{name} V-F {number}", items, voices, faces)
        yield Retrieval(f"{name} F-V {number}", items, faces, voices)


_READERS = {"list": _pairs, "match_list": _matchings, "retrieval_lists": _retrievals}


class _Named:
    """A register that takes the first folder of a path as the person by default."""

    def __init__(self, people: People) -> None:
        self._register, self._people = Register(), people

    def add(self, path: Any, person: str = "") -> int:
        """Add an item and return its position; raise ValueError for other kinds of files."""
        modality = modality_of(str(path))
        if modality is None:
            raise ValueError(f"{path!r} is neither an image nor audio")
        name = self._people.name(person or str(path).split("/", 1)[0])
        return self._register.add(str(path), modality, name)

    def items(self) -> Items:
        """Return all items so far."""
        return self._register.items()
