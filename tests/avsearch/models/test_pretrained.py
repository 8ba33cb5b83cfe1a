from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from avsearch.models.papers.acienet import ACIENet
from avsearch.models.pretrained import load_face_trunk, takes_published_weights
from indexer.errors import BadRequest
from tests.helpers.tiny_pairs import MEDIA, tiny_pairs

OF_MEDIA = {"face_features": (), "voice_features": (), **MEDIA}


@pytest.fixture(scope="module")
def network():
    return tiny_pairs(ACIENet, width=64, **OF_MEDIA).eval()


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("resnet18.safetensors", save_file),
        ("resnet18-f37072fd.pth", torch.save),
        ("resnet18.pth", lambda *given: torch.save(*given, _use_new_zipfile_serialization=False)),
    ],
)
def test_weights_of_torchvision_give_its_maps(name, save, network, tmp_path):
    theirs = torchvision.models.resnet18().eval()
    for norm in theirs.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.1, 0.1)
    save(theirs.state_dict(), tmp_path / name)
    load_face_trunk(network, tmp_path / name)
    faces = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(faces / 127.5 - 1))))
        x = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(x))))
        wanted = torch.nn.functional.adaptive_avg_pool2d(x, 3)
        torch.testing.assert_close(network.feature_map_face(faces), wanted, atol=1e-4, rtol=1e-4)


def test_a_file_that_is_not_there(network, tmp_path):
    with pytest.raises(BadRequest, match=r"There are no weights .*none\.safetensors"):
        load_face_trunk(network, tmp_path / "none.safetensors")


@pytest.mark.parametrize(("name", "save"), [("a.safetensors", save_file), ("a.pth", torch.save)])
@pytest.mark.parametrize("size", [0, 7, 60])
def test_a_file_that_is_cut_short(name, save, size, network, tmp_path):
    path = tmp_path / name
    save({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadRequest, match="is cut short"):
        load_face_trunk(network, path)


def test_weights_under_other_names_change_nothing(network, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(BadRequest, match="does not fit this model's face trunk"):
        load_face_trunk(network, tmp_path / "other.safetensors")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_trunk_of_frozen_features_takes_none(tmp_path):
    with pytest.raises(BadRequest, match="has no ResNet for faces"):
        load_face_trunk(tiny_pairs(ACIENet), tmp_path / "any.safetensors")


class Harmful:
    """An object that would create a file if it were unpickled without restriction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_code_of_a_file_is_run(network, tmp_path):
    torch.save({"conv1.weight": Harmful(tmp_path / "was run")}, tmp_path / "harmful.pth")
    with pytest.raises(BadRequest, match="is not a file of tensors"):
        load_face_trunk(network, tmp_path / "harmful.pth")
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"state_dict": {}, "epoch": 3}])
def test_a_file_that_holds_more_than_weights(content, network, tmp_path):
    torch.save(content, tmp_path / "more.pth")
    with pytest.raises(BadRequest, match="more than tensors by name"):
        load_face_trunk(network, tmp_path / "more.pth")


def test_only_a_trunk_of_full_width_takes_published_weights(network):
    assert takes_published_weights(network)
    assert not takes_published_weights(tiny_pairs(ACIENet, **OF_MEDIA))
    assert not takes_published_weights(tiny_pairs(ACIENet))
