"""The known models by name, and those that torch loads from a checkpoint file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avsearch.models.checkpoint import Checkpoint, load_checkpoint
from avsearch.models.papers.acienet import ACIENet
from avsearch.models.papers.adsm import ADSM
from avsearch.models.papers.aicanet import AICANet
from avsearch.models.papers.dsanet import DSANet
from avsearch.models.papers.p2vanet import P2VANet
from avsearch.models.papers.pair_baseline import PairNetwork
from avsearch.models.torch_embedder import TorchEmbedder, pick_device
from avsearch.models.torch_reranker import TorchReranker
from avsearch.runtime import int8_torch
from indexer.errors import BadRequest, printable

MODELS: dict[str, type[Any]] = {
    "acienet": ACIENet,
    "adsm": ADSM,
    "aicanet": AICANet,
    "dsanet": DSANet,
    "p2vanet": P2VANet,
}


def torch_embedder(path: Path, device: str) -> TorchEmbedder:
    """Return the model of a checkpoint file, as :func:`avsearch.models.load_model` does."""
    int8_torch.use()  # torch is loaded, so searches may use its fast products too
    return TorchEmbedder(media_checkpoint(path), pick_device(device))


def torch_reranker(path: Path, device: str) -> TorchReranker:
    """Return the re-ranker of a checkpoint file, as :func:`avsearch.models.load_reranker` does."""
    checkpoint = media_checkpoint(path)
    if not isinstance(checkpoint.network, PairNetwork):
        pairs = " or ".join(key for key, kind in MODELS.items() if issubclass(kind, PairNetwork))
        raise BadRequest(
            f"{printable(path)} holds a model called {checkpoint.space.model!r}, which embeds and "
            f"does not re-rank; name a checkpoint of {pairs}."
        )
    return TorchReranker(checkpoint, pick_device(device))


def media_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint of a model that takes media.

    Raises:
        BadRequest: The model takes the features of another encoder.
    """
    checkpoint = load_checkpoint(path, MODELS)
    settings = checkpoint.network.settings
    if getattr(settings, "face_features", ()) or getattr(settings, "voice_features", ()):
        raise BadRequest(
            f"{printable(path)} was trained on features that another encoder computed and cannot "
            "read media; name a model trained on media."
        )
    return checkpoint
