"""The fields of a turn among the columns of a table or the keys of a JSON object."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Sequence
from typing import Final, Literal, NamedTuple

from avsearch.annotation.formats.times import (
    KNOWN_UNITS,
    SECONDS,
    Frames,
    Unit,
    counts_frames,
    unit_named,
)
from indexer.errors import BadRequest

Role = Literal["start", "end", "duration", "speaker", "participant", "tier", "text", "recording"]

# Names without blanks, underscores and capitals; the first of a role that is there is taken.
_NAMES: Final[dict[Role, tuple[str, ...]]] = {
    "start": (
        *("start", "begin", "starttime", "begintime", "onset", "from", "startoffset"),
        *("turnstart", "segmentstart", "tbeg", "tstart", "tmin", "xmin", "t0"),
    ),
    "end": (
        *("end", "stop", "endtime", "stoptime", "finish", "to", "until", "endoffset"),
        *("turnend", "segmentend", "tend", "tmax", "xmax", "t1"),
    ),
    "duration": ("duration", "dur", "tdur", "length"),
    "speaker": (
        *("speaker", "speakername", "speakerlabel", "speakerid", "speakertag", "spk", "spkid"),
        *("talker", "who", "person", "name", "label"),
    ),
    "participant": ("participant",),
    "tier": ("tier", "tiername"),
    "text": ("text", "transcript", "transcription", "utterance", "sentence", "annotation"),
    "recording": (
        *("recording", "recordingid", "file", "filename", "fileid", "filepath", "uri", "audio"),
        *("audiofile", "audiofilepath", "audiopath", "media", "session"),
    ),
}
_ROLES: Final = {name: role for role, names in _NAMES.items() for name in names}
_TIMES: Final = ("start", "end", "duration")
# The name of a time with a unit behind it, known or not.
_WITH_UNIT: Final = re.compile(
    r"(\w+?)((?:milli|micro|nano)?(?:second|sec|s)s?|msecs?|ms|us|ns|mins?|minutes?"
    r"|frames?|samples?|ticks?)"
)


class TurnColumn(NamedTuple):
    """A column or key: its position, its plain name, and the unit in its name, or ""."""

    at: int
    name: str
    unit: str


class Columns(NamedTuple):
    """The positions of the fields of a turn among names, and the units of its times."""

    names: tuple[str, ...]
    at: dict[Role, int]
    units: dict[Role, Unit]
    others: tuple[int, ...]  # columns that are no field

    @property
    def ending(self) -> Role:
        """The field that gives the end of a turn."""
        return "end" if "end" in self.at else "duration"

    @property
    def has_speakers(self) -> bool:
        """True if a column names the speaker, or the columns are tiers as ELAN writes them."""
        if {"speaker", "participant", "tier"} & set(self.at):
            return True
        return " - " in self.names[self.at["start"]] and bool(self.others)


def is_header(names: Sequence[str]) -> bool:
    """Return True for a header with a column of starts or of tiers."""
    roles = {_ROLES.get(_split(name)[0]) for name in names}
    return len(names) > 1 and bool(roles & {"start", "tier"})


def has_times(names: Sequence[str]) -> bool:
    """Return True if names have the start of a turn, and its end or duration."""
    columns = [TurnColumn(at, *_split(name)) for at, name in enumerate(names)]
    return _missing({role for each in columns if (role := _role(each, columns))}) is None


@functools.lru_cache(maxsize=64)
def find_columns(names: tuple[str, ...], rate: float | None = None) -> Columns:
    """Return the columns of the fields.

    Of several columns of one time, one in seconds is preferred to one in frames. ``rate`` is the
    number of frames a second, where the file gives it elsewhere.

    Raises:
        BadRequest: There is no start or end, or it is in an unknown unit.
    """
    columns = [TurnColumn(at, *_split(name)) for at, name in enumerate(names)]
    found: dict[Role, list[TurnColumn]] = {}
    for column in columns:
        role = _role(column, columns)
        if role is not None:
            found.setdefault(role, []).append(column)
    missing = _missing(found)
    if missing is not None:
        raise BadRequest(
            f"no column is called {missing}; there are {', '.join(map(repr, names[:10]))}. "
            "Call them start, end and speaker."
        )
    at: dict[Role, int] = {}
    units: dict[Role, Unit] = {}
    for role, those in found.items():
        if role not in _TIMES:
            at[role] = min(those, key=lambda one: _NAMES[role].index(one.name)).at
        elif role != "duration" or "end" not in found:
            at[role], units[role] = _best_time(names, those, rate)
    known = {column.at for those in found.values() for column in those}
    others = tuple(c.at for c in columns if c.at not in known and names[c.at])
    return Columns(names, at, units, others)


def _role(column: TurnColumn, columns: Sequence[TurnColumn]) -> Role | None:
    """Return the role of a column; ``offset`` is an end beside an onset, and else a start."""
    if column.name == "offset":
        return "end" if any(_ROLES.get(each.name) == "start" for each in columns) else "start"
    return _ROLES.get(column.name)


def _missing(found: Collection[Role]) -> str | None:
    """Return the name of a time that no column has; None if there are all."""
    if "start" not in found:
        return "start"
    return None if {"end", "duration"} & set(found) else "end or duration"


def _split(name: str) -> tuple[str, str]:
    """Return the plain name and the unit of ``Begin Time - msec``, ``start (ms)``, ``start_ms``."""
    for pattern in (r"\s*(.+?)\s+-\s+(.+?)\s*", r"\s*(.+?)\s*[(\[]\s*(.+?)\s*[)\]]\s*"):
        found = re.fullmatch(pattern, name)
        if found:
            return _plain(found[1]), found[2]
    plain = _plain(name)
    found = _WITH_UNIT.fullmatch(plain)
    if plain not in _ROLES and found and _ROLES.get(found[1]) in _TIMES:
        return found[1], found[2]
    return plain, ""


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _best_time(
    names: Sequence[str], columns: Sequence[TurnColumn], rate: float | None
) -> tuple[int, Unit]:
    """Return the position and unit of a time: in seconds if possible, else in frames."""
    units = [SECONDS if not each.unit else unit_named(each.unit, rate) for each in columns]
    pairs = [(each.at, unit) for each, unit in zip(columns, units, strict=True) if unit is not None]
    if pairs:
        return min(pairs, key=lambda pair: isinstance(pair[1], Frames))
    first = columns[0]
    if counts_frames(first.unit):
        raise BadRequest(
            f"the column {names[first.at]!r} counts frames, and nothing says how many are a "
            f"second; export milliseconds or seconds. Known are {KNOWN_UNITS}."
        )
    raise BadRequest(
        f"the column {names[first.at]!r} is in {first.unit!r}, which is no unit that is known; "
        f"known are {KNOWN_UNITS}."
    )
