"""Times of turns as text, and the units in the headers of columns, to seconds."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, Final, Protocol

_NUMBER: Final = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?")
_CLOCK: Final = re.compile(r"(?:(\d+) days?,? )?(?:(\d+):)?(\d+):(\d+(?:[.,]\d*)?)")
_FRAMES: Final = re.compile(r"(\d+):(\d+):(\d+)[:;.](\d+)")
_CLOCK_UNIT: Final = re.compile(r"(?:h{1,2}:)?m{1,2}:s{1,2}(?:[.,][ms0-9]+)?")
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*fps")
_SCALES: Final = {
    1.0: ("s", "sec", "secs", "second", "seconds", "ss", "ss.ms", "ss.msec", "ss.mmm"),
    1e-3: ("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"),
    1e-6: ("us", "µs", "usec", "microsecond", "microseconds"),
    60.0: ("min", "mins", "minute", "minutes"),
}
_NTSC_RATE: Final = 29.97
_DROPPED: Final = 2  # frame numbers that NTSC's clock skips each minute but every tenth

KNOWN_UNITS: Final = (
    "seconds (s, ss.msec), milliseconds (ms, msec), hh:mm:ss.ms, and frames (hh:mm:ss:ff) of "
    "PAL, PAL-50fps, NTSC or a number of fps"
)


class Unit(Protocol):
    """The unit of a column of times."""

    def seconds(self, value: Any) -> float:
        """Return the seconds of a text or a number; ValueError with the reason for others."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scaled:
    """Numbers of ``scale`` seconds each; or a clock, ``hh:mm:ss.ms`` or ``mm:ss.ms``."""

    scale: float = 1.0

    def seconds(self, value: Any) -> float:
        """Return the seconds of a number, a text or a ``timedelta``."""
        if hasattr(value, "total_seconds"):
            return _finite(value.total_seconds())
        if not isinstance(value, str):
            return _finite(float(value) * self.scale)
        clock = _CLOCK.fullmatch(value.strip())
        if clock is None:
            return _finite(_number(value) * self.scale)
        days, hours, minutes, seconds = clock.groups()
        whole = (int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes)
        return 60.0 * whole + _number(seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class Frames:
    """Frames, as a number or ``hh:mm:ss:ff``, of ``rate`` a second.

    With ``drop_frames`` the clock skips the first two frame numbers of each minute but every tenth,
    as NTSC's does.
    """

    rate: float
    drop_frames: bool = False

    def seconds(self, value: Any) -> float:
        """Return the start of a frame in seconds."""
        clock = _FRAMES.fullmatch(str(value).strip())
        if clock is None:
            return _finite(_number(str(value)) / self.rate)
        hours, minutes, seconds, frame = (int(part) for part in clock.groups())
        whole = round(self.rate)
        if frame >= whole:
            raise ValueError(f"is no frame of {self.rate:g} a second")
        minutes += 60 * hours
        frames = (60 * minutes + seconds) * whole + frame
        if self.drop_frames:
            frames -= _DROPPED * (minutes - minutes // 10)
        return frames / self.rate


SECONDS: Final = Scaled()


def unit_named(name: str, rate: float | None = None) -> Unit | None:
    """Return the unit with a name; None for an unknown one.

    ``rate`` is the number of frames a second, if the file gives it elsewhere.
    """
    text = name.strip().lower()
    for scale, names in _SCALES.items():
        if text in names:
            return Scaled(scale)
    if _CLOCK_UNIT.fullmatch(text):
        return SECONDS
    stated = _RATE.search(text.replace("-", " "))
    if stated is not None:
        return Frames(float(stated[1]))
    if "ntsc" in text:
        return Frames(_NTSC_RATE, drop_frames=True)
    if re.search(r"\bpal\b", text):
        return Frames(50.0 if "50" in text else 25.0)
    return Frames(rate) if rate is not None and counts_frames(text) else None


def counts_frames(unit: str) -> bool:
    """Return True for a unit of frames, of any rate."""
    return bool(re.search(r"frame|:ff\b|smpte", unit.lower()))


def _number(text: str) -> float:
    text = text.strip()
    if re.fullmatch(r"\d+:\d+:\d+[:;]\d+", text):
        raise ValueError(
            "counts frames, of which nothing says how many are a second; export "
            "milliseconds or seconds"
        )
    if _NUMBER.fullmatch(text):
        return float(text.replace(",", "."))
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise ValueError("must be finite")
    raise ValueError("is no number of seconds")


def _finite(seconds: float) -> float:
    if not math.isfinite(seconds):
        raise ValueError("must be finite")
    return seconds
