"""Tables of turns with a header, such as CSV; ELAN's tab-delimited text; Audacity's labels.

In output for ELAN and Audacity a tab or a line break inside a label is ``%09`` and the like, and
``%`` is ``%25``.
"""

from __future__ import annotations

import csv
import io
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.columns import Columns, find_columns, is_header
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
    """Return turns as a label track: start, end, speaker, without the transcript."""
    return "".join(
        f"{turn.start_s:.6f}\t{turn.end_s:.6f}\t{_encode(turn.speaker)}\n" for turn in turns
    )


def is_labels(text: str) -> bool:
    """Return True if the first line of a text that is no comment begins with two times."""
    first = next((each.text for each in numbered_lines(text) if each.text[0] not in "\\#"), "")
    return bool(re.match(r"\s*-?\d[\d.,:]*(?: *\t\s*\S| +-?\d)", first))


def read_labels(text: str) -> Diarization:
    """Return the turns of a label track: start, end and speaker, separated by tabs or blanks.

    Lines that begin with a backslash, the frequencies of a spectral selection, are ignored. A label
    of WhisperX, ``[[SPEAKER_00]]what was said``, has the transcript too.

    Raises:
        BadRequest: A line is no label; names the line.
    """
    turns = []
    for line in numbered_lines(text):
        if line.text.startswith(("\\", "#")):
            continue
        found = _LABEL.fullmatch(line.text)
        cells = line.text.split("\t", 2) if "\t" in line.text else found and found.groups()
        if not cells or len(cells) < 3:
            raise line.error("a label has a start, an end and a name, with tabs between them.")
        times = [line.time(cell, "the time") for cell in cells[:2]]
        marked = _WHISPERX.fullmatch(cells[2] or "")
        speaker, words = marked.groups() if marked else (_decode(cells[2] or ""), None)
        turns.append(Turn(*_require_order(line, *times), speaker, words))
    return build_diarization(turns)


def write_elan(turns: Iterable[Turn]) -> str:
    """Return turns as text with a header for ELAN: one tier per speaker, and the transcript."""
    rows = [ELAN_COLUMNS] + [
        (
            _encode(turn.speaker),
            f"{turn.start_s:.6f}",
            f"{turn.end_s:.6f}",
            _encode(turn.speaker if turn.text is None else turn.text),
        )
        for turn in turns
    ]
    return "".join("\t".join(row) + "\n" for row in rows)


def is_table(text: str) -> bool:
    """Return True if a text begins with a header that names a column of starts or of tiers."""
    header = _header(text)
    return header is not None and is_header(header.names)


def read_table(text: str, choice: RecordingChoice) -> Diarization:
    """Return the turns of a table with a header, its columns in any order.

    A row has a start, and an end or a duration, in the units that the header names, and a speaker:
    by name, by the participant or the tier of ELAN, or by the column of a tier in which it has a
    text. If a column names the recording, the rows of the chosen one are read.

    Raises:
        BadRequest: The table lacks a column, or a row is wrong; names the line.
    """
    header = _header(text)
    if header is None:
        raise BadRequest("it is empty.")
    columns = find_columns(tuple(header.names), header.rate)
    if not columns.has_speakers:
        raise BadRequest(
            f"no column is called speaker; there are {', '.join(map(repr, header.names[:10]))}."
        )
    rows = list(_rows(text, header))
    recording, notes = None, list[str]()
    place = columns.at.get("recording")
    if place is not None and any(row.cells[place] for row in rows):
        recording, notes = choice.select([row.cells[place] for row in rows if row.cells[place]])
        rows = [row for row in rows if row.cells[place] in ("", recording)]
    return build_diarization(_turns(columns, rows), recording, notes)


class _Header(NamedTuple):
    """The header of a table.

    ``rate`` is the number of frames a second of the media, if the lines above give it. The rows of
    a ``bare`` table have no quotes around cells, as in ELAN's text.
    """

    line: Line
    names: list[str]
    delimiter: str
    rate: float | None
    bare: bool


class _Row(NamedTuple):
    line: Line
    cells: list[str]


def _header(text: str) -> _Header | None:
    """Return the first line that is no comment; None if there is none."""
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
        return _Header(line, names, delimiter, rate, bare)
    return None


def _rows(text: str, header: _Header) -> Iterator[_Row]:
    """Yield the rows below a header that are neither blank nor a comment."""
    count = len(header.names)
    for number, cells in _cells(text, header):
        row = _Row(Line(number, ""), cells)
        if not any(cells) or (cells[0].startswith("#") and not any(cells[1:])):
            continue
        if len(cells) < count:
            raise row.line.error(f"it has {len(cells)} cells where the header has {count}.")
        if any(cells[count:]):
            raise row.line.error(
                f"it has {len(cells)} cells where the header has {count}; put a text that holds "
                f"{header.delimiter!r} in quotes."
            )
        yield row


def _cells(text: str, header: _Header) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line below a header."""
    first = header.line.number
    if header.bare:
        for line in numbered_lines(text):
            if line.number > first:
                yield line.number, [_decode(cell) for cell in line.text.split("\t")]
        return
    below = io.StringIO(text, newline="")
    for _ in range(first):
        below.readline()
    reader = csv.reader(below, delimiter=header.delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            yield first + reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        line = Line(first + reader.line_num, "")
        raise line.error(f"it is no row of a table ({error}).") from error


def _turns(columns: Columns, rows: Sequence[_Row]) -> list[Turn]:
    """Return the turns of rows; a row of a wide table of ELAN has one for each tier with a text."""
    speaker, text = columns.at.get("speaker"), columns.at.get("text")
    turns: list[Turn] = []
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for row in rows:
        if speaker is None:
            for tier, words in _tiers(columns, row):
                tiers.setdefault(tier, []).append((*_times(columns, row), words))
            continue
        words, name = "" if text is None else row.cells[text], row.cells[speaker]
        turns.append(Turn(*_times(columns, row), name, None if words == name else words))
    return turns if speaker is not None else turns_of_tiers(tiers)


def _times(columns: Columns, row: _Row) -> tuple[float, float]:
    """Return the start and the end of a row in seconds."""
    start, other = (columns.at[role] for role in ("start", columns.ending))
    start_s = row.line.time(row.cells[start], "the start", columns.units["start"])
    end_s = row.line.time(row.cells[other], f"the {columns.ending}", columns.units[columns.ending])
    if columns.ending == "duration":
        end_s += start_s
    return _require_order(row.line, start_s, end_s)


def _require_order(line: Line, start_s: float, end_s: float) -> tuple[float, float]:
    if not 0 <= start_s <= end_s:
        raise line.error(f"{start_s:g} s to {end_s:g} s is no range of time.")
    return start_s, end_s


def _tiers(columns: Columns, row: _Row) -> Iterator[tuple[str, str]]:
    """Yield the speakers that have an annotation in a row, with the annotation."""
    places = [columns.at[role] for role in ("participant", "tier") if role in columns.at]
    if places:
        names = [row.cells[place] for place in places if row.cells[place]]
        text = columns.at.get("text")
        yield next(iter(names), ""), "" if text is None else row.cells[text]
        return
    for at in columns.others:
        if row.cells[at]:
            yield columns.names[at], row.cells[at]


def _encode(text: str) -> str:
    return _ESCAPED.sub(lambda found: urllib.parse.quote(found[0], safe=""), text)


def _decode(cell: str) -> str:
    return urllib.parse.unquote(cell.strip())
