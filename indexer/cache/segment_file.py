"""A segment as one file of arrays, to be mapped into memory.

A file never changes once it has its name, so a reader that has mapped it is not disturbed, even by
its deletion. The file holds the arrays alone; the manifest has their number of rows and checksums.
"""

from __future__ import annotations

import dataclasses
import mmap
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.runtime import threads
from indexer.search.int8 import Codes
from indexer.search.segment import Segment
from indexer.search.vector_index import Mask
from indexer.types import Metric, Space

UNFINISHED = ".new-"  # prefix of files that are being written
SEGMENT, DELETED = "segment-", "gone-"  # prefixes of segments and of their tombstones

Section = tuple[str, np.dtype[Any], tuple[int, ...]]


class UnfitCacheError(Exception):
    """The cache cannot be used, for the reason in the message; it is rebuilt, never reported."""


class NoCacheError(UnfitCacheError):
    """There is no cache."""


@dataclasses.dataclass(frozen=True, slots=True)
class SegmentInfo:
    """The entry of a segment in the manifest; the field names are its keys in the file.

    Attributes:
        name: the file of the segment.
        rows: its number of items.
        sums: the CRC-32 of each array.
        scale: see :class:`indexer.search.int8.Codes`, also for ``error`` and ``longest``.
        gone: the file of its tombstones, one bit per item; None if nothing is deleted.
        gone_sum: the CRC-32 of that file.
    """

    name: str
    rows: int
    sums: dict[str, int]
    scale: float
    error: float
    longest: float
    gone: str | None = None
    gone_sum: int = 0

    def files(self) -> list[str]:
        """Return the names of its files."""
        return [self.name] if self.gone is None else [self.name, self.gone]


def write_segment(folder: Path, segment: Segment, metric: Metric) -> SegmentInfo:
    """Write a segment, without its tombstones, under a new name."""
    arrays = {
        name: np.ascontiguousarray(_array(segment, name), dtype)
        for name, dtype, _ in _sections(len(segment), segment.vectors.shape[1], metric)
    }
    name = write_new(folder, SEGMENT, list(arrays.values()))
    sums = {each: _checksum(array) for each, array in arrays.items()}
    codes = segment.codes
    return SegmentInfo(name, len(segment), sums, codes.scale, codes.error, codes.longest)


def with_deleted(folder: Path, info: SegmentInfo, deleted: Mask | None) -> SegmentInfo:
    """Return the entry with these tombstones, which are written if they changed."""
    if deleted is None:
        return dataclasses.replace(info, gone=None, gone_sum=0)
    bits = np.packbits(deleted)
    if info.gone is not None and (folder / info.gone).exists() and _checksum(bits) == info.gone_sum:
        return info
    name = write_new(folder, DELETED, [bits])
    return dataclasses.replace(info, gone=name, gone_sum=_checksum(bits))


def map_segment(folder: Path, info: SegmentInfo, space: Space) -> Segment:
    """Map the segment of a file without reading it; UnfitCacheError if its size is wrong."""
    path = folder / info.name
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise UnfitCacheError(f"{path.name} cannot be read ({error})") from error
    arrays: dict[str, NDArray[Any]] = {}
    offset = 0
    for name, dtype, shape in _sections(info.rows, space.dim, space.metric):
        size = dtype.itemsize * int(np.prod(shape))
        if offset + size > len(content):
            raise UnfitCacheError(f"{info.name} is cut short")
        arrays[name] = np.frombuffer(content, dtype, size // dtype.itemsize, offset).reshape(shape)
        offset += size
    if offset != len(content):
        raise UnfitCacheError(f"{info.name} is longer than the manifest says")
    return Segment(
        arrays["ids"],
        arrays["people"],
        arrays["faces"],
        arrays["vectors"],
        Codes(arrays["codes"], info.scale, info.error, info.longest),
        arrays.get("halves"),
        read_deleted(folder, info),
        info.name,
    )


def read_deleted(folder: Path, info: SegmentInfo) -> Mask | None:
    """Return the mask of deleted items; UnfitCacheError if it cannot be read."""
    if info.gone is None:
        return None
    try:
        bits = np.frombuffer((folder / info.gone).read_bytes(), np.uint8)
    except OSError as error:
        raise UnfitCacheError(f"{info.gone} cannot be read ({error.strerror})") from error
    if _checksum(bits) != info.gone_sum or len(bits) != -(-info.rows // 8):
        raise UnfitCacheError(f"{info.gone} differs from the manifest: changed or cut short")
    return np.unpackbits(bits, count=info.rows).astype(bool)


def check(segments: Iterable[tuple[SegmentInfo, Segment]], metric: Metric) -> None:
    """Compare every array with its checksum; UnfitCacheError if one differs."""
    arrays = [
        (info, name, _array(segment, name))
        for info, segment in segments
        for name, _, _ in _sections(0, 1, metric)
    ]
    sums = threads.each(_checksum, [array for _, _, array in arrays])
    for (info, name, _), found in zip(arrays, sums, strict=True):
        if info.sums.get(name) != found:
            raise UnfitCacheError(
                f"the {name} in {info.name} differ from the manifest: changed or cut short"
            )


def write_new(folder: Path, prefix: str, arrays: Sequence[NDArray[Any] | bytes]) -> str:
    """Write arrays one after the other to a new file, and return its name."""
    name = prefix + secrets.token_hex(8)
    replace(folder / name, arrays)
    return name


def replace(path: Path, content: Iterable[NDArray[Any] | bytes]) -> None:
    """Write a file under a temporary name, flush it to the disk, and rename it."""
    unfinished = path.with_name(UNFINISHED + secrets.token_hex(8))
    with unfinished.open("xb") as file:
        for piece in content:
            file.write(_bytes(piece))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _sections(rows: int, dim: int, metric: Metric) -> Iterator[Section]:
    """Yield the arrays of a file in their order, the widest numbers first, so all are aligned."""
    yield "ids", np.dtype("<i8"), (rows,)
    yield "people", np.dtype("<i8"), (rows,)
    yield "vectors", np.dtype("<f4"), (rows, dim)
    if metric == "l2":
        yield "halves", np.dtype("<f4"), (rows,)  # half_sq_norms
    yield "codes", np.dtype("u1"), (rows, dim)
    yield "faces", np.dtype("?"), (rows,)


def _array(segment: Segment, name: str) -> NDArray[Any]:
    if name == "codes":
        return segment.codes.content
    return np.asarray(getattr(segment, "half_sq_norms" if name == "halves" else name))


def _checksum(array: NDArray[Any]) -> int:
    return zlib.crc32(_bytes(array))


def _bytes(array: NDArray[Any] | bytes) -> memoryview:
    """Return the bytes of a contiguous array without copying them."""
    flat = np.frombuffer(array, np.uint8) if isinstance(array, bytes) else array.reshape(-1)
    return flat.view(np.uint8).data
