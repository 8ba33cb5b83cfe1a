"""Published trial lists in text, read as they were published.

========================  ==========================================================
CMPC, DSANet and others   ``probe candidate ...`` matching; the right one first, or a
                          last column with its number from 0
CMPC veriflist            ``id,voice-speaker-id,face-speaker-id,label,voice-path,face-path``
Wen ``verify_*``          ``probe other`` without a label: it follows from the people
Wen ``reterival_*``       two lines, the probes and the gallery
CMPC ``wav_20k, jpg_20k`` one table a modality; each file is read with its partner
========================  ==========================================================

A person is the first folder of a path, and VoxCeleb1 ids and names are brought together by the
tables of :mod:`trainer.protocols.people`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from indexer.errors import BadRequest, printable
from trainer.protocols.lines import fault, read_lines
from trainer.protocols.people import People
from trainer.protocols.trials import (
    Matching,
    Protocol,
    Register,
    Retrieval,
    Verification,
    modality_of,
)

Lines = Sequence[tuple[int, str]]

_VERIFICATION = "id,voice-speaker-id,face-speaker-id,label,voice-path,face-path"
_ID_FIRST = "VoxCeleb1 ID\t"
_PARTNERS = {"jpg_20k": "wav_20k", "wav_20k": "jpg_20k"}


def read_list(path: Path, people: People) -> Protocol:
    """A published list, its format told by its content.

    Raises BadRequest, with file and line, for what is none of the formats or not as it should be.
    """
    lines = list(read_lines(path))
    if not lines:
        raise BadRequest(f"{printable(path)} is empty; take it anew from where it was published.")
    first = lines[0][1]
    if first.strip() == _VERIFICATION:
        return _Reader(path, people).labelled_pairs(lines)
    if first.startswith(_ID_FIRST):
        return _Reader(path, people).tables(lines)
    if len(lines) == 2 and _of_one_modality(first):
        return _Reader(path, people).retrieval(lines)
    if len(first.split()) == 2:
        return _Reader(path, people).pairs(lines)
    return _Reader(path, people).matching(lines)


class _Reader:
    """Reads one list; keeps the file's name for what it has to say of a line."""

    def __init__(self, path: Path, people: People) -> None:
        self._path, self._people = path, people
        self._register = Register()
        self._name = path.name.removesuffix(".gz").rsplit(".", 1)[0]

    def labelled_pairs(self, lines: Lines) -> Verification:
        """CMPC's verification lists; a label that contradicts the paths is a fault."""
        first, second, same = [], [], []
        for number, line in lines[1:]:
            row = self._columns(number, line.split(","), 6)
            label = self._number(number, row[3], 2)
            voice, face = (self._item(number, path) for path in row[4:])
            if (_person(row[4]) == _person(row[5])) != bool(label):
                fault(self._path, number, f"label {label} contradicts the people of its paths.")
            first.append(voice)
            second.append(face)
            same.append(bool(label))
        return self._verification(first, second, same)

    def pairs(self, lines: Lines) -> Verification:
        """Wen's verification lists; whether two are the same follows from their people."""
        first, second = [], []
        for number, line in lines:
            probe, other = self._columns(number, line.split(), 2)
            first.append(self._known(number, probe))
            second.append(self._known(number, other))
        who = self._register.items().people
        same = who[np.array(first)] == who[np.array(second)]
        return self._verification(first, second, same.tolist())

    def matching(self, lines: Lines) -> Matching:
        """A probe and its candidates; the right one first unless a last column numbers it."""
        head = lines[0][1].split()
        labelled = head[-1].isdigit()
        probes, candidates, truth = [], [], []
        for number, line in lines:
            row = self._columns(number, line.split(), len(head))
            last = len(row) - labelled
            probes.append(self._item(number, row[0]))
            candidates.append([self._item(number, path) for path in row[1:last]])
            truth.append(self._number(number, row[-1], last - 1) if labelled else 0)
        found = Matching(
            self._name,
            self._register.items(),
            np.array(probes, np.int64),
            np.array(candidates, np.int64),
            np.array(truth, np.int64),
        )
        self._check_truth(lines, found)
        return found

    def retrieval(self, lines: Lines) -> Retrieval:
        """Wen's retrieval lists: the first line asks, the second answers."""
        queries, gallery = (
            np.array([self._known(number, path) for path in line.split()], np.int64)
            for number, line in lines
        )
        return Retrieval(self._name, self._register.items(), queries, gallery)

    def tables(self, lines: Lines) -> Retrieval:
        """CMPC's retrieval tables; this one asks and its partner beside it answers."""
        queries = list(self._table(self._path, lines))
        partner = self._partner()
        gallery = list(self._table(partner, list(read_lines(partner))))
        return Retrieval(
            self._name,
            self._register.items(),
            np.array(queries, np.int64),
            np.array(gallery, np.int64),
        )

    def _table(self, path: Path, lines: Lines) -> Iterator[int]:
        for number, line in lines[1:]:
            row = line.split("\t")
            if len(row) != 2:
                fault(path, number, f"2 columns are expected, {len(row)} are there.")
            yield self._add(path, number, row[1].strip(), self._people.name(row[0].strip()))

    def _partner(self) -> Path:
        if self._name not in _PARTNERS:
            raise BadRequest(
                f"{printable(self._path)}: of a retrieval's two tables, wav_20k and jpg_20k, this "
                "has the name of neither; name it as it was published."
            )
        name = self._path.name.replace(self._name, _PARTNERS[self._name])
        partner = self._path.with_name(name)
        if not partner.exists():
            raise BadRequest(f"{printable(self._path)} asks, and {name}, which answers, is absent.")
        return partner

    def _verification(self, first: list[int], second: list[int], same: list[bool]) -> Verification:
        return Verification(
            self._name,
            self._register.items(),
            np.array(first, np.int64),
            np.array(second, np.int64),
            np.array(same, bool),
        )

    def _check_truth(self, lines: Lines, found: Matching) -> None:
        """Of the candidates of a line exactly the right one is of the probe's person."""
        same = found.items.same_person(found.probes[:, None], found.candidates)
        expected = np.arange(same.shape[1])[None] == found.truth[:, None]
        wrong = np.flatnonzero((same != expected).any(1))
        if len(wrong):
            fault(
                self._path,
                lines[wrong[0]][0],
                "the candidate it calls right must be the only one of the probe's person.",
            )

    def _columns(self, number: int, row: list[str], count: int) -> list[str]:
        if len(row) != count:
            fault(self._path, number, f"{count} columns are expected, {len(row)} are there.")
        return row

    def _number(self, number: int, text: str, below: int) -> int:
        if not text.isdigit() or int(text) >= below:
            fault(self._path, number, f"{text!r} is no number from 0 to {below - 1}.")
        return int(text)

    def _item(self, number: int, path: str) -> int:
        known = self._register.place(path)
        if known is not None:
            return known
        return self._add(self._path, number, path, self._people.name(_person(path)))

    def _known(self, number: int, path: str) -> int:
        """An item of somebody whose person a label depends on."""
        if self._register.place(path) is None and self._people.get(_person(path)) is None:
            fault(
                self._path,
                number,
                f"{_person(path)!r} is in no table of people; give the list's split tables, "
                "because its labels follow from them.",
            )
        return self._item(number, path)

    def _add(self, path: Path, number: int, name: str, person: str) -> int:
        modality = modality_of(name)
        if modality is None:
            fault(path, number, f"{name!r} is neither a picture nor a sound.")
        return self._register.add(name, modality, person, _video(name))


def _of_one_modality(line: str) -> bool:
    """Whether a line begins with several items of one modality, as no line of trials does."""
    start = [modality_of(path) for path in line.split()[:2]]
    return len(start) == 2 and start[0] == start[1] is not None


def _person(path: str) -> str:
    return path.split("/", 1)[0]


def _video(path: str) -> str:
    """The recording an item was cut from, by the layouts of VoxCeleb and of PINs; or nothing.

    ``id10002/VIDEO/00009.wav``, ``A.R._Rahman/1.6/VIDEO/0003650.jpg``, ``Name/VIDEO/0002275.jpg``
    and ``Name/VIDEO_0000001.wav``. VGGFace's own ``Name/00000657.jpg`` tells none.
    """
    *folders, name = path.split("/")
    return folders[-1] if len(folders) > 1 else name.rpartition("_")[0]
