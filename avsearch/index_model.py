"""The model of an index: its file, its record, and its embedder, loaded on first use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avsearch.runtime.weights import find_weights, model_address, model_record, model_space
from indexer.errors import BadRequest
from indexer.index import Index
from indexer.runtime.timing import timed
from indexer.types import Embedded, Embedder, Media, Modality, Space

logger = logging.getLogger(__name__)

MODEL = "model"  # the note of an index with the model's name or file
OWN = "python:"  # prefix of the note for an embedder of the user's program

Model = str | Path | Embedder  # a shipped model's name, a checkpoint file, or an object


class IndexModel:
    """An embedder that loads its model for the first media; threads may share it.

    Args:
        model: A shipped model's name, a checkpoint file or an embedder; None is the default model.
        device: "auto", "cpu" or "cuda".
    """

    def __init__(self, model: Model | None, device: str = "auto") -> None:
        self._device = device
        self._loading = threading.Lock()
        self._embedder: Embedder | None = None
        self._name: str | None = None
        if isinstance(model, str | Path):
            self._name = model_address(model)
        elif model is not None:
            self._embedder, self._name = model, f"{OWN}{model.space.model}"

    @classmethod
    def of_index(cls, index: Index, model: Model | None, device: str) -> IndexModel:
        """Return the given model, or else the one that the index was made with.

        Raises:
            BadRequest: No model is given, and the index's own cannot be found.
        """
        noted = noted_model(index)
        if model is None and noted is not None and noted.startswith(OWN):
            raise BadRequest(
                f"This index was made by {index.space.describe()}, an embedder of a Python "
                "program; open it there with avsearch.open(INDEX, model=EMBEDDER)."
            )
        if model is None and noted is not None and _is_lost(noted):
            raise BadRequest(
                f"The model of this index was {noted}, and there is no such file any more; "
                "name it with --model."
            )
        return cls(noted if model is None else model, device)

    @property
    def notes(self) -> dict[str, str]:
        """The notes by which an index finds this model again."""
        return {MODEL: self._name or ""}

    @property
    def space(self) -> Space:
        """The space of its vectors, read from the model's file if that is possible."""
        if self._embedder is None and self._device != "cuda":
            space = model_space(find_weights(self._name))
            if space is not None:
                return space
        return self.load().space

    def load(self) -> Embedder:
        """Return the embedder, loaded on the first call.

        Raises:
            BadRequest: There is no such model or device, or no installed library runs it.
        """
        from avsearch.models import load_model  # imports onnxruntime or torch

        with self._loading:
            if self._embedder is None:
                with timed(logger, f"loaded the model {self._name or 'of the default'}"):
                    self._embedder = load_model(self._name, self._device)
            return self._embedder

    def begin(self, modality: Modality) -> None:
        """Start to load the branch that embeds one item of this modality, in a thread.

        Does nothing if torch would run the model: torch is loaded only once there is something
        to embed.
        """
        from avsearch.models import load_onnx_model

        with self._loading:
            if self._embedder is None:
                embedder = load_onnx_model(self._name, self._device)
                if embedder is not None:
                    embedder.begin(modality)
                    self._embedder = embedder

    def embed(self, media: Sequence[Media]) -> Embedded:
        """Return the vectors of media, loading the model first."""
        return self.load().embed(media)


def noted_model(index: Index) -> str | None:
    """Return the model that an index was made with; None for the default."""
    return index.notes().get(MODEL) or None


def index_record(index: Index, model: Model | None = None) -> dict[str, Any]:
    """Return the record of an index's model; empty if it is missing or of another space."""
    if model is not None and not isinstance(model, str | Path):
        return {}
    address = model or noted_model(index)
    if address is not None and (str(address).startswith(OWN) or _is_lost(address)):
        return {}
    path = find_weights(address)
    record = model_record(path)
    return record if record and model_space(path) == index.space else {}


def _is_lost(address: str | Path) -> bool:
    """Return True for a file, not a shipped model's name, that does not exist any more."""
    return Path(address).is_absolute() and not Path(address).is_file()
