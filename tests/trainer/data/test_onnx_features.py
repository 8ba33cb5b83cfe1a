from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from indexer.errors import BadRequest
from tests.helpers.onnx_files import write_linear
from trainer.data.load import DataOptions, read_data
from trainer.data.onnx_features import Encoder, OnnxEncoder, encode_entries
from trainer.data.prepared_cache import ShardItems, prepare
from trainer.data.sources import FaceSource
from trainer.data.synthetic.dataset import parse_synthetic, synthetic_jobs

needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)
SIZES = SimpleNamespace(face_size=24, voice_seconds=0.5)
SPEC = "synthetic:people=5,takes=2,seconds=0.5"
rng = np.random.default_rng(0)
FACE = rng.standard_normal((3 * 16 * 16, 4)).astype(np.float32) / 100
VOICE = rng.standard_normal((4000, 6)).astype(np.float32) / 100


class Means:
    """An encoder that gives each face its mean colour; remembers how much it was asked."""

    def __init__(self, identity: str = "means") -> None:
        self.identity = identity
        self.asked = 0

    def encode(self, inputs):
        self.asked += len(inputs)
        return inputs.mean((2, 3), dtype=np.float32)


def encoded(folder: Path, encoder: Encoder):
    jobs, _ = synthetic_jobs(parse_synthetic(SPEC))
    entries = prepare(jobs, 20, folder).of("face")
    source = FaceSource(ShardItems(entries), [entry.job.origin for entry in entries], 16)
    return source, encode_entries(entries, source, encoder)


def test_features_are_those_of_each_item_and_are_computed_once(tmp_path):
    encoder = Means()
    source, features = encoded(tmp_path, encoder)
    assert features.features == (3,)
    assert features.origin(3) == source.origin(3) == "synthetic/p00001"
    for row in range(10):
        plain = source.gather(np.array([row]), None).mean((2, 3))
        np.testing.assert_allclose(features.gather(np.array([row]), None), plain, rtol=1e-5)
    assert encoder.asked == 10
    np.testing.assert_array_equal(encoded(tmp_path, encoder)[1].values, features.values)
    assert encoder.asked == 10
    encoded(tmp_path, Means("others"))
    assert encoded(tmp_path, encoder)[1].features == (3,)
    assert encoder.asked == 10


def test_features_that_were_damaged_are_computed_again(tmp_path):
    features = encoded(tmp_path, Means())[1]
    for file in tmp_path.glob("*.face.safetensors"):
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)
    encoder = Means()
    np.testing.assert_array_equal(encoded(tmp_path, encoder)[1].values, features.values)
    assert encoder.asked == 10


@needs_onnx
def test_a_data_set_is_encoded_by_the_networks_named(tmp_path):
    face = write_linear(tmp_path / "f.onnx", FACE, [3, 16, 16])
    voice = write_linear(tmp_path / "v.onnx", VOICE, [4000])
    data = read_data(
        [SPEC],
        SIZES,
        tmp_path / "cache",
        DataOptions("whole", face_encoder=face, voice_encoder=voice),
    )
    plain = read_data([SPEC], SimpleNamespace(face_size=16, voice_seconds=0.25), tmp_path / "cache")
    rows = np.array([3, 9])
    pixels = plain.faces.batch(rows).inputs.numpy().reshape(2, -1) * (2 / 255) - 1
    np.testing.assert_allclose(data.faces.batch(rows).inputs, pixels @ FACE, atol=1e-4)
    samples = plain.voices.batch(rows).inputs.numpy()
    np.testing.assert_allclose(data.voices.batch(rows).inputs, samples @ VOICE, atol=1e-4)
    assert data.faces.people.tolist() == plain.faces.people.tolist()


@needs_onnx
def test_networks_of_any_length_and_of_maps_are_taken(tmp_path):
    voices = rng.standard_normal((3, 4000)).astype(np.float32)
    encoder = OnnxEncoder(write_linear(tmp_path / "v.onnx", VOICE, [1, "samples"], squared=True))
    assert encoder.length is None
    found = encoder.encode(voices)
    assert found.shape == (3, 6, 1, 1)
    np.testing.assert_allclose(found[:, :, 0, 0], voices @ VOICE, atol=1e-3)
    single = OnnxEncoder(write_linear(tmp_path / "one.onnx", VOICE, [4000], rows=1))
    np.testing.assert_allclose(single.encode(voices), voices @ VOICE, atol=1e-3)


@needs_onnx
def test_what_is_no_encoder_is_refused(tmp_path):
    (tmp_path / "f.onnx").write_bytes(b"not a network")
    with pytest.raises(BadRequest, match=r"f.onnx cannot be used as an encoder"):
        OnnxEncoder(tmp_path / "f.onnx")
    with pytest.raises(BadRequest, match=r"There is no encoder .*absent.onnx"):
        OnnxEncoder(tmp_path / "absent.onnx")
    encoder = OnnxEncoder(write_linear(tmp_path / "v.onnx", VOICE, [4000]))
    with pytest.raises(BadRequest, match=r"v.onnx cannot be used as an encoder"):
        encoder.encode(np.zeros((2, 300), np.float32))


def test_without_onnxruntime_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BadRequest, match=r"pip install 'avsearch\[onnx\]'"):
        OnnxEncoder(tmp_path / "f.onnx")
