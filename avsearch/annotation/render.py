"""A timeline of turns as SVG, and contact sheets of faces as PNG."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from avsearch.annotation.turns import Turn
from avsearch.media.images.read import CAPTION_PX, to_png, with_caption
from avsearch.media.load import load_media
from indexer.types import Media

_ROW_PX: Final = 26
_TEXT_PX: Final = 300
_BARS_PX: Final = 660
_GREY: Final = "#9a9a9a"
# The colours of Okabe and Ito, which colour-blind people can tell apart.
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a900")
_TICKS_S: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_MAX_TICKS: Final = 8

_SIDE_PX: Final = 128  # of a face on a contact sheet
_COLUMNS: Final = 6
_MAX_VIEWS: Final = 24


class TimelineRow(NamedTuple):
    """A speaker of a timeline: the label of the turns, the text to show, and if it is known."""

    speaker: str
    text: str
    known: bool


def render_timeline(turns: Sequence[Turn], rows: Iterable[TimelineRow], duration_s: float) -> str:
    """Return turns as SVG, one row per speaker; known speakers have a colour, others are grey."""
    rows = list(rows)
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
        colour = _COLOURS[known.index(row.speaker) % len(_COLOURS)] if row.known else _GREY
        parts.append(f'<text x="8" y="{top + 18}">{html.escape(row.text)}</text>')
        for turn in turns:
            if turn.speaker == row.speaker:
                left, length = turn.start_s * scale, (turn.end_s - turn.start_s) * scale
                parts.append(
                    f'<rect x="{_TEXT_PX + left:.1f}" y="{top + 4}" '
                    f'width="{max(length, 0.5):.1f}" height="{_ROW_PX - 8}" fill="{colour}"/>'
                )
    step = next((each for each in _TICKS_S if duration_s / each <= _MAX_TICKS), _TICKS_S[-1])
    for time_s in range(0, int(duration_s) + 1, step):
        minutes, seconds = divmod(time_s, 60)
        hours = f"{minutes // 60}:{minutes % 60:02d}" if minutes >= 60 else f"{minutes}"
        parts.append(
            f'<text x="{_TEXT_PX + time_s * scale:.1f}" y="{len(rows) * _ROW_PX + 16}" fill="#555" '
            f'font-size="11" text-anchor="middle">{hours}:{seconds:02d}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def render_contact_sheet(views: Sequence[Media]) -> bytes:
    """Return a PNG of up to 24 views of a face, by time, each with its time below it."""
    tiles = []
    for view in sorted(views[:_MAX_VIEWS], key=lambda view: view.start_s):
        minutes, seconds = divmod(view.start_s, 60)
        time = f"{int(minutes) // 60}:{int(minutes) % 60:02d}:{seconds:04.1f}"
        tiles.append(with_caption(load_media(view), _SIDE_PX, time))
    columns = min(_COLUMNS, max(1, len(tiles)))
    blank = np.full((_SIDE_PX + CAPTION_PX, _SIDE_PX, 3), 255, np.uint8)
    tiles += [blank] * (-len(tiles) % columns or (not tiles))
    rows = [np.concatenate(tiles[at : at + columns], 1) for at in range(0, len(tiles), columns)]
    return to_png(np.concatenate(rows))
