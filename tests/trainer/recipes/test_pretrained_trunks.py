"""Reading the weights of the teachers' packages."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from torch import nn

from avsearch.models.layers.backbones import CAMPlus, ResNet29
from avsearch.models.layers.frontends import scale_pixels
from indexer.errors import BadRequest
from trainer.recipes.pretrained_trunks import read_face_teacher, read_voice_teacher, teacher_file


def whole(number: int) -> bytes:
    """A number as dlib writes it: its length, then its bytes."""
    content = number.to_bytes(8, "little").rstrip(b"\0")
    return bytes([len(content)]) + content


def layer(name: bytes, values: np.ndarray, before: tuple[int, ...] = (), version: int = 2) -> bytes:
    sizes = b"".join(map(whole, (*before, version, len(values), 1, 1, 1)))
    return bytes([1, len(name)]) + name + sizes + values.astype("<f4").tobytes()


@pytest.fixture(scope="module")
def drawn():
    """A network as dlib has it: convolutions, then gains and shifts, and the last layer."""
    rng = np.random.default_rng(0)
    convolutions = [each for each in ResNet29().modules() if isinstance(each, nn.Conv2d)]
    pairs = [
        (
            rng.normal(0, 0.05, each.weight.numel() + each.out_channels).astype(np.float32),
            rng.uniform(0.5, 1.5, 2 * each.out_channels).astype(np.float32),
        )
        for each in convolutions
    ]
    return convolutions, pairs, rng.normal(size=256 * 128).astype(np.float32)


def test_a_network_of_dlib_gives_what_dlib_computes(drawn, tmp_path):
    convolutions, pairs, last = drawn
    content = b"\x01\x0dloss_metric_2"
    for filters, affine in pairs:
        content += layer(b"con_4", filters) + b"\x01\x02" + layer(b"affine_", affine)
    content += layer(b"fc_2", last, before=(128, 256))
    path = tmp_path / "network.dat"
    path.write_bytes(content)
    trunk, head = read_face_teacher(path)

    plain = ResNet29()
    with torch.no_grad():
        for own, like, (filters, affine) in zip(
            [each for each in plain.modules() if isinstance(each, nn.Conv2d)],
            convolutions,
            pairs,
            strict=True,
        ):
            count = like.weight.numel()
            gains, shifts = np.split(affine, 2)
            own.weight.copy_(torch.from_numpy(filters[:count]).view_as(own.weight))
            own.weight.mul_(torch.from_numpy(gains)[:, None, None, None])
            own.bias.copy_(torch.from_numpy(filters[count:] * gains + shifts))
    pixels = torch.randint(0, 256, (1, 3, 150, 150), dtype=torch.uint8)
    means = torch.tensor([122.782, 117.001, 104.298]).view(1, 3, 1, 1)
    with torch.inference_mode():
        wanted = plain((pixels - means) / 256)
        found = trunk(scale_pixels(pixels))
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))
        torch.testing.assert_close(
            head(wanted), wanted @ torch.from_numpy(last.reshape(256, 128)), rtol=1e-3, atol=1e-3
        )


def test_another_version_of_the_file_is_refused(tmp_path):
    path = tmp_path / "network.dat"
    path.write_bytes(layer(b"con_4", np.zeros(4), version=3))
    with pytest.raises(BadRequest, match="not as dlib writes it"):
        read_face_teacher(path)


def published(trunk: CAMPlus) -> dict[str, torch.Tensor]:
    """A network's weights by other names, the last layer before the norm that precedes it."""
    names = sorted(trunk.state_dict(), key=lambda name: name.startswith("end"))
    return {
        f"xvector.dense.{name}" if name.startswith("last") else name: trunk.state_dict()[name]
        for name in names
    }


def test_a_voice_encoder_keeps_its_weights(tmp_path):
    own = CAMPlus()
    for value in own.state_dict().values():
        value.copy_(torch.rand(value.shape))
    path = tmp_path / "published.pt"
    torch.save(published(own), path)
    read = read_voice_teacher(path)
    assert not read.training
    for name, value in read.state_dict().items():
        assert torch.equal(value, own.state_dict()[name]), name


def test_another_voice_encoder_is_refused(tmp_path):
    path = tmp_path / "published.pt"
    torch.save({"linear.weight": torch.ones(1)}, path)
    with pytest.raises(BadRequest, match="not as 3D-Speaker writes it"):
        read_voice_teacher(path)


def test_a_file_that_would_run_code_is_not_read(tmp_path):
    path = tmp_path / "published.pt"
    torch.save({"head": struct.Struct}, path)
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        read_voice_teacher(path)


def test_a_teacher_that_is_missing_is_named_with_how_to_get_it():
    with pytest.raises(BadRequest, match="pip install --no-deps no_such_teacher"):
        teacher_file("no_such_teacher", "weights.pt")
