"""Tables of turns: any with a header, such as CSV; ELAN's tab-delimited text; Audacity's labels.

In what is written for ELAN and Audacity a tab or the end of a line inside a label is ``%09`` and
the like, and ``%`` is ``%25``.
"""

from __future__ import annotations

import csv
import io
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.columns import Columns, columns_of, is_time_head
from avsearch.annotation.formats.lines import Line, numbered_lines
from avsearch.annotation.formats.tiers import turns_of_tiers
from avsearch.annotation.turns import Diarization, Turn, build_diarization
from indexer.errors import BadRequest

ELAN_COLUMNS: Final = ("Tier", "Begin Time - ss.msec", "End Time - ss.msec", "Annotation")
_ESCAPED: Final = re.compile(r"[\t%\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]|^\s|\s$")
_DELIMITERS: Final = "\t;,|"
_COMMENT: Final = re.compile(r'\s*"?#|sep=.\s*$')  # Excel names its delimiter in a first line
_FRAME_MS: Final = re.compile(r"ms per sample: (\d+(?:\.\d+)?)")  # ELAN, of the linked media
_WHISPERX: Final = re.compile(r"\[\[(.+?)\]\](.*)", re.DOTALL)
_LABEL: Final = re.compile(r"\s*([-\d.,:]+)\s+([-\d.,:]+)(?:\s+(.*))?", re.DOTALL)


def write_audacity(turns: Iterable[Turn]) -> str:
    """Return turns as a label track: start, end, speaker. What was said has no place in it."""
    return "".join(
        f"{turn.start_s:.6f}\t{turn.end_s:.6f}\t{_cell(turn.speaker)}\n" for turn in turns
    )


def is_labels(text: str) -> bool:
    """Return whether the first line of a text that is no comment begins with two cells."""
    first = next((each.text for each in numbered_lines(text) if each.text[0] not in "\\#"), "")
    return bool(re.match(r"\s*-?\d[\d.,:]*(?: *\t\s*\S| +-?\d)", first))


def read_labels(text: str) -> Diarization:
    """Return the turns of a label track: a start, an end and a speaker, apart by tabs or blanks.

    Lines that begin with a backslash, the frequencies of a spectral selection, are passed over.
    A label of WhisperX, ``[[SPEAKER_00]]what was said``, is both. BadRequest, with the line, for
    a text that is none.
    """
    turns = []
    for line in numbered_lines(text):
        if line.text.startswith(("\\", "#")):
            continue
        found = _LABEL.fullmatch(line.text)
        cells = line.text.split("\t", 2) if "\t" in line.text else found and found.groups()
        if not cells or len(cells) < 3:
            raise line.wrong("a label has a start, an end and a name, with tabs between them.")
        times = [line.time(cell, "the time") for cell in cells[:2]]
        said = _WHISPERX.fullmatch(cells[2] or "")
        speaker, words = said.groups() if said else (_text(cells[2] or ""), None)
        turns.append(Turn(*_in_order(line, *times), speaker, words))
    return build_diarization(turns)


def write_elan(turns: Iterable[Turn]) -> str:
    """Return turns as ELAN imports them, with a header: a tier a speaker, and what they say."""
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


def is_table(text: str) -> bool:
    """Return whether a text begins with a header that names a column of beginnings or of tiers."""
    head = _head(text)
    return head is not None and is_time_head(head.names)


def read_table(text: str, wanted: RecordingChoice) -> Diarization:
    """Return the turns of a table with a header, its columns in any order.

    A row has a start, and an end or a duration, in the units that the header names, and a speaker:
    by name, by the participant or the tier of ELAN, or by the column of a tier in which it has a
    text. Where a column names the recording, those of the wanted one are read. BadRequest, with
    the line, for a table that is none.
    """
    head = _head(text)
    if head is None:
        raise BadRequest("it is empty.")
    columns = columns_of(tuple(head.names), head.rate)
    if not columns.names_speakers:
        raise BadRequest(
            f"no column is called speaker; there are {', '.join(map(repr, head.names[:10]))}."
        )
    rows = list(_rows(text, head))
    recording, notes = None, list[str]()
    place = columns.place("recording")
    if place is not None and any(row.cells[place] for row in rows):
        named = [row.cells[place] for row in rows if row.cells[place]]
        recording, notes = wanted.among(named)
        rows = [row for row in rows if row.cells[place] in ("", recording)]
    return build_diarization(_turns(columns, rows), recording, notes)


class _Head(NamedTuple):
    """The header of a table: its line, its names, and how its rows are written.

    ``rate`` is the number of frames a second of the media, where the lines above say it.
    ``bare`` rows have no quotes around cells, as ELAN's text has none.
    """

    line: Line
    names: list[str]
    delimiter: str
    rate: float | None
    bare: bool


class _Row(NamedTuple):
    line: Line
    cells: list[str]


def _head(text: str) -> _Head | None:
    """Return the first line that is no comment; None where there is none."""
    rate = None
    for line in numbered_lines(text):
        found = _FRAME_MS.search(line.text)
        if found and float(found[1]):
            rate = 1000 / float(found[1])
        if _COMMENT.match(line.text):
            continue
        delimiter = max(_DELIMITERS, key=line.text.count)
        names = [name.strip() for name in next(csv.reader([line.text], delimiter=delimiter))]
        of_elan = "Tier" in names or any(" - " in name for name in names)
        bare = delimiter == "\t" and '"' not in line.text and of_elan
        return _Head(line, names, delimiter, rate, bare)
    return None


def _rows(text: str, head: _Head) -> Iterator[_Row]:
    """Yield the rows below a header that are neither blank nor a comment, with as many cells."""
    count = len(head.names)
    for at, cells in _cells(text, head):
        row = _Row(Line(at, ""), cells)
        if not any(row.cells) or (row.cells[0].startswith("#") and not any(row.cells[1:])):
            continue
        if len(cells) < count:
            raise row.line.wrong(f"it has {len(cells)} cells where the header has {count}.")
        if any(row.cells[count:]):
            raise row.line.wrong(
                f"it has {len(cells)} cells where the header has {count}; put a text that holds "
                f"{head.delimiter!r} in quotes."
            )
        yield row


def _cells(text: str, head: _Head) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line below a header."""
    if head.bare:
        for line in numbered_lines(text):
            if line.at > head.line.at:
                yield line.at, [_text(cell) for cell in line.text.split("\t")]
        return
    below = io.StringIO(text, newline="")
    for _ in range(head.line.at):
        below.readline()
    reader = csv.reader(below, delimiter=head.delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            yield head.line.at + reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        at = head.line.at + reader.line_num
        raise BadRequest(f"line {at}: it is no row of a table ({error}).") from error


def _turns(columns: Columns, rows: Sequence[_Row]) -> list[Turn]:
    """Return the turns of rows; a row of a wide table of ELAN has one for each tier with a text."""
    speaker, text = columns.place("speaker"), columns.place("text")
    if speaker is not None:
        return [
            Turn(*_times(columns, row), row.cells[speaker], _words(row, text, speaker))
            for row in rows
        ]
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for row in rows:
        for tier, said in _tiers_of(columns, row):
            tiers.setdefault(tier, []).append((*_times(columns, row), said))
    return turns_of_tiers(tiers)


def _times(columns: Columns, row: _Row) -> tuple[float, float]:
    """Return the start and the end of a row in seconds."""
    start, other = (columns.at[role] for role in ("start", columns.ending))
    start_s = row.line.time(row.cells[start], "the start", columns.units["start"])
    end_s = row.line.time(row.cells[other], f"the {columns.ending}", columns.units[columns.ending])
    if columns.ending == "duration":
        end_s += start_s
    return _in_order(row.line, start_s, end_s)


def _in_order(line: Line, start_s: float, end_s: float) -> tuple[float, float]:
    if not 0 <= start_s <= end_s:
        raise line.wrong(f"{start_s:g} s to {end_s:g} s is no range of time.")
    return start_s, end_s


def _words(row: _Row, text: int | None, speaker: int) -> str | None:
    """Return the words of a row; None where they are the name of the speaker."""
    said = "" if text is None else row.cells[text]
    return None if said == row.cells[speaker] else said


def _tiers_of(columns: Columns, row: _Row) -> Iterator[tuple[str, str]]:
    """Yield the speakers that have an annotation in a row, and the annotation."""
    names = [columns.place(role) for role in ("participant", "tier")]
    if any(place is not None for place in names):
        called = [row.cells[place] for place in names if place is not None and row.cells[place]]
        text = columns.place("text")
        yield next(iter(called), ""), "" if text is None else row.cells[text]
        return
    for at in columns.others:
        if row.cells[at]:
            yield columns.names[at], row.cells[at]


def _cell(text: str) -> str:
    return _ESCAPED.sub(lambda found: urllib.parse.quote(found[0], safe=""), text)


def _text(cell: str) -> str:
    return urllib.parse.unquote(cell.strip())
