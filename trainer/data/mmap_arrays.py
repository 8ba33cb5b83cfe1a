"""Memory-mapped arrays of safetensors and npz files.

A mapped array costs no memory until its rows are read. Nothing is unpickled: an array of Python
objects is rejected.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from indexer.errors import BadRequest, os_reason, printable
from indexer.runtime.atomic import require_readable

Arrays = dict[str, NDArray[Any]]

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "U8": "|u1",
}
# The errors of zipfile for a damaged archive; RuntimeError stands for a password.
_OF_ZIP = (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError, zlib.error)


def map_safetensors(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Return the mapped tensors of a safetensors file, and its metadata.

    Raises:
        BadRequest: The file is missing, not safetensors, cut short, or has a type of numbers that
            NumPy does not have.
    """
    require_readable(path)
    try:
        with safe_open(path, framework="np") as checked:  # the header, and that nothing is missing
            checked.keys()
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(size))
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    metadata: dict[str, str] = header.pop("__metadata__", {})
    return {name: _tensor(path, 8 + size, entry) for name, entry in header.items()}, metadata


def map_npz(path: Path) -> Arrays:
    """Return the arrays of an npz file; uncompressed ones are mapped.

    Raises:
        BadRequest: The file is missing, not npz, cut short, or holds objects.
    """
    require_readable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                entry.filename.removesuffix(".npy"): _member(path, archive, entry)
                for entry in archive.infolist()
            }
    except _OF_ZIP as error:
        raise _unreadable(path, error) from error


def _tensor(path: Path, start: int, entry: dict[str, Any]) -> NDArray[Any]:
    if entry["dtype"] not in _DTYPES:
        raise BadRequest(
            f"{printable(path)} holds numbers of type {entry['dtype']}; save them as F32 or F16."
        )
    return _mapped(path, _DTYPES[entry["dtype"]], start + entry["data_offsets"][0], entry["shape"])


def _member(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(entry) as file:
        if entry.compress_type != zipfile.ZIP_STORED:
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
            return array
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        skipped = file.tell()
    if dtype.hasobject:
        raise ValueError("it holds Python objects; save strings and numbers as arrays of them")
    at = _data_offset(path, entry) + skipped
    return _mapped(path, dtype, at, shape, order="F" if fortran else "C")


def _data_offset(path: Path, entry: zipfile.ZipInfo) -> int:
    """The offset of a member's bytes, after its local header of variable length."""
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)
        name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return entry.header_offset + 30 + name + extra


def _mapped(path: Path, dtype: Any, offset: int, shape: Any, order: Any = "C") -> NDArray[Any]:
    if not np.prod(shape):  # an empty file cannot be mapped
        return np.empty(tuple(shape), dtype)
    return np.memmap(path, dtype, "r", offset, tuple(shape), order)


def _unreadable(path: Path, error: Exception) -> BadRequest:
    if isinstance(error, OSError) and error.errno:
        return BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.")
    return BadRequest(f"{printable(path)} cannot be read, or is cut short: {error}.")
