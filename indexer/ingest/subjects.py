"""The choice of one person in a file that shows several.

A file in which several people are seen or heard is *contested*. It is decided last: the person who
agrees with the other files of the folder is taken, and the rest is left out. Files that show one
person are never questioned. A hash of everything a decision depends on, its *basis*, is stored in
the settings of the file's record, so that a later run sees whether the decision still holds.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.records import FileRecord, NewItem
from indexer.types import Modality

People = Sequence[Sequence[NewItem]]  # the items of each of several people
Ratios = NDArray[np.float64]

_MOST: Final = 2000  # people in contested files that are compared with each other, of one folder
_NOUNS: Final[dict[Modality, tuple[str, str, str]]] = {
    "face": ("faces", "image", "the largest"),
    "voice": ("voices", "recording", "the one heard longest"),
}


class Matcher(Protocol):
    """Tells people apart by their items; knows the model that made the vectors."""

    @property
    def settings(self) -> str:
        """The settings of the matcher; after a change every contested file is decided again."""

    def separate(self, path: Path, items: Sequence[NewItem]) -> Sequence[Sequence[NewItem]]:
        """Return the items of a file, of one modality, by the people in it, the largest first."""

    def ratios(self, some: People, others: People) -> Ratios:
        """Return log-likelihood ratios (n, m); above 0, one person is likelier than two."""


@dataclasses.dataclass(frozen=True, slots=True)
class Contest:
    """Several people in one file, by their items of one modality."""

    person: str  # of the folder
    modality: Modality
    people: People  # the largest first


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The decision of a contest; nothing is taken if no one agrees with the folder."""

    taken: tuple[NewItem, ...]
    left_out: tuple[NewItem, ...]
    sentence: str  # a note, or the reason if nothing is taken


def decide(
    matcher: Matcher, contests: Sequence[Contest], reference: Sequence[NewItem]
) -> list[Verdict]:
    """Decide the contests of one person and modality; their order does not matter.

    Args:
        matcher: tells people apart.
        contests: the contested files.
        reference: the person's items from uncontested files. Without any, the person who appears
            in most contested files is taken; if no one appears twice, the largest.

    Returns:
        A verdict for each contest.
    """
    if reference:
        known = [sorted(reference, key=_content)]
        return [_by_agreement(matcher, contest, known[0]) for contest in contests]
    appearing = _most_frequent(matcher, contests)
    if appearing is None:
        return [_verdict(contest, [0], "size") for contest in contests]
    verdicts = []
    for number, contest in enumerate(contests):
        elsewhere = [item for at, one in appearing.items() if at != number for item in one]
        verdicts.append(_by_agreement(matcher, contest, sorted(elsewhere, key=_content)))
    return verdicts


def _by_agreement(matcher: Matcher, contest: Contest, known: Sequence[NewItem]) -> Verdict:
    """Take the person who agrees best with known items, and those who agree too and may be them."""
    ratios = matcher.ratios(contest.people, [known])[:, 0]
    best = int(np.argmax(ratios))
    if ratios[best] <= 0:
        return _verdict(contest, [], "agreement")
    same = [
        at
        for at in np.flatnonzero(ratios > 0).tolist()
        if at == best or not _at_once(contest.people[at], contest.people[best])
    ]
    return _verdict(contest, same, "agreement")


def _at_once(one: Sequence[NewItem], other: Sequence[NewItem]) -> bool:
    """Return whether two people appear at the same moment, so that they must be different."""
    return not {item.start_s for item in one}.isdisjoint(item.start_s for item in other)


def _most_frequent(
    matcher: Matcher, contests: Sequence[Contest]
) -> dict[int, Sequence[NewItem]] | None:
    """Return the items of the most frequent person by contest; None if no one appears twice.

    Ties go to the person who agrees best, then to the largest.
    """
    order = sorted(range(len(contests)), key=lambda at: _content_of(contests[at]))
    places = [(at, rank) for at in order for rank in range(len(contests[at].people))][:_MOST]
    people = [contests[at].people[rank] for at, rank in places]
    files, ranks = np.array(places).T
    ratios = matcher.ratios(people, people)
    ratios[files[:, None] == files[None]] = -np.inf  # different people in one file
    firsts = np.flatnonzero(np.diff(files, prepend=-1))
    met = np.maximum.reduceat(ratios, firsts, axis=1) > 0  # files in which each person appears
    if not met.any():
        return None
    found: list[tuple[float, int, dict[int, int]]] = []
    for row in np.flatnonzero(met.sum(1) == met.sum(1).max()).tolist():
        there = [np.flatnonzero(files == files[first]) for first in firsts[met[row]].tolist()]
        others = [int(columns[np.argmax(ratios[row, columns])]) for columns in there]
        rank = int(ranks[[row, *others]].sum())
        chosen = {int(files[column]): column for column in (row, *others)}
        found.append((float(ratios[row, others].sum()), rank, chosen))
    _, _, appearing = min(found, key=lambda each: (-each[0], each[1]))
    return {at: people[column] for at, column in appearing.items()}


def _verdict(contest: Contest, taken: Sequence[int], by: Literal["agreement", "size"]) -> Verdict:
    nouns, medium, largest = _NOUNS[contest.modality]
    count, others = len(contest.people), len(contest.people) - len(taken)
    left_out = f"{others} {'was' if others == 1 else 'were'} left out."
    agreeing = "the one that agrees" if len(taken) == 1 else f"the {len(taken)} that agree"
    were = "was" if len(taken) == 1 else "were"
    if not taken:
        sentence = (
            f"{count} {nouns}, and none of them agrees with the person's other {medium}s; check "
            "whose folder it is in."
        )
    elif not others:  # several groups, all of the same person
        sentence = ""
    elif by == "size":
        sentence = (
            f"{count} {nouns}, and no other {medium} of the person tells them apart; {largest} was "
            f"taken, {left_out}"
        )
    else:
        agreeing = f"{agreeing} with the person's other {medium}s {were} taken"
        sentence = f"{count} {nouns}; {agreeing}, {left_out}"
    rest = [at for at in range(count) if at not in taken]
    return Verdict(_items(contest.people, taken), _items(contest.people, rest), sentence)


def _items(people: People, numbers: Iterable[int]) -> tuple[NewItem, ...]:
    return tuple(item for number in numbers for item in people[number])


def basis(matcher: Matcher, person: str, files: Iterable[FileRecord]) -> str:
    """Return a hash of everything that decides the contested files of a person.

    ``files`` are all files of the person. They count by their bytes, so that names do not matter.
    """
    parts = sorted(
        repr((record.sha256 or str(record.path), sorted(_sources(record, person))))
        for record in files
        if record.reason is None or record.basis is not None
    )
    content = "\n".join([matcher.settings, *parts])
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _sources(record: FileRecord, person: str) -> list[str]:
    return [repr(rest) for who, *rest in record.source_keys if who == person]


def _content(item: NewItem) -> bytes:
    """Return a sort key for items, so that sums do not depend on the order of files."""
    return item.vector.tobytes()


def _content_of(contest: Contest) -> list[bytes]:
    return [_content(item) for person in contest.people for item in person]
