"""RTTM: a SPEAKER line a turn, ten fields apart by spaces.

A space in a name is written as ``%20``, and so are the other characters that no field can hold;
reading turns them back. NIST, The 2009 (RT-09) Rich Transcription Evaluation Plan, appendix A.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from avsearch.annotation.lines import Line, numbered_lines
from avsearch.annotation.turns import Diarization, Turn, diarization
from indexer.errors import BadRequest, printable

_KIND: Final = "SPEAKER"
_NONE: Final = "<NA>"
_ESCAPED: Final = re.compile(r"[\s%\x00-\x1f\x7f]|^;")
_NAME: Final = 7  # the place of the speaker's name


def read_rttm(path: Path, recording: str | None = None) -> Diarization:
    """The turns of one recording of an RTTM file.

    ``recording`` chooses among several by their ids; where there is one only it is taken
    whatever its id, with a note. Raises BadRequest, with the line, for one that is not RTTM.
    """
    by_id: dict[str, list[Turn]] = {}
    for line in numbered_lines(path):
        fields = line.text.split()
        if fields and fields[0] == _KIND:
            file_id, turn = _turn(line, fields)
            by_id.setdefault(file_id, []).append(turn)
    if not by_id:
        raise BadRequest(f"{printable(path)} has no SPEAKER line; it is empty or not RTTM.")
    chosen, notes = _chosen(path, list(by_id), recording)
    return diarization(by_id[chosen], chosen, notes)


def write_rttm(turns: Iterable[Turn], recording: str) -> str:
    """Turns as RTTM; the text that was spoken has no place in it."""
    return "".join(
        f"{_KIND} {_field(recording)} 1 {seconds(turn.start_s)} "
        f"{seconds(turn.end_s - turn.start_s)} {_NONE} {_NONE} {_field(turn.speaker)} "
        f"{_NONE} {_NONE}\n"
        for turn in turns
    )


def seconds(value: float) -> str:
    """Seconds with as many digits as they have, three at least and six at most."""
    whole, _, part = f"{value:.6f}".partition(".")
    return f"{whole}.{part.rstrip('0').ljust(3, '0')}"


def _turn(line: Line, fields: list[str]) -> tuple[str, Turn]:
    if len(fields) < _NAME + 1:
        raise line.wrong(f"a SPEAKER line has ten fields, and this one {len(fields)}.")
    start_s, length_s = line.number(fields[3], "the start"), line.number(fields[4], "the length")
    if start_s < 0 or length_s < 0:
        raise line.wrong(f"the start {fields[3]} or the length {fields[4]} is negative.")
    name = _name(line, fields)
    return _text(fields[1]), Turn(start_s, start_s + length_s, _text(name))


def _name(line: Line, fields: list[str]) -> str:
    """The name; one with spaces in it can be told by what stands behind it."""
    if len(fields) <= _NAME + 3:
        return fields[_NAME]
    if fields[-2:] != [_NONE, _NONE]:
        raise line.wrong(
            f"it has {len(fields)} fields and not ten; write a space in a name as %20."
        )
    return " ".join(fields[_NAME:-2])


def _chosen(path: Path, ids: list[str], recording: str | None) -> tuple[str, list[str]]:
    if recording is None or recording in ids:
        if recording is None and len(ids) > 1:
            raise BadRequest(f"{printable(path)} is of {len(ids)} recordings; say which.")
        return recording or ids[0], []
    if len(ids) > 1:
        raise BadRequest(
            f"{printable(path)} is of {', '.join(ids[:5])}{' ...' if len(ids) > 5 else ''} and not "
            f"of {recording}; name another file, or give the recording one of these names."
        )
    return ids[0], [f"The RTTM says it is of {ids[0]!r}; it was taken for {recording!r}."]


def _field(text: str) -> str:
    return _ESCAPED.sub(lambda found: urllib.parse.quote(found[0], safe=""), text) or "%"


def _text(field: str) -> str:
    return "" if field == "%" else urllib.parse.unquote(field)
