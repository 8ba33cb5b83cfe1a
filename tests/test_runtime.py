"""What an ONNX file says of itself, read without onnxruntime."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from avsearch import runtime
from indexer.errors import BadRequest

texts = st.text(max_size=300)


def model(facts: dict[str, str], doc: str = "") -> bytes:
    """A network that gives its input back, and says these of itself."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "same",
        [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    made = helper.make_model(graph, doc_string=doc, producer_name="test")
    helper.set_model_props(made, facts)
    return made.SerializeToString()


@settings(max_examples=60)
@given(facts=st.dictionaries(texts, texts, max_size=5), doc=texts)
def test_it_is_what_onnx_reads(facts, doc, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    path.write_bytes(model(facts, doc))
    assert runtime.metadata(path) == facts
    assert {pair.key: pair.value for pair in onnx.load(path).metadata_props} == facts


@settings(max_examples=200)
@given(content=st.binary(max_size=60), cut=st.integers(0, 200), whole=st.booleans())
def test_of_what_is_no_network_nothing_is_read_and_nothing_is_raised(
    content, cut, whole, tmp_path_factory
):
    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    path.write_bytes(model({"a": "b"})[:cut] + content if whole else content)
    assert isinstance(runtime.metadata(path), dict)
    assert runtime.metadata(path.parent) == runtime.metadata(path.parent / "none") == {}


def test_a_file_that_is_no_network_is_refused_by_name(tmp_path: Path):
    (tmp_path / "a.onnx").write_bytes(b"no network")
    for name in ("a.onnx", "none.onnx"):
        with pytest.raises(BadRequest, match=rf"{name} is missing, damaged, or"):
            runtime.Session(tmp_path / name).run()
