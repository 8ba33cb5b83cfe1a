"""RTTM: a SPEAKER line a turn, ten fields apart by blanks or tabs.

A space in a name is written as ``%20``, and so are the other characters that no field can hold;
reading turns them back. NIST, The 2009 (RT-09) Rich Transcription Evaluation Plan, appendix A.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.lines import Line, numbered_lines
from avsearch.annotation.turns import Diarization, Turn, build_diarization
from indexer.errors import BadRequest

_KIND: Final = "SPEAKER"
_NONE: Final = "<NA>"
_ESCAPED: Final = re.compile(r"[\s%\x00-\x1f\x7f]|^;")
_KINDS: Final = frozenset(
    (
        *("SPEAKER", "SPKR-INFO", "SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX"),
        *("NON-SPEECH", "FILLER", "EDIT", "IP", "SU", "CB", "A/P"),
    )
)
_FEWEST: Final = 8  # fields: before RT-09 the last one or two were not there
_MOST: Final = 10
_FEWEST_TOLD: Final = 4  # fields of a line that is RTTM, if maybe a faulty one
_NUMBER: Final = r"[-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d+)?"
# What is certain: two numbers, and two fields behind them of which a SPEAKER line has none. The
# channel stands before them; what is before that is the file id, with any blanks it has.
_CERTAIN: Final = re.compile(
    rf"\s*SPEAKER[ \t]+(?P<id>\S.*?)[ \t]+\S+[ \t]+(?P<start>{_NUMBER})[ \t]+(?P<length>{_NUMBER})"
    r"[ \t]+<NA>[ \t]+<NA>[ \t]+(?P<rest>\S.*?)\s*",
    re.IGNORECASE,
)
_CHANNEL: Final = re.compile(r"\d+|<NA>|[A-Z]", re.IGNORECASE)
_DECIMAL: Final = re.compile(r"[-+]?\d*[.,]\d+(?:[eE][-+]?\d+)?")
_PLACES: Final = (
    "its fields do not stand where they should (SPEAKER, file, channel, start, length, <NA>, "
    "<NA>, speaker, <NA>, <NA>); write a space in a name as %20."
)


class _Said(NamedTuple):
    """A SPEAKER line: its file id, its times, and the fields from the name on."""

    line: Line
    recording: str
    start_s: float
    end_s: float
    rest: list[str]


def is_rttm(text: str) -> bool:
    """Return whether a text has a line of one of RTTM's kinds."""
    return any(
        (fields[0] in _KINDS and len(fields) >= _FEWEST_TOLD) or _CERTAIN.fullmatch(line.text)
        for line in numbered_lines(text)
        if (fields := line.text.split())
    )


def read_rttm(text: str, wanted: RecordingChoice) -> Diarization:
    """Return the turns of the wanted recording of an RTTM text.

    Fields are apart by blanks or tabs; file ids and names may hold blanks where it is certain
    what they are. Lines of RTTM's other kinds and comments are passed over, and others too, with
    a note. Raises BadRequest, with the line, for a SPEAKER line whose parts cannot be told.
    """
    said, strange = [], []
    for line in numbered_lines(text):
        kind = _kind(line)
        if kind == _KIND:
            said.append(_speaker_line(line))
        elif kind not in _KINDS and not kind.startswith((";", "#")):
            strange.append(line.at)
    if not said:
        raise BadRequest("it has no SPEAKER line, in which RTTM tells turns.")
    chosen, notes = wanted.among([each.recording for each in said])
    if strange:
        notes.append(f"lines of no kind of RTTM, passed over: {len(strange)} (line {strange[0]}).")
    mine = [each for each in said if each.recording == chosen]
    confidences = _are_confidences(mine)
    names = [_name(each, confidences=confidences) for each in mine]
    turns = [Turn(*each[2:4], name) for each, name in zip(mine, names, strict=True)]
    return build_diarization(turns, chosen, notes)


def write_rttm(turns: Iterable[Turn], recording: str) -> str:
    """Return turns as RTTM; the text that was spoken has no place in it."""
    return "".join(
        f"{_KIND} {_field(recording)} 1 {seconds(turn.start_s)} "
        f"{seconds(turn.end_s - turn.start_s)} {_NONE} {_NONE} {_field(turn.speaker)} "
        f"{_NONE} {_NONE}\n"
        for turn in turns
    )


def seconds(value: float) -> str:
    """Return seconds with as many digits as they have, three at least and six at most."""
    whole, _, part = f"{value:.6f}".partition(".")
    return f"{whole}.{part.rstrip('0').ljust(3, '0')}"


def _kind(line: Line) -> str:
    return line.text.split(maxsplit=1)[0].upper()


def _speaker_line(line: Line) -> _Said:
    """Return the parts of a line by its tabs, by what is certain in it, or by their order."""
    cells = [cell.strip() for cell in line.text.split("\t")]
    if len(cells) >= _FEWEST and all(re.fullmatch(_NUMBER, cell) for cell in cells[3:5]):
        # What stands between tabs is a field, whatever blanks it has.
        return _parts(line, cells[1], cells[3], cells[4], [cells[7], _NONE, _NONE])
    found = _CERTAIN.fullmatch(line.text)
    if found:
        rest = re.split(r"[ \t]+", found["rest"])
        return _parts(line, found["id"], found["start"], found["length"], rest)
    fields = re.split(r"[ \t]+", line.text.strip())
    if len(fields) < _FEWEST:
        raise line.wrong(f"a SPEAKER line has ten fields, and this one {len(fields)}.")
    shifted = any(re.fullmatch(_NUMBER, field) for field in fields[5:7])
    if len(fields) > _MOST or shifted or not _CHANNEL.fullmatch(fields[2]):
        raise line.wrong(_PLACES)
    return _parts(line, fields[1], fields[3], fields[4], fields[7:])


def _parts(line: Line, recording: str, start: str, length: str, rest: list[str]) -> _Said:
    start_s, length_s = line.time(start, "the start"), line.time(length, "the length")
    if start_s < 0 or length_s < 0:
        raise line.wrong(f"the start {start} or the length {length} is negative.")
    return _Said(line, _text(recording), start_s, start_s + length_s, rest)


def _stripped(rest: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the fields from the name on into the name and what can be no part of one.

    That is the confidence and the look-ahead time at the end: <NA>, or with a decimal point.
    """
    count = 0
    while count < min(2, len(rest) - 1) and _is_none_or_decimal(rest[-1 - count]):
        count += 1
    return list(rest[: len(rest) - count]), list(rest[len(rest) - count :])


def _is_none_or_decimal(field: str) -> bool:
    return field.upper() == _NONE or _DECIMAL.fullmatch(field) is not None


def _are_confidences(said: Sequence[_Said]) -> bool:
    """Return True if whole numbers behind names are confidences, unlike 2 in ``Speaker 2``.

    They are where they are 0 or 1 and other lines have confidences with a decimal point; or where
    every line of several speakers has one, the same on all lines of a speaker.
    """
    names: dict[str, set[str]] = {}
    every, decimal = True, False
    for each in said:
        name, behind = _stripped(each.rest)
        decimal = decimal or any(_DECIMAL.fullmatch(field) for field in behind)
        if len(behind) < 2 and len(name) > 1 and name[-1].isdecimal():
            names.setdefault(" ".join(name[:-1]), set()).add(name[-1])
        else:
            every = False
    if not all(numbers <= {"0", "1"} for numbers in names.values()):
        return False
    return decimal or (every and len(names) > 1 and all(len(each) == 1 for each in names.values()))


def _name(said: _Said, *, confidences: bool) -> str:
    """Return the speaker's name, with the blanks in it."""
    name, behind = _stripped(said.rest)
    if len(behind) < 2 and len(name) > 1:
        if confidences and name[-1].isdecimal():
            name.pop()
        if any(_DECIMAL.fullmatch(part) for part in name):
            raise said.line.wrong(_PLACES)
    if len(name) > 1 and any(part.upper() == _NONE for part in name):
        raise said.line.wrong(_PLACES)
    return _text(" ".join(name))


def _field(text: str) -> str:
    return _ESCAPED.sub(lambda found: urllib.parse.quote(found[0], safe=""), text) or "%"


def _text(field: str) -> str:
    return "" if field == "%" else urllib.parse.unquote(field)
