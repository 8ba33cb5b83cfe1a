"""Small data sets in memory for tests of the trainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import DataSet, Side
from trainer.data.sources import FeatureSource


def numbered_side(people: Sequence[int], width: int = 3) -> Side:
    """Items of these people in turn; each item's features are its row, over and over."""
    rows = np.arange(len(people))
    who = np.array(people, np.int64)
    values = np.repeat(rows[:, None], width, axis=1).astype(np.float32)
    source = FeatureSource(values, [f"file{row}" for row in rows])
    return Side(source, rows, who, who, who % 2, np.where(who == 3, -1, who % 3))


def numbered_set(faces: Sequence[int], voices: Sequence[int]) -> DataSet:
    """Faces and voices of people by number, whose names are their numbers."""
    names = tuple(f"person {number:03d}" for number in range(1 + max([*faces, *voices, 0])))
    return DataSet(numbered_side(faces), numbered_side(voices, 2), names)


def with_genders(data: DataSet, genders: NDArray[np.int64]) -> DataSet:
    """The same with the gender of every person."""
    sides = {
        name: dataclasses.replace(side, genders=genders[side.people])
        for name, side in (("faces", data.faces), ("voices", data.voices))
    }
    return dataclasses.replace(data, **sides)
