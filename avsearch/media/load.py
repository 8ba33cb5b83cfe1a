"""The content of one media, decoded already or read again from its file."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from avsearch.media.audio import read_audio
from avsearch.media.faces import crop_face
from avsearch.media.file_types import kind_of
from avsearch.media.images.pixels import shrink
from avsearch.media.images.read import read_image
from avsearch.media.video import read_frame
from indexer.errors import BadRequest, printable
from indexer.types import Media


def load_media(media: Media) -> NDArray[Any]:
    """Return the input of an embedder, the same as the extractor returns for the same media.

    Returns:
        For a face uint8 (height, width, 3) RGB of at most 256 pixels a side: the square around its
        box, or the whole image. For a voice float32 (samples,) mono at 16 kHz of its range of time.

    Raises:
        RefusedFile: The file cannot be read.
        BadRequest: The box or the time is not inside the file.
    """
    if media.data is not None:
        return media.data
    if media.modality == "voice":
        return read_audio(media.path, media.start_s, media.end_s)
    if kind_of(media.path) == "video":
        rgb = read_frame(media.path, media.start_s)
    else:
        rgb = read_image(media.path)
    box = media.box
    if box is None:
        return shrink(rgb)
    height, width = rgb.shape[:2]
    if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
        corners = ", ".join(f"{corner:g}" for corner in box)
        raise BadRequest(
            f"{printable(media.path)}: the box ({corners}) is not inside the image of "
            f"{width} x {height} pixels; give left, top, right, bottom in pixels."
        )
    return shrink(crop_face(rgb, box))
