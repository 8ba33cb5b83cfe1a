"""A trained network as an embedder: media in, vectors out, each item alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsearch.cores import on_all_cores
from avsearch.media.load import load_media
from avsearch.models.blocks import fuse_norms
from avsearch.models.checkpoint import Checkpoint
from avsearch.models.frontends import face_pixels, voice_windows
from indexer.errors import BadRequest, RefusedFile
from indexer.types import MODALITIES, Embedded, Media, Modality, Space, Vectors

_ROWS = 32  # rows of one forward pass: enough to fill a core, little memory


@dataclasses.dataclass(frozen=True, slots=True)
class _Chunk:
    """The input of one forward pass: (B,) which item each row is of, and the B rows."""

    modality: Modality
    places: NDArray[np.int64]
    rows: Sequence[NDArray[Any]]


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

        A voice longer than the model's window is the mean of windows that cover it. Raises
        BadRequest for a model that was trained on features, not on media.
        """
        self._require_media()
        vectors = np.full((len(media), self.space.dim), np.nan, np.float32)
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
        if chunks:
            embedded = np.concatenate(self._forward_all(chunks))
            _mean_rows(vectors, np.concatenate([chunk.places for chunk in chunks]), embedded)
        return Embedded(vectors, refusals)

    def _require_media(self) -> None:
        settings = self.network.settings
        if settings.face_features or settings.voice_features:
            raise BadRequest(
                "The model was trained on features that another encoder computed and takes no "
                "pictures or sounds; use one that was trained on media."
            )

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

    def _forward_all(self, chunks: Sequence[_Chunk]) -> list[Vectors]:
        if self.device.type == "cpu" and len(chunks) > 1:
            return on_all_cores(self._forward, chunks)
        return [self._forward(chunk) for chunk in chunks]

    @torch.inference_mode()
    def _forward(self, chunk: _Chunk) -> Vectors:
        embed: Callable[[Tensor], Tensor] = getattr(self.network, f"embed_{chunk.modality}")
        rows = torch.from_numpy(np.stack(chunk.rows)).to(self.device)
        return cast(Vectors, embed(rows).cpu().numpy())


def _chunks(
    modality: Modality, taken: Sequence[tuple[int, Sequence[NDArray[Any]]]]
) -> Iterator[_Chunk]:
    """The rows of items of one modality, as many at a time as a forward pass takes."""
    found = [(place, row) for place, rows in taken for row in rows]
    for start in range(0, len(found), _ROWS):
        places, rows = zip(*found[start : start + _ROWS], strict=True)
        yield _Chunk(modality, np.array(places), rows)


def _mean_rows(vectors: Vectors, places: NDArray[np.int64], embedded: Vectors) -> None:
    """Write the unit mean of each item's rows at its place; rows of one item lie together."""
    firsts = np.flatnonzero(np.diff(places, prepend=-1))
    sums = np.add.reduceat(embedded, firsts)
    vectors[places[firsts]] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
