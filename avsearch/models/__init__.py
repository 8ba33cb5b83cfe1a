"""The models of the papers, one readable file each, and the way to a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avsearch import products
from avsearch.models.acienet import ACIENet
from avsearch.models.adsm import ADSM
from avsearch.models.aicanet import AICANet
from avsearch.models.checkpoint import Checkpoint, load_checkpoint
from avsearch.models.dsanet import DSANet
from avsearch.models.embedder import TorchEmbedder, pick_device
from avsearch.models.p2vanet import P2VANet
from avsearch.models.pairs import PairNetwork
from avsearch.models.reranker import TorchReranker
from avsearch.spaces import find_weights
from indexer.errors import BadRequest, printable

MODELS: dict[str, type[Any]] = {
    "acienet": ACIENet,
    "adsm": ADSM,
    "aicanet": AICANet,
    "dsanet": DSANet,
    "p2vanet": P2VANet,
}


def load_model(name: str | Path | None = None, device: str = "auto") -> TorchEmbedder:
    """A trained model: the default, one that is shipped by its name, or a checkpoint file.

    ``device`` is ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``. Raises BadRequest where
    there is no such model or device, or the file is not a checkpoint of a model that takes media.
    """
    products.use()  # torch is loaded: let searches have its fast products too
    return TorchEmbedder(_load(find_weights(name)), pick_device(device))


def load_reranker(name: str | Path, device: str = "auto") -> TorchReranker:
    """A trained re-ranker: one that is shipped by its name, or a checkpoint file.

    Raises BadRequest as :func:`load_model` does, and for a model that compares no pairs.
    """
    path = find_weights(name, kind="re-ranker")
    checkpoint = _load(path)
    if not isinstance(checkpoint.network, PairNetwork):
        pairs = " or ".join(key for key, kind in MODELS.items() if issubclass(kind, PairNetwork))
        raise BadRequest(
            f"{printable(path)} holds a model called {checkpoint.space.model!r}, which embeds and "
            f"does not re-rank; name a checkpoint of {pairs}."
        )
    return TorchReranker(checkpoint, pick_device(device))


def _load(path: Path) -> Checkpoint:
    """The checkpoint of a model that takes media; BadRequest where it takes features instead."""
    checkpoint = load_checkpoint(path, MODELS)
    settings = checkpoint.network.settings
    if getattr(settings, "face_features", ()) or getattr(settings, "voice_features", ()):
        raise BadRequest(
            f"{printable(path)} was trained on features that another encoder computed and cannot "
            "read media; name a model trained on media."
        )
    return checkpoint
