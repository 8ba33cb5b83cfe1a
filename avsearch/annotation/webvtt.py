"""WebVTT: a cue a turn, the speaker as its voice. W3C, WebVTT: The Web Video Text Tracks Format.

Its clock knows milliseconds and no more.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from avsearch.annotation.lines import Line, numbered_lines, read_text
from avsearch.annotation.tables import clock
from avsearch.annotation.turns import Diarization, Turn, diarization
from indexer.errors import BadRequest, printable

_TIMES: Final = re.compile(r"^\s*([\d:.]+)\s+-->\s+([\d:.]+)")
_VOICE: Final = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]*)>(.*)", re.DOTALL)
_TAG: Final = re.compile(r"</?[^>]*>")


def write_webvtt(turns: Iterable[Turn], shown: Callable[[str], str] = str) -> str:
    """Turns as captions: what was said where that is known, else the name alone.

    ``shown`` gives the name that viewers read for a speaker.
    """
    cues = [
        f"{_clock(turn.start_s)} --> {_clock(turn.end_s)}\n"
        f"<v {_one_line(shown(turn.speaker))}>{_one_line(turn.text or shown(turn.speaker))}\n"
        for turn in turns
        if round(turn.end_s * 1000) > round(turn.start_s * 1000)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def read_webvtt(path: Path) -> Diarization:
    """The turns of captions with voices; others are left out, with a note.

    Raises BadRequest for a file that is none.
    """
    if not read_text(path).startswith("WEBVTT"):
        raise BadRequest(f"{printable(path)} does not begin with WEBVTT and is no such file.")
    cues = list(_cues(path))
    turns = [turn for turn in cues if turn is not None]
    silent = len(cues) - len(turns)
    notes = [f"cues that name no voice, left out: {silent}."] if silent else []
    return diarization(turns, notes=notes)


def _cues(path: Path) -> Iterable[Turn | None]:
    times: tuple[float, float] | None = None
    for line in numbered_lines(path):
        found = _TIMES.match(line.text)
        if found:
            times = _range(line, found)
        elif times is not None:
            yield _cue(*times, line.text)
            times = None


def _range(line: Line, found: re.Match[str]) -> tuple[float, float]:
    start_s, end_s = clock(line, found[1]), clock(line, found[2])
    if end_s < start_s:
        raise line.wrong("the cue ends before it begins.")
    return start_s, end_s


def _cue(start_s: float, end_s: float, text: str) -> Turn | None:
    voice = _VOICE.match(text)
    if voice is None:
        return None
    speaker, said = (html.unescape(part).strip() for part in (voice[1], _TAG.sub("", voice[2])))
    return Turn(start_s, end_s, speaker, None if said == speaker else said)


def _clock(time_s: float) -> str:
    minutes, milliseconds = divmod(round(time_s * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"


def _one_line(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False)
