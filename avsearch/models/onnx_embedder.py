"""A model in ONNX files beside its checkpoint, run by onnxruntime on the CPU. No torch.

``NAME.face.onnx`` and ``NAME.voice.onnx`` beside ``NAME.safetensors`` hold the two branches, each
with what stands before it, and say of which weights they were made. ``trainer.recipes.write_onnx``
writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avsearch.models.embed_media import Forward, Function
from avsearch.runtime import onnx_session
from avsearch.runtime.weights import model_record, model_space
from indexer.types import MODALITIES, Embedded, Media, Modality, Space

# What a branch's file says of itself beside its space: pixels a side, seconds of a voice.
SIZES: Final[dict[Modality, str]] = {"face": "face_size", "voice": "voice_seconds"}


def branch_path(checkpoint: Path, modality: Modality) -> Path:
    """Where the branch of a modality lies."""
    return checkpoint.parent / f"{checkpoint.stem}.{modality}.onnx"


def space_facts(space: Space) -> dict[str, str]:
    """A space as a file says it."""
    return {
        "model": space.model,
        "weights_sha256": space.weights_sha256,
        "dim": str(space.dim),
        "metric": space.metric,
    }


def find_onnx(checkpoint: Path) -> OnnxEmbedder | None:
    """The model of a checkpoint in ONNX, or None.

    None where onnxruntime is not installed, a branch is missing, or one was made of other
    weights than the checkpoint has now.
    """
    if not onnx_session.is_installed():
        return None
    files = {modality: branch_path(checkpoint, modality) for modality in MODALITIES}
    said = {modality: onnx_session.metadata(file) for modality, file in files.items()}
    if not all(SIZES[modality] in facts for modality, facts in said.items()):
        return None
    space = model_space(checkpoint)
    if space is None or any(space_facts(space).items() - facts.items() for facts in said.values()):
        return None
    passes = OnnxPasses(
        files, int(said["face"]["face_size"]), float(said["voice"]["voice_seconds"])
    )
    return OnnxEmbedder(space, model_record(checkpoint), passes)


class OnnxPasses:
    """Forward passes of the branches, each loaded when media of its modality first come."""

    on_cores = True

    def __init__(
        self, files: Mapping[Modality, Path], face_size: int, voice_seconds: float
    ) -> None:
        self.face_size, self.voice_seconds = face_size, voice_seconds
        self._sessions = {modality: onnx_session.Session(file) for modality, file in files.items()}

    def begin(self, modality: Modality) -> None:
        """Load a branch beside other work, for one pass that is about to come."""
        self._sessions[modality].begin()

    def run(
        self, function: Function, modality: Modality, rows: NDArray[Any]
    ) -> NDArray[np.float32]:
        """One forward pass of ``embed``, as :class:`avsearch.models.embed_media.Passes` says."""
        if function != "embed":
            raise NotImplementedError(function)  # maps are for re-rankers, which torch runs
        return np.asarray(self._sessions[modality].run(rows)[0], np.float32)


class OnnxEmbedder:
    """Embeds faces and voices as :class:`avsearch.models.torch_embedder.TorchEmbedder` does.

    ``space`` and ``record`` are those of the checkpoint.
    """

    def __init__(self, space: Space, record: dict[str, Any], passes: OnnxPasses) -> None:
        self.space = space
        self.record = record
        self._passes = passes
        self._forward = Forward(passes)

    def begin(self, modality: Modality) -> None:
        """Say that one medium of this modality is about to come, so that its branch is loaded.

        Beside other work, and for that medium alone:
        :meth:`avsearch.runtime.onnx_session.Session.begin`.
        """
        self._passes.begin(modality)

    def embed(self, media: Sequence[Media]) -> Embedded:
        """Vectors (n, dim) of media; what cannot be read is refused by position.

        A voice longer than the model's window is the mean of windows that cover it.
        """
        return self._forward.embed(media, self.space.dim)
