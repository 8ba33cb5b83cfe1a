"""The models of the papers, one file each, and functions that load trained ones.

Importing this package loads no torch. Loading a model loads no torch either if onnxruntime is
installed, the model's ONNX files lie beside it, and no GPU is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from avsearch.runtime import onnx_session
from avsearch.runtime.weights import find_weights
from indexer.errors import BadRequest, printable
from indexer.types import Embedder

if TYPE_CHECKING:
    from avsearch.models.onnx_embedder import OnnxEmbedder
    from avsearch.models.registry import MODELS
    from avsearch.models.torch_embedder import TorchEmbedder
    from avsearch.models.torch_reranker import TorchReranker

__all__ = [
    "MODELS",
    "TrainedEmbedder",
    "load_model",
    "load_onnx_model",
    "load_reranker",
    "load_torch_model",
]


class TrainedEmbedder(Embedder, Protocol):
    """An embedder made by training."""

    @property
    def record(self) -> dict[str, Any]:
        """The checkpoint's record of its training."""


def load_model(name: str | Path | None = None, device: str = "auto") -> TrainedEmbedder:
    """Return a trained model.

    On a CPU onnxruntime runs it if it is installed and the model has ONNX files
    (:mod:`avsearch.models.onnx_embedder`), else torch; the space is the same.

    Args:
        name: A shipped model's name or a checkpoint file; None is the default model.
        device: "auto" (a GPU if there is one), "cpu" or "cuda".

    Raises:
        BadRequest: There is no such model or device, the file is not a checkpoint of a model
            that takes media, or no installed library runs it.
    """
    return load_onnx_model(name, device) or load_torch_model(name, device)


def load_onnx_model(name: str | Path | None = None, device: str = "auto") -> OnnxEmbedder | None:
    """Return a model as :func:`load_model` does if onnxruntime runs it, else None."""
    if device not in ("auto", "cpu", "cuda"):
        raise BadRequest(f"There is no device {device!r}; ask for auto, cpu or cuda.")
    path = find_weights(name)
    if device == "cuda" or (device == "auto" and _has_gpu()):
        return None
    from avsearch.models.onnx_embedder import find_onnx

    return find_onnx(path)


def load_torch_model(name: str | Path | None = None, device: str = "auto") -> TorchEmbedder:
    """Return a model as :func:`load_model` does, always run by torch."""
    path = find_weights(name)
    _require_torch(path)
    from avsearch.models.registry import torch_embedder

    return torch_embedder(path, device)


def load_reranker(name: str | Path, device: str = "auto") -> TorchReranker:
    """Return a trained re-ranker.

    Args:
        name: A checkpoint file of a model that compares pairs.
        device: As in :func:`load_model`.

    Raises:
        BadRequest: As in :func:`load_model`, or the model does not compare pairs.
    """
    path = find_weights(name, kind="re-ranker")
    _require_torch(path)
    from avsearch.models.registry import torch_reranker

    return torch_reranker(path, device)


def _require_torch(path: Path) -> None:
    """Raise BadRequest with what to install if torch is missing."""
    if onnx_session.can_import("torch"):
        return
    if not onnx_session.can_import("onnxruntime"):
        raise BadRequest(
            "A model is run by onnxruntime or torch, and neither is installed: "
            "pip install 'avsearch[search]' or 'avsearch[cpu]'."
        )
    raise BadRequest(
        f"{printable(path)} has no ONNX files of its own beside it, and torch, which can do "
        "without them, is not installed: pip install 'avsearch[torch]'."
    )


def _has_gpu() -> bool:
    """Return True if torch has a GPU; looks for the driver first, because torch loads slowly."""
    if not (onnx_session.has_gpu_driver() and onnx_session.can_import("torch")):
        return False
    import torch

    return torch.cuda.is_available()


def __getattr__(name: str) -> Any:
    if name == "MODELS":
        from avsearch.models.registry import MODELS

        return MODELS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
