"""A trained network as an embedder: media in, vectors out, each item alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsearch.media.load import load_media
from avsearch.models.blocks import fuse_norms
from avsearch.models.checkpoint import Checkpoint
from avsearch.models.frontends import face_pixels, voice_windows
from indexer.errors import BadRequest, RefusedFile
from indexer.types import Embedded, Media, Modality, Space, Vectors

_ROWS = 32  # rows of one forward pass: enough to fill two cores, little memory


def pick_device(name: str) -> torch.device:
    """``auto``, ``cpu`` or ``cuda`` as a device; BadRequest where a GPU is asked for in vain."""
    if name == "cuda" and not torch.cuda.is_available():
        raise BadRequest("No CUDA device can be used here; ask with --device cpu or auto.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise BadRequest(f"There is no device {name!r}; ask for auto, cpu or cuda.")
    return torch.device(name)


class TorchEmbedder:
    """Embeds faces and voices with a network of one of the papers.

    ``space`` is its embedding space and ``record`` what its checkpoint says of its training.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.space: Space = checkpoint.space
        self.record = checkpoint.record
        self.device = device
        fuse_norms(checkpoint.network)
        self.network = cast(Any, checkpoint.network.to(device))

    def embed(self, media: Sequence[Media]) -> Embedded:
        """Vectors (n, dim) of media; what cannot be read is refused by position.

        A voice longer than the model's window is the mean of windows that cover it.
        """
        vectors = np.full((len(media), self.space.dim), np.nan, np.float32)
        refusals: dict[int, str] = {}
        rows: dict[Modality, list[tuple[int, NDArray[Any]]]] = {"face": [], "voice": []}
        for position, item in enumerate(media):
            try:
                rows[item.modality].extend((position, row) for row in self._rows(item))
            except RefusedFile as error:
                refusals[position] = error.reason
        for modality, found in rows.items():
            if found:
                places = np.array([place for place, _ in found])
                embedded = self._forward(modality, [row for _, row in found])
                _mean_rows(vectors, places, embedded)
        return Embedded(vectors, refusals)

    def _rows(self, item: Media) -> Iterable[NDArray[Any]]:
        """The network's inputs for one item: one face, or one or more windows of a voice."""
        data = load_media(item)
        if item.modality == "face":
            return [face_pixels(data, self.network.settings.face_size)]
        return voice_windows(data, self.network.settings.voice_seconds)

    @torch.inference_mode()
    def _forward(self, modality: Modality, rows: list[NDArray[Any]]) -> Vectors:
        embed: Callable[[Tensor], Tensor] = getattr(self.network, f"embed_{modality}")
        parts = [
            embed(torch.from_numpy(np.stack(rows[start : start + _ROWS])).to(self.device)).cpu()
            for start in range(0, len(rows), _ROWS)
        ]
        return cast(Vectors, torch.cat(parts).numpy())


def _mean_rows(vectors: Vectors, places: NDArray[np.int64], embedded: Vectors) -> None:
    """Write the unit mean of each item's rows at its place; rows of one item lie together."""
    firsts = np.flatnonzero(np.diff(places, prepend=-1))
    sums = np.add.reduceat(embedded, firsts)
    vectors[places[firsts]] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
