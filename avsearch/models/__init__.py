"""The models of the papers, one readable file each, and the way to a trained one."""

from __future__ import annotations

from pathlib import Path

from avsearch import products
from avsearch.models.adsm import ADSM
from avsearch.models.checkpoint import load_checkpoint
from avsearch.models.embedder import TorchEmbedder, pick_device
from avsearch.spaces import find_weights

MODELS = {"adsm": ADSM}


def load_model(name: str | Path | None = None, device: str = "auto") -> TorchEmbedder:
    """A trained model: the default, one that is shipped by its name, or a checkpoint file.

    ``device`` is ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``. Raises BadRequest where
    there is no such model or device, or the file is not a checkpoint.
    """
    products.use()  # torch is loaded: let searches have its fast products too
    return TorchEmbedder(load_checkpoint(find_weights(name), MODELS), pick_device(device))
