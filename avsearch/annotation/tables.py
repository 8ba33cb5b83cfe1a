"""Label tracks of Audacity and tab-delimited text of ELAN: a turn a line, columns apart by tabs.

A tab or the end of a line inside a label is written as ``%09`` and the like, ``%`` as ``%25``.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from avsearch.annotation.lines import Line, numbered_lines
from avsearch.annotation.turns import Diarization, Turn, diarization
from indexer.errors import BadRequest, printable

ELAN_COLUMNS: Final = ("Tier", "Begin Time - ss.msec", "End Time - ss.msec", "Annotation")
_ESCAPED: Final = re.compile(r"[\t%\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]|^\s|\s$")


def write_audacity(turns: Iterable[Turn]) -> str:
    """Turns as a label track: start, end, speaker. A text that was spoken has no place in it."""
    return "".join(
        f"{turn.start_s:.6f}\t{turn.end_s:.6f}\t{_cell(turn.speaker)}\n" for turn in turns
    )


def read_audacity(path: Path) -> Diarization:
    """The turns of a label track; BadRequest, with the line, for a file that is none.

    Lines that begin with a backslash, the frequencies of a spectral selection, are passed over.
    """
    turns = []
    for line in numbered_lines(path):
        if line.text.startswith("\\"):
            continue
        cells = line.text.split("\t")
        if len(cells) < 3:
            raise line.wrong("a label has a start, an end and a name, with tabs between them.")
        turns.append(_turn(line, cells[0], cells[1], cells[2]))
    return diarization(turns)


def write_elan(turns: Iterable[Turn]) -> str:
    """Turns as ELAN imports them, with a header: a tier a speaker, its text or name in it."""
    rows = [ELAN_COLUMNS] + [
        (
            _cell(turn.speaker),
            f"{turn.start_s:.6f}",
            f"{turn.end_s:.6f}",
            _cell(turn.speaker if turn.text is None else turn.text),
        )
        for turn in turns
    ]
    return "".join("\t".join(row) + "\n" for row in rows)


def read_elan(path: Path) -> Diarization:
    """The turns of a table with a header that names a tier, a beginning and an end, in any order.

    Times are seconds or ``hh:mm:ss.ms``. BadRequest, with the line, for a file that is none.
    """
    lines = numbered_lines(path)
    header = next(lines, None)
    if header is None:
        raise BadRequest(f"{printable(path)} is empty.")
    names = [name.strip() for name in header.text.split("\t")]
    places = [_column(header, names, word) for word in ("tier", "begin", "end")]
    texts = [at for at, name in enumerate(names) if name.lower() == "annotation"]
    turns = []
    for line in lines:
        cells = line.text.split("\t")
        if len(cells) < len(names):
            raise line.wrong(f"it has {len(cells)} cells where the header has {len(names)}.")
        turn = _turn(line, cells[places[1]], cells[places[2]], cells[places[0]])
        said = _text(cells[texts[0]]) if texts else None
        turns.append(turn._replace(text=None if said == turn.speaker else said))
    return diarization(turns)


def _column(header: Line, names: Sequence[str], word: str) -> int:
    """The first column whose name begins with a word, one in seconds before others."""
    fitting = [at for at, name in enumerate(names) if name.lower().startswith(word)]
    if not fitting:
        raise header.wrong(f"no column is named {word!r}; export with the names of columns.")
    return next((at for at in fitting if "ss.msec" in names[at]), fitting[0])


def _turn(line: Line, start: str, end: str, speaker: str) -> Turn:
    start_s, end_s = clock(line, start), clock(line, end)
    if not 0 <= start_s <= end_s:
        raise line.wrong(f"{start} to {end} is no range of time.")
    return Turn(start_s, end_s, _text(speaker))


def clock(line: Line, text: str) -> float:
    """Seconds of ``ss.ms``, ``mm:ss.ms`` or ``hh:mm:ss.ms``."""
    seconds = 0.0
    for part in text.strip().split(":"):
        seconds = 60 * seconds + line.number(part, "the time")
    return seconds


def _cell(text: str) -> str:
    return _ESCAPED.sub(lambda found: urllib.parse.quote(found[0], safe=""), text)


def _text(cell: str) -> str:
    return urllib.parse.unquote(cell.strip())
