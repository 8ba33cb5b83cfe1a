"""The content of one media, decoded already or read again from its file."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from avsearch.media.audio import read_sound
from avsearch.media.faces import crop_face
from avsearch.media.file_types import kind_of
from avsearch.media.pictures.images import Picture, read_image, shrink
from avsearch.media.video import read_frame
from indexer.errors import BadRequest, printable
from indexer.types import Box, Media


def load_media(media: Media) -> NDArray[Any]:
    """What an embedder is given: the same as the extractor hands on for the same media.

    A face as uint8 (height, width, 3) RGB of at most 256 pixels a side: the square around
    its box, or the whole picture where it has none. A voice as float32 (samples,) mono at
    16 kHz: its range of time. Raises RefusedFile for a file that cannot be read, BadRequest
    for a box or a time outside of it.
    """
    if media.data is not None:
        return media.data
    if media.modality == "voice":
        return read_sound(media.path, media.start_s, media.end_s)
    rgb = _picture(media)
    if media.box is None:
        return shrink(rgb)
    _require_inside(media, media.box, rgb)
    return shrink(crop_face(rgb, media.box))


def _picture(media: Media) -> Picture:
    if kind_of(media.path) == "video":
        return read_frame(media.path, media.start_s)
    return read_image(media.path)


def _require_inside(media: Media, box: Box, rgb: Picture) -> None:
    height, width = rgb.shape[:2]
    if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
        corners = ", ".join(f"{corner:g}" for corner in box)
        raise BadRequest(
            f"{printable(media.path)}: the box ({corners}) is not inside the picture of "
            f"{width} x {height} pixels; give left, top, right, bottom in pixels."
        )
