"""Export of torch networks to ONNX files, with float16 weights where that loses nothing.

It needs the packages ``onnx`` and ``onnxruntime``. The same network gives the same bytes.
"""

from __future__ import annotations

import copy
import io
import tempfile
import warnings
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional
from torch.onnx.utils import register_custom_op_symbolic

from indexer.runtime import optional_libraries
from indexer.runtime.atomic import replacing

OPSET = 17
_PRODUCER = "avsearch"
_NORMS = ("ConvBNFusion",)  # onnxruntime's name of folding norms into convolutions
_MANY = 1 << 14  # folded weights of one convolution from which on rounding is worth it


def write_onnx(
    path: Path,
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    *,
    free: Mapping[str, Mapping[int, str]],
    facts: Mapping[str, str],
    folded: bool = False,
) -> None:
    """Write a network in evaluation mode to an ONNX file.

    Weights that float16 holds exactly are stored as float16.

    Args:
        path: The file.
        network: The network.
        inputs: Example inputs by name.
        outputs: The names of the outputs.
        free: The axes, by input or output, that may have any length.
        facts: The metadata of the file.
        folded: Do once what onnxruntime would do at every load: compute constants, and fold norms
            into the convolutions before them, whose weights are rounded to float16 if many.

    Raises:
        BadRequest: ``onnx`` or ``onnxruntime`` is not installed.
    """
    onnx = _import("onnx")
    model = onnx.load_from_string(_traced(_without_fourier(network), inputs, outputs, free))
    rounded: set[str] = set()
    if folded:
        apart, whole = (_folded(onnx, model, without) for without in (_NORMS, ()))
        rounded, model = _weights(whole) - _weights(apart), whole
    model.producer_name, model.producer_version = _PRODUCER, ""
    _halve(onnx, model.graph, rounded)
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    # onnxruntime names every unknown length, in time that grows with the square of their number.
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))


def _import(package: str) -> Any:
    return optional_libraries.load(package, "Making ONNX files", "train")


def _traced(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    free: Mapping[str, Mapping[int, str]],
) -> bytes:
    """The ONNX bytes of the network, without any folding, which onnxruntime does."""
    register_custom_op_symbolic("aten::mT", _transposed, OPSET)  # torch lacks it
    file: Any = io.BytesIO()  # torch accepts it, but its types do not say so
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every shape that it takes as fixed
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            file,
            dynamo=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(axes) for name, axes in free.items()},
            opset_version=OPSET,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    return bytes(file.getvalue())


def _transposed(graph: Any, matrices: Any) -> Any:
    """Exchange the last two axes."""
    *others, rows, columns = range(matrices.type().dim())
    return graph.op("Transpose", matrices, perm_i=[*others, columns, rows])


def fold(model: bytes | str, to: Path, without: Sequence[str] = ()) -> None:
    """Write a model, or a file's, after onnxruntime's optimizations that hold on every machine.

    Constants are computed, and norms folded into the convolutions before them. ``without`` names
    optimizations to skip.

    Raises:
        BadRequest: onnxruntime is not installed.
    """
    onnxruntime = _import("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(to)
    onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(without)
    )


def _folded(onnx: Any, model: Any, without: Sequence[str]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "folded.onnx")
        fold(model.SerializeToString(), path, without)
        folded = onnx.load(path)
    # onnxruntime lists all operator sets that it knows; earlier versions lack some.
    del folded.opset_import[:]
    folded.opset_import.extend(model.opset_import)
    return folded


def _weights(model: Any) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def _halve(onnx: Any, graph: Any, rounded: Container[str]) -> None:
    """Store weights as float16 where that is exact, with a cast to float32 at loading.

    Weights named in ``rounded`` are rounded if they are many. Vectors stay: they would save little,
    and each adds a node.
    """
    for tensor in list(graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        if not _fits_half(values) and (tensor.name not in rounded or values.size < _MANY):
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        cast = onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT)
        graph.node.insert(0, cast)


def _fits_half(values: np.ndarray[Any, np.dtype[np.float32]]) -> bool:
    with np.errstate(over="ignore"):
        return np.array_equal(values.astype(np.float16).astype(np.float32), values)


def _without_fourier(network: nn.Module) -> nn.Module:
    """A copy with convolutions instead of Fourier transforms, as ONNX has no complex numbers."""
    network = copy.deepcopy(network)
    for name, part in list(network.named_modules()):
        if isinstance(part, torchaudio.transforms.Spectrogram):
            *above, own = name.split(".")
            setattr(network.get_submodule(".".join(above)), own, WindowedCosines(part))
    return network


class WindowedCosines(nn.Module):
    """A torchaudio Spectrogram as a convolution with cosines and sines."""

    basis: Tensor

    def __init__(self, of: torchaudio.transforms.Spectrogram) -> None:
        super().__init__()
        if not of.onesided or of.normalized or of.pad or of.power not in (1, 2):
            raise NotImplementedError("a spectrogram of a kind that no front end has")
        self.hop, self.power = of.hop_length, of.power
        self.around = of.n_fft // 2 if of.center else 0  # samples added to either side
        self.pad_mode = of.pad_mode
        self.before = (of.n_fft - of.win_length) // 2  # samples before the window, which is centred
        self.after = of.n_fft - of.win_length - self.before
        self.register_buffer("basis", _basis(of.n_fft, of.window, self.before))

    def forward(self, waves: Tensor) -> Tensor:
        """Return magnitudes or powers (B, n_fft // 2 + 1, frames) of waves (B, samples)."""
        padded = functional.pad(waves.unsqueeze(1), (self.around,) * 2, mode=self.pad_mode)
        within = functional.pad(padded, (-self.before, -self.after))
        parts = functional.conv1d(within, self.basis, stride=self.hop)
        real, imaginary = parts.chunk(2, 1)
        power = real.square() + imaginary.square()
        return power if self.power == 2 else power.sqrt()


def _basis(n_fft: int, window: Tensor, before: int) -> Tensor:
    """Cosines and sines under a window: (2 * (n_fft // 2 + 1), 1, len(window)) float32."""
    times = torch.arange(before, before + len(window), dtype=torch.float64)
    angles = torch.outer(torch.arange(n_fft // 2 + 1, dtype=torch.float64), times)
    angles = angles.remainder(n_fft) * (2 * torch.pi / n_fft)
    waves = torch.cat([angles.cos(), -angles.sin()]) * window.double()
    return waves.unsqueeze(1).float()
