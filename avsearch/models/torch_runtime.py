"""A network of one of the papers, run by torch on a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avsearch.models.embed_media import Function
from avsearch.models.layers.blocks import fuse_norms
from indexer.types import Modality


class TorchPasses:
    """Forward passes of a network; its norms are folded in, so that it is not trained any more."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.device = device
        fuse_norms(network)
        self.network = cast(Any, network.to(device))
        self.face_size: int = self.network.settings.face_size
        self.voice_seconds: float = self.network.settings.voice_seconds
        self.on_cores = device.type == "cpu"

    @torch.inference_mode()
    def run(
        self, function: Function, modality: Modality, rows: NDArray[Any]
    ) -> NDArray[np.float32]:
        """One forward pass, as :class:`avsearch.models.embed_media.Passes` says."""
        call: Callable[[Tensor], Tensor] = getattr(self.network, f"{function}_{modality}")
        return cast(NDArray[np.float32], call(torch.from_numpy(rows).to(self.device)).cpu().numpy())
