"""ONNX files: what they say of themselves, and how they are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from avsearch.runtime import onnx_session
from indexer.errors import BadRequest

texts = st.text(max_size=300)
GPU, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def model(facts: dict[str, str], doc: str = "") -> bytes:
    """A network that gives its input back, and says these of itself."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "same",
        [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    made = helper.make_model(
        graph,
        doc_string=doc,
        producer_name="test",
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )
    helper.set_model_props(made, facts)
    return made.SerializeToString()


@settings(max_examples=60)
@given(facts=st.dictionaries(texts, texts, max_size=5), doc=texts)
def test_it_is_what_onnx_reads(facts, doc, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    path.write_bytes(model(facts, doc))
    assert onnx_session.metadata(path) == facts
    assert {pair.key: pair.value for pair in onnx.load(path).metadata_props} == facts


@settings(max_examples=200)
@given(content=st.binary(max_size=60), cut=st.integers(0, 200), whole=st.booleans())
def test_of_what_is_no_network_nothing_is_read_and_nothing_is_raised(
    content, cut, whole, tmp_path_factory
):
    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    path.write_bytes(model({"a": "b"})[:cut] + content if whole else content)
    assert isinstance(onnx_session.metadata(path), dict)
    assert onnx_session.metadata(path.parent) == onnx_session.metadata(path.parent / "none") == {}


def test_a_file_that_is_no_network_is_refused_by_name(tmp_path: Path):
    (tmp_path / "a.onnx").write_bytes(b"no network")
    faults = {
        "a.onnx": r"onnxruntime [\d.]+ cannot load .*a\.onnx \(.*Protobuf parsing failed\)",
        "none.onnx": r"none\.onnx cannot be read: No such file or directory; check the name\.",
    }
    for name, fault in faults.items():
        with pytest.raises(BadRequest, match=fault):
            onnx_session.Session(tmp_path / name).run()


def test_a_network_that_was_begun_runs_as_any_does(tmp_path: Path):
    path = tmp_path / "a.onnx"
    path.write_bytes(model({}))
    begun = onnx_session.Session(path)
    begun.begin()
    begun.begin()  # which is nothing new
    for value in range(3):
        np.testing.assert_array_equal(begun.run(np.float32([value]))[0], [value])


def test_what_was_begun_is_for_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, opened = tmp_path / "a.onnx", []
    path.write_bytes(model({}))
    really = onnx_session._open
    monkeypatch.setattr(
        onnx_session, "_open", lambda *path, **how: opened.append(how) or really(*path, **how)
    )
    session = onnx_session.Session(path)
    session.begin()
    for _ in range(3):
        session.run(np.float32([0]))
    session.begin()  # it is there, optimised
    session.run(np.float32([0]))
    assert opened == [{"optimised": False}, {"gpu": False}]


def test_a_file_that_cannot_be_loaded_is_an_error_of_the_run(tmp_path: Path):
    session = onnx_session.Session(tmp_path / "none.onnx")
    session.begin()
    for _ in range(2):
        with pytest.raises(BadRequest, match=r"none\.onnx cannot be read: No such"):
            session.run()


@pytest.mark.parametrize(
    ("gpu", "has_driver", "used"),
    [(True, True, [GPU, CPU]), (True, False, [CPU]), (False, True, [CPU])],
)
def test_a_gpu_is_used_where_it_is_wanted_and_there(
    gpu: bool, has_driver: bool, used: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.onnx"
    path.write_bytes(model({}))
    really = onnxruntime.InferenceSession

    def on_the_cpu(*given: Any, providers: list[str]) -> Any:
        asked.append(providers)
        return really(*given, providers=[CPU])

    asked: list[list[str]] = []
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [GPU, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", on_the_cpu)
    monkeypatch.setattr(onnx_session, "has_gpu_driver", lambda: has_driver)
    onnx_session.Session(path, gpu=gpu).run(np.float32([1]))
    assert asked == [used]
