"""Splits by person: nobody stands on two sides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, Split, Split] = ("train", "validation", "test")


def split_of(person: str, *, validation: float = 0.1, test: float = 0.1) -> Split:
    """The side of a person, decided by a hash of the name alone.

    It does not change when people are added, nor with the order they are read in. The shares
    are of the people, 0 to 1.
    """
    place = int.from_bytes(hashlib.sha256(person.encode()).digest()[:8]) / 2**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def split_people(people: Iterable[str], left_out: Iterable[str] = ()) -> dict[Split, list[str]]:
    """Every person on one side; those ``left_out`` are on the test side."""
    tested = set(left_out)
    sides: dict[Split, list[str]] = {side: [] for side in SPLITS}
    for person in sorted(set(people)):
        sides["test" if person in tested else split_of(person)].append(person)
    return sides
