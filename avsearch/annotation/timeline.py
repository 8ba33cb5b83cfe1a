"""A picture of who speaks when, as SVG: a row a speaker, a bar a turn."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final, NamedTuple

from avsearch.annotation.turns import Turn

_ROW_PX: Final = 26
_TEXT_PX: Final = 300
_BARS_PX: Final = 660
_GREY: Final = "#9a9a9a"
# Okabe and Ito's colours, which people who do not see red or green can tell apart.
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a900")
_TICKS_S: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_TICKS: Final = 8  # at most


class Row(NamedTuple):
    """A speaker of the picture: what turns call them, what is written, whether they are known."""

    speaker: str
    text: str
    known: bool


def timeline(turns: Sequence[Turn], rows: Sequence[Row], duration_s: float) -> str:
    """Turns as SVG; known speakers have a colour each, the others are grey."""
    width, height = _TEXT_PX + _BARS_PX + 20, _ROW_PX * (len(rows) + 1)
    scale = _BARS_PX / max(duration_s, 1e-6)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    known = [row.speaker for row in rows if row.known]
    for number, row in enumerate(rows):
        top = number * _ROW_PX
        place = known.index(row.speaker) % len(_COLOURS) if row.known else None
        colour = _GREY if place is None else _COLOURS[place]
        parts.append(f'<text x="8" y="{top + 18}">{html.escape(row.text)}</text>')
        parts += [_bar(turn, top, scale, colour) for turn in turns if turn.speaker == row.speaker]
    parts += _axis(duration_s, scale, len(rows) * _ROW_PX)
    return "\n".join([*parts, "</svg>\n"])


def _bar(turn: Turn, top: int, scale: float, colour: str) -> str:
    left, length = _TEXT_PX + turn.start_s * scale, (turn.end_s - turn.start_s) * scale
    return (
        f'<rect x="{left:.1f}" y="{top + 4}" width="{max(length, 0.5):.1f}" '
        f'height="{_ROW_PX - 8}" fill="{colour}"/>'
    )


def _axis(duration_s: float, scale: float, top: int) -> list[str]:
    step = next((each for each in _TICKS_S if duration_s / each <= _TICKS), _TICKS_S[-1])
    return [
        f'<text x="{_TEXT_PX + time_s * scale:.1f}" y="{top + 16}" fill="#555" font-size="11" '
        f'text-anchor="middle">{_clock(time_s)}</text>'
        for time_s in range(0, int(duration_s) + 1, step)
    ]


def _clock(time_s: int) -> str:
    minutes, seconds = divmod(time_s, 60)
    return (
        f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        if minutes >= 60
        else f"{minutes}:{seconds:02d}"
    )
