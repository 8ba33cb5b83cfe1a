"""Embed media with a network of any runtime: decode on all cores, then run full forward passes.

The module handles arrays and needs no torch. :mod:`avsearch.models.onnx_embedder` and
:mod:`avsearch.models.torch_embedder` run the passes.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from avsearch.media.load import load_media
from avsearch.models.inputs import face_pixels, voice_windows
from avsearch.runtime.threads import on_all_cores
from indexer.errors import RefusedFile
from indexer.types import MODALITIES, Embedded, Media, Modality, Space, Vectors

Function = Literal["embed", "feature_map"]  # of a network, for each modality

# The most rows of a forward pass: few on a core, so that their maps stay in its cache; enough to
# fill a GPU.
_CORE_ROWS, _DEVICE_ROWS = 8, 32


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """The outputs of a network for media: r rows, one or more for each item.

    Attributes:
        values: (r, ...) float32, empty if nothing could be read.
        places: (r,) int64, the position of each row's item; rows of one item are adjacent.
        refusals: The reason for each position whose media cannot be read.
    """

    values: NDArray[np.float32]
    places: NDArray[np.int64]
    refusals: Mapping[int, str]


class MediaEmbedder(abc.ABC):
    """Embeds faces and voices with a trained network; a subclass runs the forward passes.

    Attributes:
        space: The embedding space.
        record: The checkpoint's record of the training.
        face_size: Pixels a side of the network's faces.
        voice_seconds: Length of the network's voices.
        on_cores: True if several passes at once, a core each, are quicker than one after another.
    """

    space: Space
    record: dict[str, Any]
    face_size: int
    voice_seconds: float
    on_cores: bool

    @abc.abstractmethod
    def run(
        self, function: Function, modality: Modality, rows: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Return one forward pass (B, ...) of faces or voices.

        Args:
            function: The function of the network.
            modality: The modality of the rows.
            rows: Faces (B, 3, size, size) uint8, or voices (B, samples) float32.
        """

    def embed(self, media: Sequence[Media]) -> Embedded:
        """Return vectors (n, dim) of media; media that cannot be read are refused by position.

        A voice longer than the network's window has the unit mean of windows that cover it.
        """
        vectors = np.full((len(media), self.space.dim), np.nan, np.float32)
        rows = self.rows("embed", media)
        if len(rows.places):
            firsts = np.flatnonzero(np.diff(rows.places, prepend=-1))
            vectors[rows.places[firsts]] = unit_means(rows.values, firsts)
        return Embedded(vectors, rows.refusals)

    def rows(self, function: Function, media: Sequence[Media]) -> Rows:
        """Return the network's outputs for media: a row for each face or window of a voice."""
        inputs = on_all_cores(self._read, media)
        refusals = {at: rows for at, rows in enumerate(inputs) if isinstance(rows, str)}
        most = _CORE_ROWS if self.on_cores else _DEVICE_ROWS
        passes: list[tuple[Modality, list[NDArray[Any]]]] = []
        places: list[int] = []
        for modality in MODALITIES:
            own: list[NDArray[Any]] = []
            for at, (item, rows) in enumerate(zip(media, inputs, strict=True)):
                if item.modality == modality and not isinstance(rows, str):
                    own += rows
                    places += [at] * len(rows)
            passes += [(modality, own[at : at + most]) for at in range(0, len(own), most)]
        if not passes:
            return Rows(np.empty((0, 0), np.float32), np.empty(0, np.int64), refusals)

        def run(one: tuple[Modality, list[NDArray[Any]]]) -> NDArray[np.float32]:
            return self.run(function, one[0], np.stack(one[1]))

        parallel = self.on_cores and len(passes) > 1
        outputs = on_all_cores(run, passes) if parallel else [run(one) for one in passes]
        return Rows(np.concatenate(outputs), np.array(places), refusals)

    def _read(self, item: Media) -> Sequence[NDArray[Any]] | str:
        """Return one face, or one or more windows of a voice; the reason if it is unreadable."""
        try:
            data = load_media(item)
        except RefusedFile as error:
            return error.reason
        if item.modality == "face":
            return [face_pixels(data, self.face_size)]
        return list(voice_windows(data, self.voice_seconds))


def unit_means(rows: NDArray[np.float32], firsts: NDArray[np.int64]) -> Vectors:
    """Return the unit means (n, dim) of rows (r, dim), in which the rows of an item are adjacent.

    ``firsts`` (n,) are the positions of each item's first row.
    """
    sums = np.add.reduceat(rows, firsts)
    means: Vectors = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return means
