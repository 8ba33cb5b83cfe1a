"""A contact sheet: the best views of a speaker's face, each with its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from avsearch.media.load import load_media
from avsearch.media.pictures.images import CAPTION_PX, as_png, captioned
from indexer.types import Media

_SIDE_PX: Final = 128
_COLUMNS: Final = 6
_MOST: Final = 24


def contact_sheet(views: Sequence[Media]) -> bytes:
    """A PNG of up to 24 views, by time, with hours, minutes and seconds below each."""
    shown = sorted(views[:_MOST], key=lambda view: view.start_s)
    tiles = [captioned(load_media(view), _SIDE_PX, _clock(view.start_s)) for view in shown]
    blank = np.full((_SIDE_PX + CAPTION_PX, _SIDE_PX, 3), 255, np.uint8)
    columns = min(_COLUMNS, max(1, len(tiles)))
    tiles += [blank] * (-len(tiles) % columns or (not tiles))
    rows = [np.concatenate(tiles[at : at + columns], 1) for at in range(0, len(tiles), columns)]
    return as_png(np.concatenate(rows))


def _clock(time_s: float) -> str:
    minutes, seconds = divmod(time_s, 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02d}:{seconds:04.1f}"
