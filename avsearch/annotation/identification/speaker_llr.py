"""What scores are worth to whoever names speakers, by the calibrations of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from avsearch.calibration import RECORD, Calibration, calibrations_of
from indexer.errors import BadRequest, os_reason, printable

Calibrations = Mapping[str, Calibration]  # by direction, such as V-V: a voice, and voices known

_SHAPE: Final = "it is JSON and has a scale and an offset for V-V, V-F, F-V or F-F."
_EVEN: Final = 0.5  # where nothing is known of a model: alike enough to be one person


def even_score(calibrations: Calibrations, direction: str) -> float:
    """The score that speaks neither for one person nor for two."""
    known = calibrations.get(direction)
    return _EVEN if known is None else -known.offset / known.scale


def read_calibrations(path: Path) -> Calibrations:
    """Calibrations from JSON, ``{"V-V": {"scale": 6, "offset": -3}}``; BadRequest for others."""
    try:
        found = calibrations_of({RECORD: json.loads(path.read_text("utf-8"))})
    except OSError as error:
        raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise BadRequest(f"{printable(path)} is no calibration ({error}); {_SHAPE}") from error
    if not found:
        raise BadRequest(f"{printable(path)} is no calibration; {_SHAPE}")
    return found
