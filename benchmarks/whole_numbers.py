"""ONNX files in whole numbers of 8 bits, by onnxruntime's own quantisation."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime import quantization

from trainer.export_onnx import fold

FRONT_END = "/transform/"  # in the names of what torchaudio's transforms are made of


def write_int8(file: Path, to: Path, batches: Iterable[NDArray[Any]]) -> None:
    """Quantise convolutions and products of a network, a scale a channel.

    Activations are scaled by what the network makes of ``batches``. The front end stays as it is:
    the energies of a voice span more than 8 bits.
    """
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"
        fold(str(file), folded)  # widens weights as well: the quantiser finds no others
        logging.disable(logging.WARNING)  # onnxruntime advises what has been done by then
        model = onnx.load(folded)
        quantization.quantize_static(
            folded,
            to,
            _Reader(model.graph.input[0].name, iter(batches)),
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            nodes_to_exclude=[node.name for node in model.graph.node if FRONT_END in node.name],
            per_channel=True,
        )
        logging.disable(logging.NOTSET)


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Batches as the quantiser asks for them."""

    def __init__(self, name: str, batches: Iterator[NDArray[Any]]) -> None:
        self._name, self._batches = name, batches

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}
