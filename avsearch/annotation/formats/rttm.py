"""RTTM: one SPEAKER line per turn, of ten fields that are separated by blanks or tabs.

A space in a name is written as ``%20``, and so are other characters that a field cannot hold; they
are decoded when read. NIST, The 2009 (RT-09) Rich Transcription Evaluation Plan, appendix A.
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
_MIN_FIELDS: Final = 8  # before RT-09 the last one or two did not exist
_MAX_FIELDS: Final = 10
_MIN_DETECTED: Final = 4  # fields of a line that counts as RTTM, perhaps a wrong one
_NUMBER: Final = r"[-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d+)?"
# A certain line has two numbers, and behind them the two empty fields of a SPEAKER line. The
# channel stands before the numbers; what precedes it is the file id, with any blanks in it.
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


class _SpeakerLine(NamedTuple):
    """A SPEAKER line; ``rest`` are the fields from the name on."""

    line: Line
    recording: str
    start_s: float
    end_s: float
    rest: list[str]

    def split_name(self) -> tuple[list[str], list[str]]:
        """Return the parts of the name, and the fields behind it that cannot belong to it.

        These are the confidence and the look-ahead time: <NA>, or with a decimal point.
        """
        count = 0
        while count < min(2, len(self.rest) - 1):
            field = self.rest[-1 - count]
            if field.upper() != _NONE and not _DECIMAL.fullmatch(field):
                break
            count += 1
        return self.rest[: len(self.rest) - count], self.rest[len(self.rest) - count :]


def is_rttm(text: str) -> bool:
    """Return True if a text has a line of one of RTTM's kinds."""
    return any(
        (fields[0] in _KINDS and len(fields) >= _MIN_DETECTED) or _CERTAIN.fullmatch(line.text)
        for line in numbered_lines(text)
        if (fields := line.text.split())
    )


def read_rttm(text: str, choice: RecordingChoice) -> Diarization:
    """Return the turns of the chosen recording of an RTTM text.

    File ids and names may hold blanks where the fields are certain. Comments and lines of RTTM's
    other kinds are ignored, and other lines too, with a note.

    Raises:
        BadRequest: The fields of a SPEAKER line are not certain; names the line.
    """
    lines, strange = [], []
    for line in numbered_lines(text):
        kind = line.text.split(maxsplit=1)[0].upper()
        if kind == _KIND:
            lines.append(_speaker_line(line))
        elif kind not in _KINDS and not kind.startswith((";", "#")):
            strange.append(line.number)
    if not lines:
        raise BadRequest("it has no SPEAKER line, in which RTTM tells turns.")
    chosen, notes = choice.select([each.recording for each in lines])
    if strange:
        notes.append(f"lines of no kind of RTTM, passed over: {len(strange)} (line {strange[0]}).")
    own = [each for each in lines if each.recording == chosen]
    confidences = _have_confidences(own)
    turns = [Turn(each.start_s, each.end_s, _name(each, confidences=confidences)) for each in own]
    return build_diarization(turns, chosen, notes)


def write_rttm(turns: Iterable[Turn], recording: str) -> str:
    """Return turns as RTTM, which has no field for the transcript."""
    return "".join(
        f"{_KIND} {_encode(recording)} 1 {format_seconds(turn.start_s)} "
        f"{format_seconds(turn.end_s - turn.start_s)} {_NONE} {_NONE} {_encode(turn.speaker)} "
        f"{_NONE} {_NONE}\n"
        for turn in turns
    )


def format_seconds(value: float) -> str:
    """Return seconds with three to six digits after the point, as many as they have."""
    whole, _, part = f"{value:.6f}".partition(".")
    return f"{whole}.{part.rstrip('0').ljust(3, '0')}"


def _speaker_line(line: Line) -> _SpeakerLine:
    """Return the fields of a line by its tabs, by a certain pattern, or by their order."""
    cells = [cell.strip() for cell in line.text.split("\t")]
    certain = _CERTAIN.fullmatch(line.text)
    if len(cells) >= _MIN_FIELDS and all(re.fullmatch(_NUMBER, cell) for cell in cells[3:5]):
        # Text between tabs is one field, whatever blanks it has.
        recording, start, length, rest = cells[1], cells[3], cells[4], [cells[7], _NONE, _NONE]
    elif certain:
        recording, start, length = certain["id"], certain["start"], certain["length"]
        rest = re.split(r"[ \t]+", certain["rest"])
    else:
        fields = re.split(r"[ \t]+", line.text.strip())
        if len(fields) < _MIN_FIELDS:
            raise line.error(f"a SPEAKER line has ten fields, and this one {len(fields)}.")
        shifted = any(re.fullmatch(_NUMBER, field) for field in fields[5:7])
        if len(fields) > _MAX_FIELDS or shifted or not _CHANNEL.fullmatch(fields[2]):
            raise line.error(_PLACES)
        recording, start, length, rest = fields[1], fields[3], fields[4], fields[7:]
    start_s, length_s = line.time(start, "the start"), line.time(length, "the length")
    if start_s < 0 or length_s < 0:
        raise line.error(f"the start {start} or the length {length} is negative.")
    return _SpeakerLine(line, _decode(recording), start_s, start_s + length_s, rest)


def _have_confidences(lines: Sequence[_SpeakerLine]) -> bool:
    """Return True if whole numbers behind names are confidences, unlike 2 in ``Speaker 2``.

    They are where they are 0 or 1 and other lines have confidences with a decimal point; or where
    every line of several speakers has one, the same on all lines of a speaker.
    """
    numbers: dict[str, set[str]] = {}
    every, decimal = True, False
    for each in lines:
        name, behind = each.split_name()
        decimal = decimal or any(_DECIMAL.fullmatch(field) for field in behind)
        if len(behind) < 2 and len(name) > 1 and name[-1].isdecimal():
            numbers.setdefault(" ".join(name[:-1]), set()).add(name[-1])
        else:
            every = False
    if not all(own <= {"0", "1"} for own in numbers.values()):
        return False
    return decimal or (
        every and len(numbers) > 1 and all(len(own) == 1 for own in numbers.values())
    )


def _name(line: _SpeakerLine, *, confidences: bool) -> str:
    """Return the speaker's name, with the blanks in it."""
    name, behind = line.split_name()
    if len(behind) < 2 and len(name) > 1:
        if confidences and name[-1].isdecimal():
            name.pop()
        if any(_DECIMAL.fullmatch(part) for part in name):
            raise line.line.error(_PLACES)
    if len(name) > 1 and any(part.upper() == _NONE for part in name):
        raise line.line.error(_PLACES)
    return _decode(" ".join(name))


def _encode(text: str) -> str:
    return _ESCAPED.sub(lambda found: urllib.parse.quote(found[0], safe=""), text) or "%"


def _decode(field: str) -> str:
    return "" if field == "%" else urllib.parse.unquote(field)
