"""Trials and features of vfal-eva, which are published as pickles.

A pickle from a stranger can run code, so nothing is looked up in it but what an array of numbers
is made of; everything else is refused before it is called.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import BadRequest, os_reason, printable
from indexer.types import Vectors
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
_SETS = {("builtins", "set"), ("__builtin__", "set")}  # of what a list names, before protocol 4


class _NumbersOnly(pickle.Unpickler):
    """Reads numbers, texts, lists, sets, dicts and arrays; looks up nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The few functions that arrays and sets are made with."""
        if (module, name) not in _ARRAYS | _SETS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read_pickle(path: Path) -> Any:
    """The content of a pickle of plain values and arrays.

    Raises BadRequest for one that asks for anything else, is cut short, or is no pickle.
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


def read_features(path: Path) -> tuple[list[str], Vectors]:
    """``face_input.pkl`` or ``voice_input.pkl``: paths and their vectors (n, d) as float32.

    Raises BadRequest for anything but a table of vectors of one length.
    """
    found = read_pickle(path)
    try:
        with np.errstate(over="ignore"):
            rows = [np.asarray(value, np.float32).ravel() for value in found.values()]
        vectors = np.stack(rows)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise BadRequest(
            f"{printable(path)} is no table of paths and vectors of one length."
        ) from error
    return [str(key) for key in found], vectors


def read_trials(path: Path, people: People | None = None) -> list[Trials]:
    """The lists of one file, by what it calls them.

    ``list`` holds labelled pairs. ``match_list`` holds two people with a voice and a face each,
    or the voices and the faces of N, and gives trials in each direction, for the first of them.
    ``retrieval_lists`` holds groups of a voice, a face and whose they are, of which each gives a
    retrieval in each direction. Whose a path is, where it is not said, is its first folder, by
    either name that ``people`` know. Raises BadRequest for a file that has none of these.
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
    """Voices and faces of a row, each with whose they are; the names are empty if not said."""
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
    """A register that knows whose a path is by its first folder, where that is not said."""

    def __init__(self, people: People) -> None:
        self._register, self._people = Register(), people

    def add(self, path: Any, person: str = "") -> int:
        """The position of an item; ValueError for one that is neither picture nor sound."""
        modality = modality_of(str(path))
        if modality is None:
            raise ValueError(f"{path!r} is neither a picture nor a sound")
        whose = self._people.name(person or str(path).split("/", 1)[0])
        return self._register.add(str(path), modality, whose)

    def items(self) -> Items:
        """Everything named so far."""
        return self._register.items()
