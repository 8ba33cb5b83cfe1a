"""A network that torch runs as an embedder: media in, vectors out, each item alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from avsearch.models.checkpoint import Checkpoint
from avsearch.models.embed_media import Forward
from avsearch.models.torch_runtime import TorchPasses
from indexer.errors import BadRequest
from indexer.types import Embedded, Media, Space


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
        passes = TorchPasses(checkpoint.network, device)
        self.network = passes.network
        self._forward = Forward(passes)

    def embed(self, media: Sequence[Media]) -> Embedded:
        """Vectors (n, dim) of media; what cannot be read is refused by position.

        A voice longer than the model's window is the mean of windows that cover it.
        """
        return self._forward.embed(media, self.space.dim)
