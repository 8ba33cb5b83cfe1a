"""An embedder whose network torch runs on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsearch.models.checkpoint import Checkpoint
from avsearch.models.embed_media import Function, MediaEmbedder
from avsearch.models.layers.blocks import fuse_norms
from indexer.errors import BadRequest
from indexer.types import Modality


def pick_device(name: str) -> torch.device:
    """Return the device called "auto", "cpu" or "cuda".

    Raises:
        BadRequest: There is no such device, or no GPU that can be used.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise BadRequest("No CUDA device can be used here; ask with --device cpu or auto.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise BadRequest(f"There is no device {name!r}; ask for auto, cpu or cuda.")
    return torch.device(name)


class TorchEmbedder(MediaEmbedder):
    """Embeds with a paper's network.

    The norms are folded into the network's convolutions, so it cannot be trained any more.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.space = checkpoint.space
        self.record = checkpoint.record
        self.device = device
        fuse_norms(checkpoint.network)
        self.network = cast(Any, checkpoint.network.to(device))
        self.face_size = self.network.settings.face_size
        self.voice_seconds = self.network.settings.voice_seconds
        self.on_cores = device.type == "cpu"

    @torch.inference_mode()
    def run(
        self, function: Function, modality: Modality, rows: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Return one forward pass of ``embed`` or ``feature_map``."""
        call: Callable[[Tensor], Tensor] = getattr(self.network, f"{function}_{modality}")
        return cast(NDArray[np.float32], call(torch.from_numpy(rows).to(self.device)).cpu().numpy())
