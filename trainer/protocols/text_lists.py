"""Published trial lists in text.

========================  ==========================================================
CMPC, DSANet and others   ``probe candidate ...`` matching; the right one first, or a
                          last column with its number from 0
CMPC veriflist            ``id,voice-speaker-id,face-speaker-id,label,voice-path,face-path``
VoxCeleb and others       ``label first second`` or ``first second label``, 1 for one person
Wen ``verify_*``          ``probe other`` without a label: it follows from the people
Wen ``reterival_*``       two lines, the probes and the gallery
CMPC ``wav_20k, jpg_20k`` one table a modality; each file is read with its partner
========================  ==========================================================

Cells are separated by blanks, tabs, commas or semicolons; a header line may come first. A person is
the first folder of a path, and the tables of :mod:`trainer.protocols.voxceleb_people` map VoxCeleb1
ids and names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NoReturn, cast

import numpy as np

from indexer.errors import BadRequest, printable
from indexer.types import MODALITIES, Modality
from trainer.protocols.text_file import SEPARATORS, Lines, cells_of, read_lines, separator_of
from trainer.protocols.trials import (
    Ints,
    Items,
    Matching,
    Protocol,
    Retrieval,
    Verification,
    items_of,
    modalities_of,
    modality_of,
    numbered,
    recordings,
)
from trainer.protocols.voxceleb_people import People

Columns = Sequence[Sequence[str]]

_VERIFICATION = ["id", "voice-speaker-id", "face-speaker-id", "label", "voice-path", "face-path"]
_ID_FIRST = re.compile(r"\s*voxceleb1 id\s*([\t,;])", re.IGNORECASE)
_PARTNERS = {"jpg_20k": "wav_20k", "wav_20k": "jpg_20k"}
_TRIAL = "a trial names a probe and candidates, separated by blanks, commas or tabs."


def read_list(path: Path, people: People) -> Protocol:
    """Read a published list; the content decides the format.

    Raises:
        BadRequest: The file has none of the formats, or a line is wrong.
    """
    lines = _filled(read_lines(path).trimmed())
    first = lines.texts[0]
    if [cell.lower() for cell in cells_of(first, _mark_of_head(first))] == _VERIFICATION:
        return _numbered_pairs(_filled(lines.after(1)), _mark_of_head(first), people)
    if found := _ID_FIRST.match(first):
        return _tables(lines, found[1], people)
    if _is_head(lines):
        lines = lines.after(1)
    return _read_trials(lines, people)


def _read_trials(lines: Lines, people: People) -> Protocol:
    """Read lines without a header; the first one decides the format."""
    first = lines.texts[0]
    mark = separator_of(first, _is_cell)
    row = cells_of(first, mark)
    if len(lines) == 2 and _of_one_modality(row):
        return _retrieval(lines, mark, people)
    kinds = ["label" if cell in ("0", "1") else modality_of(cell) for cell in row]
    media = sum(kind in MODALITIES for kind in kinds)
    if len(row) == media == 2:
        return _pairs(lines, mark, people)
    if len(row) == 3 and media == 2 and "label" in (kinds[0], kinds[-1]):
        label = kinds.index("label")
        columns = [at for at in range(3) if at != label]
        return _labelled(lines, lines.cells(3, mark), (label, *columns), people)
    if len(row) < 2 or (len(row) == 2 and row[-1].isdigit()):
        lines.fault(0, _TRIAL)
    return _matching(lines, mark, people)


def _filled(lines: Lines) -> Lines:
    if not len(lines):
        raise BadRequest(f"{printable(lines.path)} is empty; download it again.")
    return lines


def _is_cell(cell: str) -> bool:
    return modality_of(cell) is not None or cell.isdigit()


def _mark_of_head(head: str) -> str | None:
    return next((mark for mark in SEPARATORS if mark in head), None)


def _is_head(lines: Lines) -> bool:
    """True where the first line names columns: it has no paths, and the second one has."""
    if "/" in lines.texts[0]:
        return False
    named = [[*map(modality_of, re.split(r"[\s,;\"]+", line.strip()))] for line in lines.texts[:2]]
    return len(named) == 2 and not any(named[0]) and any(named[1])


def _numbered_pairs(lines: Lines, mark: str | None, people: People) -> Verification:
    """Read CMPC's verification lists."""
    return _labelled(lines, lines.cells(6, mark), (3, 4, 5), people, width=6)


def _labelled(
    lines: Lines, cells: list[str], places: tuple[int, ...], people: People, width: int = 3
) -> Verification:
    """Read pairs with labels; a label that contradicts the paths is an error.

    ``places`` are the columns of label, first and second, of ``width``.
    """
    labels, *sides = (cells[place::width] for place in places)
    (first, second), items = _media(lines, sides, people)
    same = _numbers(lines, labels, 2) == 1
    wrong = np.flatnonzero(same != items.same_person(first, second))
    if len(wrong):
        label = int(same[wrong[0]])
        lines.fault(int(wrong[0]), f"label {label} contradicts the people of its paths.")
    return Verification(_name(lines.path), items, first, second, same)


def _pairs(lines: Lines, mark: str | None, people: People) -> Verification:
    """Read Wen's verification lists, whose labels follow from the people."""
    cells = lines.cells(2, mark)
    (first, second), items = _media(lines, [cells[::2], cells[1::2]], people, known=True)
    return Verification(_name(lines.path), items, first, second, items.same_person(first, second))


def _matching(lines: Lines, mark: str | None, people: People) -> Matching:
    """Read probes and candidates; the right one is first unless a last column numbers it."""
    head = cells_of(lines.texts[0], mark)
    cells = lines.cells(len(head), mark)
    columns = [cells[at :: len(head)] for at in range(len(head))]
    truth = np.zeros(len(lines), np.int64)
    if head[-1].isdigit():
        truth = _numbers(lines, columns.pop(), len(head) - 2)
    (probes, *candidates), items = _media(lines, columns, people)
    found = Matching(_name(lines.path), items, probes, np.stack(candidates, 1), truth)
    _check_truth(lines, found)
    return found


def _check_truth(lines: Lines, found: Matching) -> None:
    """Raise BadRequest unless exactly the right candidate is of the probe's person."""
    same = found.items.same_person(found.probes[:, None], found.candidates)
    expected = np.arange(same.shape[1])[None] == found.truth[:, None]
    wrong = np.flatnonzero((same != expected).any(1))
    if len(wrong):
        lines.fault(
            int(wrong[0]),
            "only the right candidate may be of the probe's person.",
        )


def _retrieval(lines: Lines, mark: str | None, people: People) -> Retrieval:
    """Read Wen's retrieval lists: the first line has the probes, the second the gallery."""
    sides = [list(filter(None, cells_of(line, mark))) for line in lines.texts]
    (queries, gallery), items = _media(lines, sides, people, known=True)
    return Retrieval(_name(lines.path), items, queries, gallery)


def _tables(lines: Lines, mark: str, people: People) -> Retrieval:
    """Read CMPC's retrieval tables: this one has the probes, its partner file the gallery."""
    both = (lines, _filled(read_lines(_partner(lines.path)).trimmed()))
    names, paths = zip(*(_table(each, mark) for each in both), strict=True)
    (queries, gallery), distinct = _numbered(paths)
    owners = dict(zip(chain(*paths), map(people.name, chain(*names)), strict=True))
    who = [owners[path] for path in distinct]
    videos = list(map(_video, map(_origin, distinct)))
    items = items_of(distinct, _modalities(lines, distinct), who, videos)
    return Retrieval(_name(lines.path), items, queries, gallery)


def _table(lines: Lines, mark: str) -> tuple[list[str], list[str]]:
    """Read the people and the media of a retrieval table."""
    body = _filled(lines.after(1))
    cells = body.cells(2, mark)
    _modalities(body, cells[1::2])
    return cells[::2], cells[1::2]


def _partner(path: Path) -> Path:
    name = _name(path)
    if name not in _PARTNERS:
        raise BadRequest(
            f"{printable(path)}: a retrieval has two tables, wav_20k and jpg_20k; give this file "
            "the name it was published with."
        )
    partner = path.with_name(path.name.replace(name, _PARTNERS[name]))
    if not partner.exists():
        raise BadRequest(f"{printable(path)} needs {partner.name} beside it, which is missing.")
    return partner


def _media(
    lines: Lines, columns: Columns, people: People, *, known: bool = False
) -> tuple[list[Ints], Items]:
    """The positions of each column's media among the items, and the items.

    With ``known``, a person who is in no table is an error.
    """
    places, paths = _numbered(columns)
    modalities = _modalities(lines, paths)
    origins, distinct = numbered(list(map(_origin, paths)))
    owners, names = numbered([origin.partition("/")[0] for origin in distinct])
    if known:
        _check_known(lines, paths, owners[origins], names, people)
    who, called = numbered(list(map(people.name, names)))
    videos = recordings(list(map(_video, distinct)))
    own = who[owners][origins], tuple(called), videos[origins]
    return places, Items(tuple(paths), tuple(modalities), *own)


def _check_known(
    lines: Lines, paths: Sequence[str], owners: Ints, names: Sequence[str], people: People
) -> None:
    """Raise BadRequest for an unknown person; ``owners`` (n,) are numbers into ``names``."""
    stranger = next((at for at, name in enumerate(names) if people.get(name) is None), None)
    if stranger is not None:
        _fault(
            lines,
            paths[int(np.argmax(owners == stranger))],
            f"{names[stranger]!r} is in no table of people; give the list's split tables, from "
            "which its labels follow.",
        )


def _numbered(columns: Columns) -> tuple[list[Ints], list[str]]:
    """Number the distinct values of all columns."""
    places, distinct = numbered(list(chain.from_iterable(columns)))
    return np.split(places, np.cumsum([len(column) for column in columns])[:-1]), distinct


def _modalities(lines: Lines, paths: Sequence[str]) -> list[Modality]:
    modalities = modalities_of(paths)
    if None in modalities:
        strange = paths[modalities.index(None)]
        _fault(lines, strange, f"{strange!r} is neither an image nor audio.")
    return cast("list[Modality]", modalities)


def _fault(lines: Lines, path: str, reason: str) -> NoReturn:
    """Raise BadRequest for the first line that names a path."""
    exact = (at for at, line in lines if path in re.split(r"[\s,;]+", line))
    within = (at for at, line in lines if path in line)  # a path with blanks
    lines.fault(next(chain(exact, within), 0), reason)


def _numbers(lines: Lines, texts: Sequence[str], below: int) -> Ints:
    """Texts (n,) as numbers from 0 to ``below - 1``."""
    known = {str(number): number for number in range(below)}
    if set(texts) - known.keys():
        at = next(at for at, text in enumerate(texts) if text not in known)
        lines.fault(at, f"{texts[at]!r} is no number from 0 to {below - 1}.")
    return np.fromiter(map(known.__getitem__, texts), np.int64, len(texts))


def _name(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def _of_one_modality(row: Sequence[str]) -> bool:
    """True where a line begins with several items of one modality, as no trial does."""
    first, second, last = (modality_of(row[at]) for at in (0, min(1, len(row) - 1), -1))
    return len(row) > 1 and first is not None and first == second == last


def _origin(path: str) -> str:
    """The part of a path that names the person and, where there is one, the recording.

    By the layouts of VoxCeleb and of PINs: ``id10002/VIDEO/00009.wav``,
    ``A.R._Rahman/1.6/VIDEO/0003650.jpg``, ``Name/VIDEO/0002275.jpg`` and
    ``Name/VIDEO_0000001.wav``. VGGFace's own ``Name/00000657.jpg`` names no recording.
    """
    folder = path.rpartition("/")[0]
    if "/" in folder:
        return folder
    stem = path.rpartition("_")[0]
    return stem if "/" in stem else folder or path


def _video(origin: str) -> str:
    """The recording of an origin; empty where it has none."""
    return origin.rpartition("/")[2] if "/" in origin else ""
