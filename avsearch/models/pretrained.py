"""Weights of a face trunk that others trained, such as ResNet-18 on ImageNet."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from avsearch.models.backbones import ResNet
from indexer.errors import BadRequest, printable


def load_face_trunk(network: nn.Module, path: Path) -> None:
    """Give a network's ResNet face trunk the weights of a safetensors file, in place.

    The file has torchvision's names; its classifier ``fc`` is left out. Raises BadRequest where
    the network has no such trunk, or the file is missing, not safetensors, or does not fit.
    """
    residual = next((part for part in network.modules() if _takes_pictures(part)), None)
    if residual is None:
        raise BadRequest("This model has no ResNet for faces; train it without such weights.")
    if not path.is_file():
        raise BadRequest(f"There are no weights {printable(path)}; check the name.")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadRequest(
            f"{printable(path)} is not a safetensors file, is cut short, or may not be read; "
            "copy it again, or check its permissions."
        ) from error
    try:
        residual.load_state_dict(
            {key: value for key, value in tensors.items() if not key.startswith("fc.")}
        )
    except RuntimeError as error:  # other names or other shapes
        raise BadRequest(
            f"{printable(path)} does not fit this model's face trunk; give ResNet-18's weights "
            "under torchvision's names, and a model of full width."
        ) from error


def _takes_pictures(part: nn.Module) -> bool:
    return isinstance(part, ResNet) and part.conv1.in_channels == 3
