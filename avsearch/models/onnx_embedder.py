"""A model in ONNX files beside its checkpoint, run by onnxruntime on the CPU, without torch.

``NAME.face.onnx`` and ``NAME.voice.onnx`` beside ``NAME.safetensors`` hold the two branches with
their front ends, and name the weights that they were made of. ``trainer.recipes.write_onnx``
writes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avsearch.models.embed_media import Function, MediaEmbedder
from avsearch.runtime import onnx_session
from avsearch.runtime.weights import model_record, model_space
from indexer.types import MODALITIES, Modality, Space

# The metadata of a branch's file beside its space: pixels a side, seconds of a voice.
SIZES: Final[dict[Modality, str]] = {"face": "face_size", "voice": "voice_seconds"}


def branch_path(checkpoint: Path, modality: Modality) -> Path:
    """Return the path of the file with the branch of a modality."""
    return checkpoint.parent / f"{checkpoint.stem}.{modality}.onnx"


def space_facts(space: Space) -> dict[str, str]:
    """Return a space as the metadata of a branch's file."""
    return {
        "model": space.model,
        "weights_sha256": space.weights_sha256,
        "dim": str(space.dim),
        "metric": space.metric,
    }


def find_onnx(checkpoint: Path) -> OnnxEmbedder | None:
    """Return the model of a checkpoint in ONNX, or None.

    None if onnxruntime is not installed, a branch is missing, or a branch was made of other
    weights than those of the checkpoint.
    """
    if not onnx_session.can_import("onnxruntime"):
        return None
    facts = {
        modality: onnx_session.metadata(branch_path(checkpoint, modality))
        for modality in MODALITIES
    }
    if not all(SIZES[modality] in facts[modality] for modality in MODALITIES):
        return None
    space = model_space(checkpoint)
    if space is None or any(space_facts(space).items() - each.items() for each in facts.values()):
        return None
    return OnnxEmbedder(checkpoint, space, facts)


class OnnxEmbedder(MediaEmbedder):
    """Embeds with the branches of a model, each loaded for the first media of its modality."""

    on_cores = True

    def __init__(
        self, checkpoint: Path, space: Space, facts: dict[Modality, dict[str, str]]
    ) -> None:
        self.space = space
        self.record = model_record(checkpoint)
        self.face_size = int(facts["face"]["face_size"])
        self.voice_seconds = float(facts["voice"]["voice_seconds"])
        self._sessions = {
            modality: onnx_session.Session(branch_path(checkpoint, modality))
            for modality in MODALITIES
        }

    def begin(self, modality: Modality) -> None:
        """Start to load a branch in a thread, for one pass that is about to come.

        See :meth:`avsearch.runtime.onnx_session.Session.begin`.
        """
        self._sessions[modality].begin()

    def run(
        self, function: Function, modality: Modality, rows: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Return one forward pass of ``embed``."""
        if function != "embed":
            raise NotImplementedError(function)  # maps are for re-rankers, which torch runs
        return np.asarray(self._sessions[modality].run(rows)[0], np.float32)
