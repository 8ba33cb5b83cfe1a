"""A model's settings from words, as the command line has them."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

from indexer.errors import BadRequest

_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# What the data decides.
DECIDED = ("classes", "face_features", "voice_features")


def make_settings(kind: Any, words: Mapping[str, str], *, small: bool) -> Any:
    """Settings of this dataclass, the small ones if asked, with values as words by name.

    Raises BadRequest for a name that the model does not have, and for a word that is no value
    of its type.
    """
    types = typing.get_type_hints(kind)
    changes = {name: _value(kind, types, name, word) for name, word in words.items()}
    start = kind.small() if small else kind()
    try:
        return dataclasses.replace(start, **changes)
    except ValueError as error:  # settings that do not go together
        raise BadRequest(f"--set: {error}") from error


def _value(kind: Any, types: Mapping[str, Any], name: str, word: str) -> Any:
    known = [f.name for f in dataclasses.fields(kind) if f.name not in DECIDED]
    if name in DECIDED:
        raise BadRequest(f"--set {name}: the data decides it; leave it out.")
    if name not in known:
        raise BadRequest(f"--set {name}: there is no such setting; there are {', '.join(known)}.")
    try:
        return parse(types[name], word)
    except ValueError as error:
        raise BadRequest(f"--set {name}={word}: {error}") from error


def parse(kind: Any, word: str) -> Any:
    """A word as a value of a type: a number, a truth, a text, one of some words, or a tuple.

    Raises ValueError, saying what it should be.
    """
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(parse(inner, part) for part in word.split(",") if part)
    if typing.get_origin(kind) is typing.Literal:
        return _one_of(word, {str(choice): choice for choice in typing.get_args(kind)})
    if kind is bool:
        return _one_of(word.lower(), _TRUTHS)
    if kind is str:
        return word
    return _number(kind, word)


def _one_of(word: str, choices: Mapping[str, Any]) -> Any:
    if word not in choices:
        raise ValueError(f"it is one of {', '.join(choices)}.")
    return choices[word]


def _number(kind: Any, word: str) -> float | int:
    try:
        value = int(word) if kind is int else float(word)
    except ValueError as error:
        raise ValueError("it is a whole number." if kind is int else "it is a number.") from error
    if not math.isfinite(value):
        raise ValueError("it is a finite number.")
    return value
