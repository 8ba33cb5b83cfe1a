"""Networks as ONNX files: the same answers, half the bytes, nothing that is not theirs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from avsearch.models import MODELS, load_model, load_torch_model
from avsearch.models.checkpoint import load_checkpoint, put_record, save_checkpoint
from avsearch.models.layers.frontends import Cepstra, FilterBanks, LogMels, Spectrogram
from avsearch.models.onnx_embedder import OnnxEmbedder, branch_path
from avsearch.runtime import onnx_session
from avsearch.runtime.weights import model_space
from indexer.errors import BadRequest
from indexer.types import MODALITIES, Media
from tests.helpers.tiny import SAMPLES, face, lived_adsm, tiny_model, voice
from trainer.export_onnx import OPSET, WindowedCosines, write_onnx
from trainer.recipes.write_onnx import OnnxBranch, write_branches

RECORD = {"recipe": "none", "people": {"train": ["anna"]}}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with its ONNX files; tests only read it."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, "adsm", lived_adsm(), RECORD)
    write_branches(path)
    return path


@pytest.fixture
def copied(shipped: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    for path in shipped.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / shipped.name


@pytest.fixture(scope="module")
def media() -> list[Media]:
    """More than one pass takes, of sizes that vary."""
    rng = np.random.default_rng(0)
    faces = [face(rng, side) for side in [32, 16, 45, 100] * 10]
    voices = [voice(rng, samples) for samples in [SAMPLES, 3000, 20_000] * 12]
    return [*faces, *voices]


def test_a_model_is_run_by_onnxruntime_where_its_files_are_there(shipped, media):
    found, wanted = load_model(shipped, "cpu"), load_torch_model(shipped, "cpu")
    assert isinstance(found, OnnxEmbedder)
    assert found.space == wanted.space
    assert found.record == wanted.record == RECORD
    ours, theirs = found.embed(media).vectors, wanted.embed(media).vectors
    assert (ours * theirs).sum(1).min() > 1 - 1e-5
    apart = ours @ ours.T - 2 * np.eye(len(ours))
    assert apart.max() < 1 - 1e-4  # what is held to 1e-5 above


@settings(max_examples=15)
@given(chosen=st.lists(st.integers(0, 75), max_size=40))
def test_neighbours_order_and_number_change_no_vector(shipped, media, chosen):
    model = load_model(shipped, "cpu")
    every = model.embed(media).vectors
    found = model.embed([media[at] for at in chosen])
    assert found.vectors.shape == (len(chosen), 16)
    np.testing.assert_allclose(found.vectors, every[chosen], atol=1e-5)


def test_what_cannot_be_read_is_refused_by_position(shipped, media, tmp_path):
    refused = Media(tmp_path / "none.png", "face")
    found = load_model(shipped, "cpu").embed([media[0], refused, media[-1]])
    assert found.refusals.keys() == {1}
    assert np.isnan(found.vectors).all(1).tolist() == [False, True, False]


def test_a_file_made_of_other_weights_is_not_used(copied):
    save_checkpoint(copied, "adsm", lived_adsm(1), RECORD)
    assert not isinstance(load_model(copied, "cpu"), OnnxEmbedder)
    write_branches(copied)
    assert isinstance(load_model(copied, "cpu"), OnnxEmbedder)


def test_another_record_leaves_the_files_in_use(copied):
    put_record(copied, {"corrected": True})
    found = load_model(copied, "cpu")
    assert isinstance(found, OnnxEmbedder)
    assert found.record == {"corrected": True}


@pytest.mark.parametrize("modality", MODALITIES)
def test_without_one_of_its_files_or_with_a_strange_one_torch_runs_a_model(copied, modality):
    file = branch_path(copied, modality)
    content = file.read_bytes()
    for strange in (b"", b"no ONNX", content[: len(content) // 2], None):
        file.unlink() if strange is None else file.write_bytes(strange)
        assert not isinstance(load_model(copied, "cpu"), OnnxEmbedder)


def test_without_onnxruntime_torch_runs_a_model(shipped, monkeypatch):
    monkeypatch.setattr(onnx_session, "can_import", lambda package: package != "onnxruntime")
    assert not isinstance(load_model(shipped, "cpu"), OnnxEmbedder)


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ({"torch"}, r"no ONNX files of its own .* pip install 'avsearch\[torch\]'\.$"),
        ({"torch", "onnxruntime"}, r"neither is installed: pip install 'avsearch\[search\]'"),
    ],
)
def test_what_to_install_is_said(copied, missing, told, monkeypatch):
    branch_path(copied, "face").unlink()
    monkeypatch.setattr(onnx_session, "can_import", lambda package: package not in missing)
    with pytest.raises(BadRequest, match=told):
        load_model(copied, "cpu")


def test_a_damaged_graph_is_said_when_it_is_run(copied, media):
    file = branch_path(copied, "face")
    content = bytearray(file.read_bytes())
    at = content.index(b"Conv")
    content[at : at + 4] = b"Cnov"
    file.write_bytes(content)
    with pytest.raises(BadRequest, match=r"cannot load .*face\.onnx \(.*Cnov"):
        load_model(copied, "cpu").embed(media[:1])


def test_a_network_is_loaded_once(shipped, media, monkeypatch):
    opened: list[Path] = []
    open_file = onnx_session._open

    def counting(path: Path, **options: Any) -> Any:
        opened.append(path)
        return open_file(path, **options)

    monkeypatch.setattr(onnx_session, "_open", counting)
    model = load_model(shipped, "cpu")
    for _ in range(3):
        model.embed(media[:1])
    assert len(opened) == 1


def test_the_same_network_gives_the_same_bytes(copied):
    files = [branch_path(copied, modality) for modality in MODALITIES]
    before = [file.read_bytes() for file in files]
    save_checkpoint(copied, "adsm", lived_adsm(), RECORD)
    write_branches(copied)
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_file_says_what_it_is_of(shipped, modality):
    file, space = branch_path(shipped, modality), model_space(shipped)
    said = onnx_session.metadata(file)
    assert said == {pair.key: pair.value for pair in onnx.load(file).metadata_props}
    assert said["weights_sha256"] == space.weights_sha256
    assert (said["model"], said["dim"], said["metric"]) == ("adsm", "16", "cosine")
    sizes = {"face": ("face_size", "32"), "voice": ("voice_seconds", "0.5")}
    assert said[sizes[modality][0]] == sizes[modality][1]


def test_weights_that_float16_holds_take_half_the_bytes(shipped, tmp_path):
    network = load_checkpoint(shipped, MODELS).network  # of weights that lay in half precision
    path, faces = tmp_path / "face.onnx", torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    write_onnx(path, OnnxBranch(network, "face"), {"faces": faces}, ["y"], free={}, facts={})
    graph = onnx.load(path).graph
    halves = [each for each in graph.initializer if each.name.endswith(".half")]
    assert {each.data_type for each in halves} == {onnx.TensorProto.FLOAT16}
    sizes = dict.fromkeys((onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT), 0)
    for each in graph.initializer:
        sizes[each.data_type] = sizes.get(each.data_type, 0) + int(np.prod(each.dims))
    assert sizes[onnx.TensorProto.FLOAT16] > 10 * sizes[onnx.TensorProto.FLOAT]


class Normed(nn.Module):
    """A spectrum, a convolution of many weights that float16 holds, and a norm that has lived."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = torchaudio.transforms.Spectrogram(510)
        self.convolution, self.norm = nn.Conv1d(256, 64, 1), nn.BatchNorm1d(64)
        for tensor in (self.norm.running_mean, self.norm.running_var, *self.parameters()):
            nn.init.uniform_(tensor.data, 0.5, 1.5).copy_(tensor.data.half())

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convolution(self.spectrum(waves).log1p()))


def normed(path: Path, *, folded: bool) -> tuple[Any, np.ndarray, np.ndarray]:
    """The graph of a Normed in a file, and what it and torch make of waves."""
    torch.manual_seed(0)
    network, waves = Normed().eval(), torch.randn(2, SAMPLES)
    write_onnx(path, network, {"waves": waves}, ["y"], free={}, facts={}, folded=folded)
    with torch.inference_mode():
        wanted = network(waves).numpy()
    return onnx.load(path).graph, onnx_session.Session(path).run(waves.numpy())[0], wanted


def kinds(graph: Any) -> dict[tuple[int, ...], int]:
    """The stored types of the matrices of a graph, by size."""
    return {tuple(each.dims): each.data_type for each in graph.initializer if len(each.dims) > 1}


def test_a_folded_network_has_its_norms_in_its_convolutions(tmp_path):
    graph, found, wanted = normed(tmp_path / "folded.onnx", folded=True)
    assert not {"BatchNormalization", "Constant"} & {node.op_type for node in graph.node}
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    stored = kinds(graph)
    assert stored.pop((64, 256, 1)) == onnx.TensorProto.FLOAT16
    assert set(stored.values()) == {onnx.TensorProto.FLOAT}  # a front end is not rounded


def test_a_network_that_is_not_folded_loses_nothing(tmp_path):
    graph, found, wanted = normed(tmp_path / "whole.onnx", folded=False)
    assert "BatchNormalization" in {node.op_type for node in graph.node}
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_file_asks_for_no_more_than_it_uses(shipped, modality):
    """An onnxruntime refuses a file that names operators of a later one."""
    model = onnx.load(branch_path(shipped, modality))
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]
    assert {node.domain for node in model.graph.node} == {""}


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_files_cannot_be_made_without_what_makes_them(package, copied, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    before = {path.name: path.read_bytes() for path in copied.parent.glob("*.onnx")}
    with pytest.raises(BadRequest, match=f"needs {package}, which is not installed"):
        write_branches(copied)
    assert {path.name: path.read_bytes() for path in copied.parent.glob("*.onnx")} == before


@pytest.mark.parametrize("name", ["acienet", "aicanet", "dsanet", "p2vanet"])
def test_a_model_that_does_more_than_embed_is_left_to_torch(name, tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, name, tiny_model(name), RECORD)
    with pytest.raises(BadRequest, match="does more than embed"):
        write_branches(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


# Front ends.


def run(path: Path, network: Any, waves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of a network for waves, by ONNX and by torch."""
    inputs = {"waves": torch.zeros(2, waves.shape[1])}
    write_onnx(path, network, inputs, ["y"], free={"waves": {0: "n"}}, facts={})
    with torch.inference_mode():
        return onnx_session.Session(path).run(waves)[0], network(torch.from_numpy(waves)).numpy()


@pytest.mark.parametrize(
    "front", [Cepstra(20), Spectrogram(), LogMels(), FilterBanks()], ids=lambda f: type(f)
)
def test_every_front_end_comes_out_the_same(front, tmp_path):
    rng = np.random.default_rng(0)
    waves = np.stack([voice(rng, SAMPLES, level).data for level in (1e-3, 0.1, 1.0)])
    found, wanted = run(tmp_path / "front.onnx", front.eval(), waves)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


@settings(max_examples=20)
@given(
    n_fft=st.integers(8, 64),
    narrower=st.integers(0, 7),
    hop=st.integers(1, 40),
    power=st.sampled_from([1, 2]),
    center=st.booleans(),
)
def test_a_spectrogram_is_its_own_by_cosines(n_fft, narrower, hop, power, center):
    theirs = torchaudio.transforms.Spectrogram(
        n_fft, n_fft - narrower, hop, power=power, center=center
    )
    waves = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 200), np.float32))
    torch.testing.assert_close(WindowedCosines(theirs)(waves), theirs(waves), atol=1e-3, rtol=1e-4)


def test_only_spectrograms_that_front_ends_have_are_known():
    with pytest.raises(NotImplementedError):
        WindowedCosines(torchaudio.transforms.Spectrogram(64, power=None))


class Remembering(nn.Module):
    """Mels through an LSTM to its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.mels, self.memory = LogMels(20), nn.LSTM(20, 8, 2, batch_first=True)

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        steps, _ = self.memory(self.mels(waves).squeeze(1).mT)
        return nn.functional.normalize(steps[:, -1])


@pytest.mark.parametrize("count", [1, 5])
def test_a_network_with_memory_takes_any_number(count, tmp_path):
    torch.manual_seed(0)
    rng = np.random.default_rng(count)
    waves = np.stack([voice(rng).data for _ in range(count)])
    found, wanted = run(tmp_path / "memory.onnx", Remembering().eval(), waves)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_network_itself_is_left_as_it_was(tmp_path):
    network = lived_adsm()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    waves = torch.zeros(2, SAMPLES)
    write_onnx(
        tmp_path / "a.onnx", OnnxBranch(network, "voice"), {"x": waves}, ["y"], free={}, facts={}
    )
    assert network.state_dict().keys() == before.keys()
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
