"""Media through a trained network: read on all cores, as many rows at a time as fill them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avsearch.cores import on_all_cores
from avsearch.media.load import load_media
from avsearch.models.blocks import fuse_norms
from avsearch.models.frontends import face_pixels, voice_windows
from indexer.errors import RefusedFile
from indexer.types import MODALITIES, Media, Modality

Function = Literal["embed", "feature_map"]  # of a network, for each modality

_ROWS = 32  # rows of one forward pass: enough to fill a core, little memory


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """What a network made of media: r rows, of which one or more belong to an item.

    ``refusals`` maps the positions of media that cannot be read to a reason.
    """

    values: NDArray[np.float32]  # (r, ...), empty where nothing could be read
    places: NDArray[np.int64]  # (r,) the position of each row's item; rows of one lie together
    refusals: Mapping[int, str]


@dataclasses.dataclass(frozen=True, slots=True)
class _Chunk:
    """The input of one forward pass: (B,) which item each row is of, and the B rows."""

    modality: Modality
    places: NDArray[np.int64]
    rows: Sequence[NDArray[Any]]


class Forward:
    """A network on a device, ready for media."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.device = device
        fuse_norms(network)
        self.network = cast(Any, network.to(device))

    def run(self, function: Function, media: Sequence[Media]) -> Rows:
        """``embed_face`` and ``embed_voice``, or the maps, of media: a row a face or a window."""
        read = on_all_cores(self._read, media)
        refusals = {at: rows for at, rows in enumerate(read) if isinstance(rows, str)}
        taken = [(at, rows) for at, rows in enumerate(read) if not isinstance(rows, str)]
        chunks = [
            chunk
            for modality in MODALITIES
            for chunk in _chunks(
                modality, [each for each in taken if media[each[0]].modality == modality]
            )
        ]
        if not chunks:
            return Rows(np.empty((0, 0), np.float32), np.empty(0, np.int64), refusals)
        values = np.concatenate(self._forward_all(function, chunks))
        return Rows(values, np.concatenate([chunk.places for chunk in chunks]), refusals)

    def _read(self, item: Media) -> Sequence[NDArray[Any]] | str:
        """The network's inputs for one item, or why there are none.

        They are one face, or one or more windows of a voice.
        """
        try:
            data = load_media(item)
        except RefusedFile as error:
            return error.reason
        if item.modality == "face":
            return [face_pixels(data, self.network.settings.face_size)]
        return list(voice_windows(data, self.network.settings.voice_seconds))

    def _forward_all(
        self, function: Function, chunks: Sequence[_Chunk]
    ) -> list[NDArray[np.float32]]:
        def forward(chunk: _Chunk) -> NDArray[np.float32]:
            return self._forward(function, chunk)

        if self.device.type == "cpu" and len(chunks) > 1:
            return on_all_cores(forward, chunks)
        return [forward(chunk) for chunk in chunks]

    @torch.inference_mode()
    def _forward(self, function: Function, chunk: _Chunk) -> NDArray[np.float32]:
        call: Callable[[Tensor], Tensor] = getattr(self.network, f"{function}_{chunk.modality}")
        rows = torch.from_numpy(np.stack(chunk.rows)).to(self.device)
        return cast(NDArray[np.float32], call(rows).cpu().numpy())


def _chunks(
    modality: Modality, taken: Sequence[tuple[int, Sequence[NDArray[Any]]]]
) -> Iterator[_Chunk]:
    """The rows of items of one modality, as many at a time as a forward pass takes."""
    found = [(place, row) for place, rows in taken for row in rows]
    for start in range(0, len(found), _ROWS):
        places, rows = zip(*found[start : start + _ROWS], strict=True)
        yield _Chunk(modality, np.array(places), rows)
