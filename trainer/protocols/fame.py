"""Trials of the FAME challenge (MAV-Celeb), whose labels are kept by its organisers.

A line is ``id voice-path face-path``. A submission is ``id score``, its score a distance: lower
means the same person.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.errors import BadRequest, printable
from indexer.files import replacing
from trainer.lines import read_lines
from trainer.protocols.trials import Ints, Items, Register, modality_of

_NOBODY = ""  # the list does not tell who is who


@dataclasses.dataclass(frozen=True, slots=True)
class Unlabelled:
    """Numbered pairs of a voice and a face, to be scored for others to judge."""

    name: str
    items: Items
    ids: tuple[str, ...]
    voices: Ints  # (n,)
    faces: Ints  # (n,)


def read_fame(path: Path) -> Unlabelled:
    """Read the challenge's trials.

    Raises BadRequest, with file and line, for a line that is not as above or repeats an id.
    """
    register = Register()
    trials: dict[str, tuple[int, int]] = {}
    lines = read_lines(path)
    for at, line in lines:
        row = line.split()
        if len(row) != 3 or [modality_of(each) for each in row[1:]] != ["voice", "face"]:
            lines.fault(at, "a trial is an id, the path of a voice and the path of a face.")
        if row[0] in trials:
            lines.fault(at, f"the id {row[0]} stands here a second time.")
        trials[row[0]] = (
            register.add(row[1], "voice", _NOBODY),
            register.add(row[2], "face", _NOBODY),
        )
    if not trials:
        raise BadRequest(f"{printable(path)} is empty; take it anew from where it was published.")
    voices, faces = np.array(list(trials.values()), np.int64).T
    return Unlabelled(path.stem, register.items(), tuple(trials), voices, faces)


def write_submission(path: Path, trials: Unlabelled, scores: NDArray[np.floating]) -> None:
    """Write scores (n,), larger meaning nearer, as the distances that the challenge asks for.

    Written to a temporary name and renamed. Raises ValueError for another number of scores or
    one that is not finite.
    """
    if len(scores) != len(trials.ids) or not np.isfinite(scores).all():
        raise ValueError("a submission needs a finite score for every trial")
    lines = [f"{key} {-score:.9g}\n" for key, score in zip(trials.ids, scores, strict=True)]
    with replacing(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")
