"""ONNX files, run on the CPU by onnxruntime where it is installed. Its only importer here.

What a file says of itself is read without it, so that a file that does not fit costs nothing.
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

_NUMBER, _BYTES = 0, 2  # wire types of protocol buffers; a model's outermost message has no other
_BITS = 63  # of the largest number that a size or a place in a file can be
_METADATA: Final = 14  # ModelProto.metadata_props, messages of a key (1) and a value (2)
_LARGEST: Final = 1 << 16  # bytes of a key, a value or both that are read of a file that is none
_GPU: Final = "CUDAExecutionProvider"
_SILENT: Final = 4  # onnxruntime says what is fatal and no more: errors are raised as well


def is_installed() -> bool:
    """Whether onnxruntime can be imported."""
    return can_import("onnxruntime")


def can_import(package: str) -> bool:
    """Whether a package is installed, told without importing it."""
    return importlib.util.find_spec(package) is not None


def has_gpu_driver() -> bool:
    """Return True if the driver of an NVIDIA GPU is installed."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


class Session:
    """A network in an ONNX file, loaded when it is first run; threads may share it.

    Each run is on one core, that of the thread that asks; with ``gpu``, on a GPU where onnxruntime
    can use one.
    """

    def __init__(self, path: Path | str, *, gpu: bool = False) -> None:
        self._path = absolute(path)  # it may be read much later
        self._gpu = gpu
        self._session: Any = None
        self._early: Future[Any] | None = None
        self._loading = threading.Lock()

    def begin(self) -> None:
        """Load it in a thread meanwhile, for one run that is about to come.

        For that run it is taken as the file has it: loaded in half the time, it runs at little more
        than half the speed. What is run after it is loaded as ever. A file that cannot be loaded is
        an error of the run's.
        """
        with self._loading:
            if self._session is None and self._early is None:
                thread = ThreadPoolExecutor(1, "loading")
                self._early = thread.submit(_open, self._path, optimised=False)
                thread.shutdown(wait=False)

    def run(self, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The network's outputs, in its order, for its inputs, in its order.

        Raises BadRequest where the file is missing or damaged.
        """
        session = self._begun() or self._loaded()
        names = (each.name for each in session.get_inputs())
        outputs: list[NDArray[Any]] = session.run(None, dict(zip(names, inputs, strict=True)))
        return outputs

    def _begun(self) -> Any:
        """What was begun, which is given to one run; None where nothing was."""
        with self._loading:
            early, self._early = self._early, None
        return None if early is None else early.result()

    def _loaded(self) -> Any:
        with self._loading:
            if self._session is None:
                self._session = _open(self._path, gpu=self._gpu)
            return self._session


def _open(path: Path, *, optimised: bool = True, gpu: bool = False) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not optimised:
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    options.enable_mem_pattern = False  # it is for inputs that are all of one size
    options.enable_mem_reuse = False  # the allocator takes back more than that plan, as quickly
    providers = ["CPUExecutionProvider"]
    if gpu and _GPU in onnxruntime.get_available_providers() and has_gpu_driver():
        providers.insert(0, _GPU)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common root of their own
        require_readable(path)
        said = " ".join(str(error).split()).rstrip(".")
        raise BadRequest(
            f"onnxruntime {onnxruntime.__version__} cannot load {printable(path)} ({said}); "
            "copy or install it again."
        ) from error


def metadata(path: Path) -> dict[str, str]:
    """What an ONNX file says of itself, by key; nothing where it cannot be read or is none.

    The graph is stepped over, so that this takes no longer for a large file.
    """
    try:
        with path.open("rb") as file:
            pairs = [dict(_fields(io.BytesIO(entry))) for _, entry in _fields(file, _METADATA)]
        return {pair[1].decode(): pair[2].decode() for pair in pairs}
    except (OSError, KeyError, ValueError, OverflowError):
        return {}


def _fields(message: BinaryIO, wanted: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Number and content of a message's fields of bytes, all or those of one number."""
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
    """The next number, 7 bits a byte, the lowest first; None at the message's end."""
    value, shift = 0, 0
    while shift < _BITS and (byte := message.read(1)):
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
        shift += 7
    return None
