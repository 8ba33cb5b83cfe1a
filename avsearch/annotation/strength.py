"""From scores to evidence: how much likelier a score is where two are one person."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.errors import BadRequest, printable

Direction = Literal["V-V", "V-F", "F-V", "F-F"]  # what was heard or seen, and what the index has
Floats = NDArray[np.float64]

DIRECTIONS: Final[dict[tuple[str, str], Direction]] = {
    ("voice", "voice"): "V-V",
    ("voice", "face"): "V-F",
    ("face", "voice"): "F-V",
    ("face", "face"): "F-F",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Strength:
    """The natural log-likelihood ratio of a cosine: ``scale * score + offset``."""

    scale: float
    offset: float

    def __call__(self, scores: Floats) -> Floats:
        """Log-likelihood ratios of scores of any shape; NaN stays NaN."""
        return self.scale * scores + self.offset

    @property
    def even(self) -> float:
        """The score that speaks neither for one person nor for two."""
        return -self.offset / self.scale


Calibration = Mapping[Direction, Strength]

# Of the shipped model, by ``python -m benchmarks.annotating --calibrate``.
FALLBACK: Final[Calibration] = {
    "V-V": Strength(6.0, -3.0),
    "V-F": Strength(2.0, -1.0),
    "F-V": Strength(2.0, -1.0),
    "F-F": Strength(6.0, -3.0),
}


def read_calibration(path: Path) -> Calibration:
    """A calibration from JSON: an object a direction; BadRequest for a file that is none."""
    try:
        return calibration_of(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadRequest(
            f"{printable(path)} is no calibration ({error}); it is JSON, and has a scale and an "
            "offset for V-V, V-F, F-V or F-F."
        ) from error


def calibration_of(values: Mapping[str, Any]) -> Calibration:
    """A calibration of what JSON has: ``{"V-V": {"scale": 6.0, "offset": -3.0}}``.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    known: dict[str, Direction] = {direction: direction for direction in DIRECTIONS.values()}
    return {
        known[key]: Strength(float(each["scale"]), float(each["offset"]))
        for key, each in values.items()
    }
