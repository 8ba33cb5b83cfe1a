"""Leakage: people and files that a test shares with the training, and probes with answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from indexer.errors import printable
from indexer.ingest.read_file import file_sha256
from indexer.types import Media
from trainer.protocols.trials import Ints, Items, Matching, Protocol, Retrieval, Verification


@dataclasses.dataclass(frozen=True, slots=True)
class Copies:
    """Pairs of a probe file and an answer file with the same bytes.

    ``of_two_people`` counts the pairs that are labelled as two people; ``example`` is the first.
    """

    pairs: int = 0
    of_two_people: int = 0
    example: tuple[str, str] | None = None


def shared_people(trained_on: Sequence[str], items: Items) -> list[str]:
    """Return the names of people who are both in a protocol and in a training split."""
    return sorted(set(trained_on) & set(items.names))


def own_recordings(protocol: Protocol) -> int:
    """Return the number of right answers from the probe's own recording; 0 for a retrieval."""
    return 0 if isinstance(protocol, Retrieval) else int(protocol.own_recording().sum())


class Contents:
    """Finds files with the same bytes; a file is read only where another has its size."""

    def __init__(self, media: Mapping[str, Media]) -> None:
        self._paths = {name: each.path for name, each in media.items()}
        self._numbers = _numbered(set(self._paths.values()))

    def copies(self, protocol: Protocol) -> Copies:
        """Return the copies that are on both sides of a protocol."""
        probes, answers = (self._files(protocol.items, side) for side in _sides(protocol))
        found = [
            (probe, answer)
            for content in sorted(probes.keys() & answers.keys())
            for probe in sorted(probes[content])
            for answer in sorted(answers[content])
            if probe[0] != answer[0]
        ]
        if not found:
            return Copies()
        two = sum(one != other for (_, one), (_, other) in found)
        (probe, _), (answer, _) = found[0]
        return Copies(len(found), two, (printable(probe), printable(answer)))

    def _files(self, items: Items, places: Ints) -> dict[int, set[tuple[Path, str]]]:
        """Files and their people, by the number of their content."""
        found: dict[int, set[tuple[Path, str]]] = {}
        for place in places.tolist():
            path = self._paths.get(items.paths[place])
            if path in self._numbers:
                own = path, items.names[items.people[place]]
                found.setdefault(self._numbers[path], set()).add(own)
        return found


def _numbered(paths: Iterable[Path]) -> dict[Path, int]:
    """Number the contents of the files that have a copy."""
    sized: dict[int, list[Path]] = {}
    for path in sorted(paths):
        if path.is_file():
            sized.setdefault(path.stat().st_size, []).append(path)
    hashed: dict[str, list[Path]] = {}
    for alike in sized.values():
        for path in alike if len(alike) > 1 else ():
            hashed.setdefault(file_sha256(path), []).append(path)
    copied = [paths for paths in hashed.values() if len(paths) > 1]
    return {path: number for number, paths in enumerate(copied) for path in paths}


def _sides(protocol: Protocol) -> tuple[Ints, Ints]:
    """The probes and the answers, each item once."""
    if isinstance(protocol, Verification):
        sides = protocol.first, protocol.second
    elif isinstance(protocol, Matching):
        sides = protocol.probes, protocol.candidates
    else:
        sides = protocol.queries, protocol.gallery
    return np.unique(sides[0]), np.unique(sides[1])
