"""The models of the papers, one readable file each, and the way to a trained one.

Importing this loads no torch, and neither does a model whose ONNX files lie beside it, where
onnxruntime is installed and no GPU is to be used.
"""

from __future__ import annotations

import ctypes
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

DEVICES = ("auto", "cpu", "cuda")


class TrainedEmbedder(Embedder, Protocol):
    """An embedder made by training."""

    @property
    def record(self) -> dict[str, Any]:
        """What its checkpoint says of its training."""


def load_model(name: str | Path | None = None, device: str = "auto") -> TrainedEmbedder:
    """A trained model: the default, one that is shipped by its name, or a checkpoint file.

    ``device`` is ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``. On a CPU onnxruntime
    runs it, where that is installed and the files are there
    (:mod:`avsearch.models.onnx_embedder`), else torch; the space is the same. Raises BadRequest
    where there is no such model or device, the
    file is not a checkpoint of a model that takes media, or what would run it is not installed.
    """
    return load_onnx_model(name, device) or load_torch_model(name, device)


def load_onnx_model(name: str | Path | None = None, device: str = "auto") -> OnnxEmbedder | None:
    """As :func:`load_model` where onnxruntime is to run it, None where torch is."""
    if device not in DEVICES:
        raise BadRequest(f"There is no device {device!r}; ask for auto, cpu or cuda.")
    path = find_weights(name)
    if device == "cuda" or (device == "auto" and _has_gpu()):
        return None
    from avsearch.models.onnx_embedder import find_onnx

    return find_onnx(path)


def load_torch_model(name: str | Path | None = None, device: str = "auto") -> TorchEmbedder:
    """As :func:`load_model`, run by torch in any case."""
    path = find_weights(name)
    _require_torch(path)
    from avsearch.models.registry import torch_embedder

    return torch_embedder(path, device)


def load_reranker(name: str | Path, device: str = "auto") -> TorchReranker:
    """A trained re-ranker: one that is shipped by its name, or a checkpoint file.

    Raises BadRequest as :func:`load_model` does, and for a model that compares no pairs.
    """
    path = find_weights(name, kind="re-ranker")
    _require_torch(path)
    from avsearch.models.registry import torch_reranker

    return torch_reranker(path, device)


def _require_torch(path: Path) -> None:
    """Say what to install where torch is missing."""
    if onnx_session.can_import("torch"):
        return
    if not onnx_session.is_installed():
        raise BadRequest(
            "A model is run by onnxruntime or torch, and neither is installed: "
            "pip install 'avsearch[search]' or 'avsearch[cpu]'."
        )
    raise BadRequest(
        f"{printable(path)} has no ONNX files of its own beside it, and torch, which can do "
        "without them, is not installed: pip install 'avsearch[torch]'."
    )


def _has_gpu() -> bool:
    """Whether torch has a GPU to use; asked of the driver first, since importing torch is slow."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    if not onnx_session.can_import("torch"):
        return False
    import torch

    return torch.cuda.is_available()


def __getattr__(name: str) -> Any:
    if name == "MODELS":
        from avsearch.models.registry import MODELS

        return MODELS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
