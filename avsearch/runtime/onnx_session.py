"""Run ONNX files on the CPU with onnxruntime, which no other module imports.

Reading a file's metadata does not need onnxruntime, so a file that does not fit costs little.
"""

from __future__ import annotations

import ctypes
import importlib.util
import io
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

from numpy.typing import NDArray

from indexer.errors import BadRequest, printable
from indexer.runtime.atomic import absolute, require_readable

_NUMBER, _BYTES = 0, 2  # the wire types of protocol buffers that a model's outer message has
_BITS = 63  # of the largest size or position in a file
_METADATA: Final = 14  # ModelProto.metadata_props, messages of a key (1) and a value (2)
_LARGEST: Final = 1 << 16  # the most bytes read of a key or value; the file may not be ONNX
_GPU: Final = "CUDAExecutionProvider"
_SILENT: Final = 4  # log fatal errors only: onnxruntime raises the others


def can_import(package: str) -> bool:
    """Return True if a package is installed, without importing it."""
    return importlib.util.find_spec(package) is not None


def has_gpu_driver() -> bool:
    """Return True if the driver of an NVIDIA GPU is installed."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


class Session:
    """A network in an ONNX file, loaded for its first run; threads may share it.

    Each run uses one core, that of the calling thread; with ``gpu`` a GPU if onnxruntime can.
    """

    def __init__(self, path: Path | str, *, gpu: bool = False) -> None:
        self._path = absolute(path)  # the working folder may change before it is read
        self._gpu = gpu
        self._session: Any = None
        self._early: Future[Any] | None = None
        self._loading = threading.Lock()

    def begin(self) -> None:
        """Start to load the file in a thread, for one run that is about to come.

        For that run the file is loaded without graph optimisation: in half the time, to run at
        little more than half the speed. Later runs load it as usual. If the file cannot be
        loaded, the run raises the error.
        """
        with self._loading:
            if self._session is None and self._early is None:
                thread = ThreadPoolExecutor(1, "loading")
                self._early = thread.submit(_open, self._path, optimised=False)
                thread.shutdown(wait=False)

    def run(self, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the network's outputs, in its order, for its inputs, in its order.

        Raises:
            BadRequest: The file is missing or damaged.
        """
        with self._loading:
            early, self._early = self._early, None
        if early is not None:
            session = early.result()
        else:
            with self._loading:
                if self._session is None:
                    self._session = _open(self._path, gpu=self._gpu)
                session = self._session
        names = (each.name for each in session.get_inputs())
        outputs: list[NDArray[Any]] = session.run(None, dict(zip(names, inputs, strict=True)))
        return outputs


def _open(path: Path, *, optimised: bool = True, gpu: bool = False) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not optimised:
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    options.enable_mem_pattern = False  # meant for inputs of one size
    options.enable_mem_reuse = False  # the allocator frees more memory than that plan, as quickly
    providers = ["CPUExecutionProvider"]
    if gpu and _GPU in onnxruntime.get_available_providers() and has_gpu_driver():
        providers.insert(0, _GPU)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common base class
        require_readable(path)
        said = " ".join(str(error).split()).rstrip(".")
        raise BadRequest(
            f"onnxruntime {onnxruntime.__version__} cannot load {printable(path)} ({said}); "
            "copy or install it again."
        ) from error


def metadata(path: Path) -> dict[str, str]:
    """Return the metadata of an ONNX file by key; empty for a file that cannot be read.

    The graph is skipped, so a large file takes no longer.
    """
    try:
        with path.open("rb") as file:
            pairs = [dict(_fields(io.BytesIO(entry))) for _, entry in _fields(file, _METADATA)]
        return {pair[1].decode(): pair[2].decode() for pair in pairs}
    except (OSError, KeyError, ValueError, OverflowError):
        return {}


def _fields(message: BinaryIO, wanted: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of a message's byte fields, all or those of one number."""
    while (tag := _varint(message)) is not None:
        number, kind = tag >> 3, tag & 7
        size = _varint(message)
        if size is None or kind not in (_NUMBER, _BYTES):
            raise ValueError("this is no message of ONNX")
        if kind == _BYTES and wanted in (None, number):
            yield number, message.read(min(size, _LARGEST))
        elif kind == _BYTES:
            message.seek(size, os.SEEK_CUR)


def _varint(message: BinaryIO) -> int | None:
    """Return the next number, 7 bits a byte, the lowest first; None at the message's end."""
    value, shift = 0, 0
    while shift < _BITS and (byte := message.read(1)):
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
        shift += 7
    return None
