"""Whom the media of a folder are about: of several people in a file, the one of its folder.

A file in which several people are seen or heard is *contested*. It is decided last: the person who
agrees with what other files of the folder show is taken, and the rest is left out. Files that show
one person are never questioned. What a decision rests on is written into the settings of the
file's record, so that a later run sees whether it still holds.
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
    "face": ("faces", "picture", "the largest"),
    "voice": ("voices", "recording", "the one heard longest"),
}


class Matcher(Protocol):
    """Tells people apart by their items; knows the model that made the vectors."""

    @property
    def settings(self) -> str:
        """How people are told apart; a change has every contested file decided again."""

    def separate(self, path: Path, items: Sequence[NewItem]) -> Sequence[Sequence[NewItem]]:
        """Return the items of a file, of one modality, by the people in it, the largest first."""

    def ratios(self, some: People, others: People) -> Ratios:
        """Return log-likelihood ratios (n, m): above 0 two are rather one person than two."""


@dataclasses.dataclass(frozen=True, slots=True)
class Contest:
    """Several people in one file, of whom one is meant, by their items of one modality."""

    person: str  # whom the file is of
    modality: Modality
    people: People  # the largest first


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided of a contest; nothing is taken where nobody agrees with the folder."""

    taken: tuple[NewItem, ...]
    left_out: tuple[NewItem, ...]
    sentence: str  # a note where something is left out, the reason where nothing is taken


def decide(
    matcher: Matcher, contests: Sequence[Contest], reference: Sequence[NewItem]
) -> list[Verdict]:
    """Decide the contests of one person and modality, in an order that does not matter.

    ``reference`` are the person's items of files that nobody contests. Without any, whoever
    appears in most of the contested files is meant; where nobody appears twice, the largest.
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
    """Take who agrees with what is known: the best, and who agrees too and may be the same."""
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
    """Return whether two people are seen at the same moment, so that they are surely two."""
    return not {item.start_s for item in one}.isdisjoint(item.start_s for item in other)


def _most_frequent(
    matcher: Matcher, contests: Sequence[Contest]
) -> dict[int, Sequence[NewItem]] | None:
    """Return the items of who appears in most contests, by contest; None if nobody appears twice.

    Of several who appear as often it is who agrees best, then who is the largest.
    """
    order = sorted(range(len(contests)), key=lambda at: _content_of(contests[at]))
    places = [(at, rank) for at in order for rank in range(len(contests[at].people))][:_MOST]
    people = [contests[at].people[rank] for at, rank in places]
    files, ranks = np.array(places).T
    ratios = matcher.ratios(people, people)
    ratios[files[:, None] == files[None]] = -np.inf  # two in one file are two people
    firsts = np.flatnonzero(np.diff(files, prepend=-1))
    met = np.maximum.reduceat(ratios, firsts, axis=1) > 0  # in which files each person is
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
    elif not others:  # in several groups, all of them the person
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
    """Return a number for all that decides the contested files of a person.

    ``files`` are all files of the person; by their bytes, so that their names do not matter.
    """
    parts = sorted(
        repr((record.sha256 or str(record.path), sorted(_parts(record, person))))
        for record in files
        if record.reason is None or record.basis is not None
    )
    content = "\n".join([matcher.settings, *parts])
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _parts(record: FileRecord, person: str) -> list[str]:
    return [repr(rest) for who, *rest in record.asked if who == person]


def _content(item: NewItem) -> bytes:
    """What sums are ordered by, so that they do not depend on the order of files."""
    return item.vector.tobytes()


def _content_of(contest: Contest) -> list[bytes]:
    return [_content(item) for person in contest.people for item in person]
