"""What a test shares with the model's training, and its questions with its answers."""

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
    """A file that asks and another that answers, with the same bytes.

    ``pairs`` counts such, ``of_two_people`` those that are called two people's, and ``example``
    is the first.
    """

    pairs: int = 0
    of_two_people: int = 0
    example: tuple[str, str] | None = None


def shared_people(trained_on: Sequence[str], items: Items) -> list[str]:
    """People whom a protocol asks about and whom a model was trained or chosen on, by name."""
    return sorted(set(trained_on) & set(items.names))


def own_recordings(protocol: Protocol) -> int:
    """How many right answers were cut from the asker's own recording; of a retrieval, not asked."""
    return 0 if isinstance(protocol, Retrieval) else int(protocol.own_recording().sum())


class Contents:
    """Which files hold the same bytes; a file is read only where another has its size."""

    def __init__(self, media: Mapping[str, Media]) -> None:
        self._paths = {name: each.path for name, each in media.items()}
        self._numbers = _numbered(set(self._paths.values()))

    def copies(self, protocol: Protocol) -> Copies:
        """The copies that stand on both sides of a protocol."""
        questions, answers = _sides(protocol)
        asked, shown = (self._files(protocol.items, side) for side in (questions, answers))
        found = [
            (question, answer)
            for content in sorted(asked.keys() & shown.keys())
            for question in sorted(asked[content])
            for answer in sorted(shown[content])
            if question[0] != answer[0]
        ]
        if not found:
            return Copies()
        two = sum(asked_of != shown_of for (_, asked_of), (_, shown_of) in found)
        (question, _), (answer, _) = found[0]
        return Copies(len(found), two, (printable(question), printable(answer)))

    def _files(self, items: Items, places: Ints) -> dict[int, set[tuple[Path, str]]]:
        """Files, and whose they are, by the number of their content."""
        found: dict[int, set[tuple[Path, str]]] = {}
        for place in places.tolist():
            path = self._paths.get(items.paths[place])
            if path in self._numbers:
                own = path, items.names[items.people[place]]
                found.setdefault(self._numbers[path], set()).add(own)
        return found


def _numbered(paths: Iterable[Path]) -> dict[Path, int]:
    """A number for the content of each file that has a copy."""
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
    """Items that ask and items that answer, each once."""
    if isinstance(protocol, Verification):
        sides = protocol.first, protocol.second
    elif isinstance(protocol, Matching):
        sides = protocol.probes, protocol.candidates
    else:
        sides = protocol.queries, protocol.gallery
    return np.unique(sides[0]), np.unique(sides[1])
