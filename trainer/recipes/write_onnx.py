"""Write ONNX files of checkpoints: ``python -m trainer.recipes.write_onnx [NAME|FILE]...``.

They are written beside the checkpoint and used where onnxruntime is installed
(:mod:`avsearch.models.onnx_embedder`). Files of other weights are not used, so run this again after
every training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from avsearch.models.checkpoint import Checkpoint, put_record
from avsearch.models.inputs import SAMPLE_RATE
from avsearch.models.onnx_embedder import SIZES, branch_path, space_facts
from avsearch.models.papers.pair_baseline import PairNetwork
from avsearch.models.registry import media_checkpoint
from avsearch.runtime.weights import find_weights
from indexer.errors import BadRequest, printable
from indexer.types import MODALITIES, Modality
from trainer.export_onnx import write_onnx


@click.command()
@click.argument("models", metavar="[NAME|FILE]...", nargs=-1)
def main(models: tuple[str, ...]) -> None:
    """Write the ONNX files of these models, or of the default one."""
    for model in models or (None,):
        for path in write_branches(find_weights(model)):
            click.echo(printable(path))


def write_branches(path: Path) -> list[Path]:
    """Write the branches of a checkpoint beside it, and return their paths.

    The hash of the weights is added to the checkpoint's record, which shows whether files fit.

    Raises:
        BadRequest: The checkpoint cannot be loaded, or its model does more than embed.
    """
    checkpoint = media_checkpoint(path)
    if isinstance(checkpoint.network, PairNetwork) or hasattr(checkpoint.network, "match"):
        raise BadRequest(
            f"{printable(path)} holds a model called {checkpoint.space.model!r}, which does more "
            "than embed; it runs in torch only."
        )
    put_record(path, checkpoint.record)
    return [_write_branch(path, checkpoint, modality) for modality in MODALITIES]


def _write_branch(path: Path, checkpoint: Checkpoint, modality: Modality) -> Path:
    settings: Any = checkpoint.network.settings
    size = SIZES[modality]
    file = branch_path(path, modality)
    write_onnx(
        file,
        OnnxBranch(checkpoint.network, modality),
        {modality: example(settings, modality)},
        ["vectors"],
        free={modality: {0: "n"}, "vectors": {0: "n"}},
        facts={**space_facts(checkpoint.space), size: str(getattr(settings, size))},
        folded=True,
    )
    return file


def example(settings: Any, modality: Modality) -> Tensor:
    """Return two items of the shape that a branch takes."""
    if modality == "face":
        side = settings.face_size
        return torch.zeros(2, 3, side, side, dtype=torch.uint8)
    return torch.zeros(2, round(settings.voice_seconds * SAMPLE_RATE))


class OnnxBranch(nn.Module):
    """One modality of a network, from media to vectors."""

    def __init__(self, network: nn.Module, modality: Modality) -> None:
        super().__init__()
        self.network = network
        self._function = f"embed_{modality}"

    def forward(self, media: Tensor) -> Tensor:
        """Return vectors (B, dim) of media (B, ...)."""
        vectors: Tensor = getattr(self.network, self._function)(media)
        return vectors


if __name__ == "__main__":
    main()
