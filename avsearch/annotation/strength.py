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
_SECONDS: Final = (1.0, 60.0)  # outside, no difference was measured


@dataclasses.dataclass(frozen=True, slots=True)
class Strength:
    """The natural log-likelihood ratio of a cosine between two means.

    It is ``(slope + slope_by_time x) score + offset + offset_by_time x``, x the natural
    logarithm of the seconds that were heard or seen, held between 1 and 60.
    """

    slope: float
    offset: float
    slope_by_time: float = 0.0
    offset_by_time: float = 0.0

    def __call__(self, scores: Floats, seconds: float) -> Floats:
        """Log-likelihood ratios of scores of any shape; NaN stays NaN."""
        x = float(np.log(np.clip(seconds, *_SECONDS)))
        ratios: Floats = (
            (self.slope + self.slope_by_time * x) * scores + self.offset + self.offset_by_time * x
        )
        return ratios


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
        values = json.loads(path.read_text("utf-8"))
        return {key: Strength(**_numbers(values[key])) for key in values if _known(key)}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadRequest(
            f"{printable(path)} is no calibration ({error}); it is JSON, and has a slope and an "
            "offset for V-V, V-F, F-V or F-F."
        ) from error


def _known(key: str) -> bool:
    if key not in DIRECTIONS.values():
        raise ValueError(f"{key!r} is no direction")
    return True


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items()}
