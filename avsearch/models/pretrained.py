"""Published weights of a face trunk, such as ResNet-18 on ImageNet.

ACIENet and AICANet start from such weights. The project does not ship them: the user names the
file, torchvision's ``resnet18-*.pth`` or the same as safetensors.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from avsearch.models.layers.backbones import ResNet
from indexer.errors import BadRequest, printable
from indexer.runtime.atomic import require_readable

PICKLED = (".pth", ".pt")
_WIDTH = 64  # channels of the first convolution of published ResNets


def read_face_trunk(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a ``.pth`` with nothing but named tensors.

    torch reads only tensors and containers of a ``.pth``, so no code of the file runs.

    Raises:
        BadRequest: The file is missing, cut short, or holds something else.
    """
    if not path.is_file():
        raise BadRequest(f"There are no weights {printable(path)}; check the name.")
    require_readable(path)
    try:
        if path.suffix not in PICKLED:
            return load_file(path)
        tensors: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise BadRequest(
            f"{printable(path)} is not a file of tensors, or is cut short; copy it again."
        ) from error
    if not isinstance(tensors, Mapping) or not all(isinstance(v, Tensor) for v in tensors.values()):
        raise BadRequest(
            f"{printable(path)} holds more than tensors by name; name a file of weights alone."
        )
    return dict(tensors)


def load_face_trunk(network: nn.Module, path: Path) -> None:
    """Load the weights of a file into a network's ResNet face trunk, in place.

    The file has torchvision's names; its classifier ``fc`` is left out.

    Raises:
        BadRequest: The network has no such trunk, or the file cannot be read or does not fit.
    """
    residual = _face_trunk(network)
    if residual is None:
        raise BadRequest("This model has no ResNet for faces; train it without such weights.")
    tensors = read_face_trunk(path)
    try:
        residual.load_state_dict(
            {key: value for key, value in tensors.items() if not key.startswith("fc.")}
        )
    except RuntimeError as error:  # other names or other shapes
        raise BadRequest(
            f"{printable(path)} does not fit this model's face trunk; give ResNet-18's weights "
            "under torchvision's names, and a model of full width."
        ) from error


def takes_published_weights(network: nn.Module) -> bool:
    """Return True if a network has a ResNet for faces with the width of published weights."""
    residual = _face_trunk(network)
    return residual is not None and residual.conv1.out_channels == _WIDTH


def _face_trunk(network: nn.Module) -> ResNet | None:
    for part in network.modules():
        if isinstance(part, ResNet) and part.conv1.in_channels == 3:
            return part
    return None
