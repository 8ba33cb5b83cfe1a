"""Trials of the FAME challenge (MAV-Celeb), whose labels only its organisers have.

A line is ``id voice-path face-path``, separated by blanks, tabs or commas. A submission
is ``id score``, where the score is a distance: lower means the same person.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.errors import BadRequest, printable
from indexer.runtime.atomic import replacing
from indexer.types import Modality
from trainer.protocols.text_file import cells_of, read_lines, separator_of
from trainer.protocols.trials import Ints, Items, Register, modality_of

_LABELS = frozenset({"0", "1"})
_NOBODY = ""  # the list does not name people


@dataclasses.dataclass(frozen=True, slots=True)
class Unlabelled:
    """Numbered pairs of a voice and a face without labels."""

    name: str
    items: Items
    ids: tuple[str, ...]
    voices: Ints  # (n,)
    faces: Ints  # (n,)


def is_fame(path: Path) -> bool:
    """Return True for a list of such trials; raise BadRequest where it cannot be read."""
    lines = read_lines(path).trimmed()
    first = _cells(lines.texts[0]) if len(lines) else []
    if len(first) != 3 or _kinds(first) != [None, "voice", "face"]:
        return False
    # Ids are all different; two values for all lines are labels.
    ids = (_cells(line)[0] for line in lines.texts)
    return len(lines) <= len(_LABELS) or any(each not in _LABELS for each in ids)


def read_fame(path: Path) -> Unlabelled:
    """Read the challenge's trials.

    Raises:
        BadRequest: A line has another form or repeats an id.
    """
    register = Register()
    trials: dict[str, tuple[int, int]] = {}
    lines = read_lines(path).trimmed()
    for at, line in lines:
        row = _cells(line)
        if len(row) != 3 or _kinds(row)[1:] != ["voice", "face"]:
            lines.fault(at, "a trial is an id, the path of a voice and the path of a face.")
        if row[0] in trials:
            lines.fault(at, f"the id {row[0]} is here a second time.")
        trials[row[0]] = (
            register.add(row[1], "voice", _NOBODY),
            register.add(row[2], "face", _NOBODY),
        )
    if not trials:
        raise BadRequest(f"{printable(path)} is empty; download it again.")
    voices, faces = np.array(list(trials.values()), np.int64).T
    return Unlabelled(path.stem, register.items(), tuple(trials), voices, faces)


def _cells(line: str) -> list[str]:
    return cells_of(line, separator_of(line, lambda cell: bool(cell) and " " not in cell))


def _kinds(row: list[str]) -> list[Modality | None]:
    return [modality_of(word) for word in row]


def write_submission(path: Path, trials: Unlabelled, scores: NDArray[np.floating]) -> None:
    """Write scores (n,), larger meaning nearer, as the distances of a submission.

    Raises:
        ValueError: The number of scores is wrong, or one is not finite.
    """
    if len(scores) != len(trials.ids) or not np.isfinite(scores).all():
        raise ValueError("a submission needs a finite score for every trial")
    lines = [f"{key} {-score:.9g}\n" for key, score in zip(trials.ids, scores, strict=True)]
    with replacing(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")
