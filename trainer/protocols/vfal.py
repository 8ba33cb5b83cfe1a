"""Trials and features of vfal-eva, which are published as pickles.

A pickle from a stranger can run code, so nothing is looked up in it but what an array of numbers
is made of; everything else is refused before it is called.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import BadRequest, printable
from indexer.types import Vectors
from trainer.protocols.trials import Matching, Register, Verification, modality_of

_ARRAYS = {
    (module, name)
    for module in ("numpy.core", "numpy._core")
    for module, name in (
        (f"{module}.multiarray", "_reconstruct"),
        (f"{module}.multiarray", "scalar"),
        (f"{module}.numeric", "_frombuffer"),
    )
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class _NumbersOnly(pickle.Unpickler):
    """Reads numbers, texts, lists, dicts and arrays; looks up nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The few functions that arrays are made with."""
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read_pickle(path: Path) -> Any:
    """The content of a pickle of plain values and arrays.

    Raises BadRequest for one that asks for anything else, is cut short, or is no pickle.
    """
    try:
        return _NumbersOnly(io.BytesIO(path.read_bytes())).load()
    except OSError as error:
        raise BadRequest(f"{printable(path)} cannot be read ({error.strerror}).") from error
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
        vectors = np.stack([np.asarray(value, np.float32).ravel() for value in found.values()])
    except (AttributeError, TypeError, ValueError) as error:
        raise BadRequest(
            f"{printable(path)} is no table of paths and vectors of one length."
        ) from error
    return [str(key) for key in found], vectors


def read_trials(path: Path) -> list[Verification | Matching]:
    """The lists of one file: ``list`` of labelled pairs, ``match_list`` of two pairs each.

    A pair of ``match_list`` gives a trial in each direction. Raises BadRequest for what is
    neither.
    """
    found = read_pickle(path)
    if not isinstance(found, Mapping) or not {"list", "match_list"} & found.keys():
        raise BadRequest(f"{printable(path)} holds neither a list nor a match_list of trials.")
    try:
        trials: list[Verification | Matching] = []
        if "list" in found:
            trials.append(_pairs(path.stem, found["list"]))
        if "match_list" in found:
            trials += _matchings(path.stem, found["match_list"])
    except (TypeError, ValueError, IndexError) as error:
        raise BadRequest(
            f"{printable(path)}: {error or 'a trial is not as it should be'}."
        ) from error
    return trials


def _pairs(name: str, rows: Sequence[Sequence[Any]]) -> Verification:
    register = Register()
    voices, faces, labels = zip(*rows, strict=True)
    first = [_add(register, each) for each in voices]
    second = [_add(register, each) for each in faces]
    same = np.array([int(label) for label in labels]) == 1
    return Verification(name, register.items(), np.array(first), np.array(second), same)


def _matchings(name: str, rows: Sequence[Sequence[Any]]) -> list[Matching]:
    register = Register()
    places = np.array(
        [
            [_add(register, media, str(row[at])) for at in (0, 3) for media in row[at + 1 : at + 3]]
            for row in rows
        ],
        np.int64,
    )  # (n, 4): voice and face of the first person, voice and face of the second
    items, truth = register.items(), np.zeros(len(places), np.int64)
    return [
        Matching(f"{name} V-F", items, places[:, 0], places[:, [1, 3]], truth),
        Matching(f"{name} F-V", items, places[:, 1], places[:, [0, 2]], truth),
    ]


def _add(register: Register, path: Any, person: str = "") -> int:
    modality = modality_of(str(path))
    if modality is None:
        raise ValueError(f"{path!r} is neither a picture nor a sound")
    return register.add(str(path), modality, person or str(path).split("/", 1)[0])
