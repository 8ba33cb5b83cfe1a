"""A linear network as an ONNX file, byte by byte, so that no tests need the onnx package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLOAT = 1  # of TensorProto.DataType


def write_linear(
    path: Path,
    weights: NDArray[np.float32],
    inputs: list[int | str],
    *,
    squared: bool = False,
    rows: int | str = "n",
) -> Path:
    """``Flatten(x) @ weights`` for an input (rows, *inputs); ``squared`` adds two empty axes."""
    nodes = [_node("Flatten", ["x"], ["flat"]), _node("MatMul", ["flat", "w"], ["y"])]
    if squared:
        nodes.append(_node("Unsqueeze", ["y", "axes"], ["z"]))
    axes = _tensor("axes", np.array([2, 3]), 7)
    graph = (
        b"".join(_field(1, node) for node in nodes)
        + _field(2, b"g")
        + _field(5, _tensor("w", weights, FLOAT))
        + (_field(5, axes) if squared else b"")
        + _field(11, _value("x", [rows, *inputs]))
        + _field(12, _value("z" if squared else "y", [rows, "d", 1, 1][: 4 if squared else 2]))
    )
    opset = _field(8, _number(2, 13))
    path.write_bytes(_number(1, 8) + _field(7, graph) + opset)
    return path


def _node(kind: str, inputs: list[str], outputs: list[str]) -> bytes:
    names = [_field(1, name.encode()) for name in inputs]
    names += [_field(2, name.encode()) for name in outputs]
    return b"".join(names) + _field(4, kind.encode())


def _tensor(name: str, values: NDArray[np.generic], kind: int) -> bytes:
    sizes = b"".join(_number(1, size) for size in values.shape)
    return sizes + _number(2, kind) + _field(8, name.encode()) + _field(9, values.tobytes())


def _value(name: str, shape: list[int | str]) -> bytes:
    sizes = [_number(1, s) if isinstance(s, int) else _field(2, s.encode()) for s in shape]
    dimensions = b"".join(_field(1, size) for size in sizes)
    tensor = _number(1, FLOAT) + _field(2, dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
