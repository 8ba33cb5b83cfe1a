"""Trial lists of the default model's figures, made from names of media by person.

Names are paths whose first folder is the person. The seed and the names alone decide what is drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.quality.held_out import Person
from indexer.runtime.atomic import replacing

Named = Mapping[str, Sequence[str]]  # names of media by person
Pair = tuple[str, str]
Media = TypeVar("Media")
Question = tuple[str, str, str]  # who asks, the right answer, the wrong one

QUESTIONS = 120  # that a person asks in 1:2 matching
_TABLE = "VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set"


def crossed(asking: Named, answering: Named) -> list[Pair]:
    """Return every probe with every answer, of the same and of other people."""
    asked = itertools.chain.from_iterable(asking.values())
    return list(itertools.product(asked, itertools.chain.from_iterable(answering.values())))


def as_many_of_two(media: Named, most: int, seed: int) -> list[Pair]:
    """Return pairs of one person, at most ``most`` of each, and as many pairs of two people.

    Each pair of one person is followed by a pair of its first item with another person, all equally
    likely.
    """
    rng, people = np.random.default_rng(seed), sorted(media)
    found: list[Pair] = []
    for who in people if len(people) > 1 else ():
        pairs = list(itertools.combinations(media[who], 2))
        others = [other for other in people if other != who]
        for at in sorted(rng.permutation(len(pairs))[:most].tolist()):
            stranger = media[others[int(rng.integers(len(others)))]]
            first = pairs[at][0]
            found += [pairs[at], (first, stranger[int(rng.integers(len(stranger)))])]
    return found


def one_of_two(asking: Named, answering: Named, seed: int) -> list[Question]:
    """Return 1:2 trials, equally many per person; all others are the wrong answer equally often.

    The items of a trial are drawn, so trials of a person with few items repeat.
    """
    rng, people = np.random.default_rng(seed), sorted(asking.keys() & answering.keys())
    return [
        (_drawn(asking[who], rng), _drawn(answering[who], rng), _drawn(answering[other], rng))
        for who in people
        for other in _in_turn([other for other in people if other != who])
    ]


def _in_turn(people: Sequence[str]) -> list[str]:
    return list(itertools.islice(itertools.cycle(people), QUESTIONS if people else 0))


def _drawn(names: Sequence[str], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]


def split_evenly(
    media: Mapping[str, Sequence[Media]], each: int, seed: int
) -> tuple[dict[str, list[Media]], dict[str, list[Media]]]:
    """Draw at most twice ``each`` items of every person; return one half for each side."""
    rng = np.random.default_rng(seed)
    sides: tuple[dict[str, list[Media]], dict[str, list[Media]]] = ({}, {})
    for who in sorted(media):
        kept = rng.permutation(len(media[who]))[: 2 * min(each, len(media[who]) // 2)].tolist()
        for side, places in zip(sides, (kept[::2], kept[1::2]), strict=True):
            side[who] = [media[who][at] for at in sorted(places)]
    return sides


def write_list(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """Write one line per trial; for retrieval two, the probes and the gallery."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text("".join(" ".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_people(path: Path, people: Sequence[Person]) -> Path:
    """Write the table of people that belongs to the lists."""
    rows = [(one.key, one.key, one.gender, one.nationality, one.gallery) for one in people]
    with replacing(path) as partial:
        partial.write_text(
            "".join("\t".join(row) + "\n" for row in (_TABLE, *rows)), encoding="utf-8"
        )
    return path
