"""A part of an index as a file: its arrays one after the other, to be mapped into memory.

A file never changes once it has its name, so a reader that has it mapped goes on with what it
began with, also when the file is deleted. There is nothing in it but the arrays: how many rows
it has, and the checksum of each array, is written in the cache's stamp.
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
from indexer.search.segment import Part
from indexer.search.vector_index import Mask
from indexer.types import Metric, Space

UNFINISHED = ".new-"  # what names of files begin with that are not written to their end
SEGMENT, GONE = "segment-", "gone-"

Section = tuple[str, np.dtype[Any], tuple[int, ...]]


class UnfitCacheError(Exception):
    """The cache cannot be used as it is; the message says why. It is never a user's problem."""


class NoCacheError(UnfitCacheError):
    """There is no cache, or there is none any more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What the stamp says of a segment: rows, the CRC-32 of each array, its codes' bounds.

    ``gone`` names the file that marks its deleted items, one bit each, and ``gone_sum`` is the
    checksum of that.
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
        """The names of its files."""
        return [self.name] if self.gone is None else [self.name, self.gone]


def write_part(folder: Path, part: Part, metric: Metric) -> Facts:
    """Write a part under a new name, its deleted items left out of account."""
    arrays = [
        np.ascontiguousarray(_array(part, name), dtype)
        for name, dtype, _ in _sections(len(part), part.vectors.shape[1], metric)
    ]
    name = write_new(folder, SEGMENT, arrays)
    names = [name for name, _, _ in _sections(0, 1, metric)]
    sums = {name: _sum(array) for name, array in zip(names, arrays, strict=True)}
    codes = part.codes
    return Facts(name, len(part), sums, codes.scale, codes.error, codes.longest)


def with_gone(folder: Path, facts: Facts, gone: Mask | None) -> Facts:
    """The facts with these items marked as deleted, written to a file if they are others."""
    if gone is None:
        return dataclasses.replace(facts, gone=None, gone_sum=0)
    bits = np.packbits(gone)
    if facts.gone is not None and (folder / facts.gone).exists() and _sum(bits) == facts.gone_sum:
        return facts
    return dataclasses.replace(facts, gone=write_new(folder, GONE, [bits]), gone_sum=_sum(bits))


def map_part(folder: Path, facts: Facts, space: Space) -> Part:
    """The part in a file, mapped, none of it read; UnfitCacheError where the size is wrong."""
    arrays = _mapped(folder, facts, space)
    codes = Codes(arrays["codes"], facts.scale, facts.error, facts.longest)
    return Part(
        arrays["ids"],
        arrays["people"],
        arrays["faces"],
        arrays["vectors"],
        codes,
        arrays.get("halves"),
        read_gone(folder, facts),
        facts.name,
    )


def read_gone(folder: Path, facts: Facts) -> Mask | None:
    """Which items of a segment are deleted; UnfitCacheError where that cannot be read."""
    if facts.gone is None:
        return None
    try:
        bits = np.frombuffer((folder / facts.gone).read_bytes(), np.uint8)
    except OSError as error:
        raise UnfitCacheError(f"{facts.gone} cannot be read ({error.strerror})") from error
    if _sum(bits) != facts.gone_sum or len(bits) != -(-facts.rows // 8):
        raise UnfitCacheError(f"{facts.gone} is not what the stamp says: changed or cut short")
    return np.unpackbits(bits, count=facts.rows).astype(bool)


def check(segments: Iterable[tuple[Facts, Part]], metric: Metric) -> None:
    """Compare every array with its checksum; UnfitCacheError where one differs."""
    arrays = [
        (facts, name, _array(part, name))
        for facts, part in segments
        for name, _, _ in _sections(0, 1, metric)
    ]
    sums = threads.each(_sum, [array for _, _, array in arrays])
    for (facts, name, _), found in zip(arrays, sums, strict=True):
        if facts.sums.get(name) != found:
            raise UnfitCacheError(
                f"the {name} in {facts.name} are not what the stamp says: changed or cut short"
            )


def write_new(folder: Path, kind: str, arrays: Sequence[NDArray[Any] | bytes]) -> str:
    """Write arrays one after the other to a file of a new name, which is returned."""
    name = kind + secrets.token_hex(8)
    replace(folder / name, arrays)
    return name


def replace(path: Path, content: Iterable[NDArray[Any] | bytes]) -> None:
    """Write a file whole under a temporary name, then give it its own."""
    unfinished = path.with_name(UNFINISHED + secrets.token_hex(8))
    with unfinished.open("xb") as file:
        for piece in content:
            file.write(_bytes(piece))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _sections(rows: int, dim: int, metric: Metric) -> Iterator[Section]:
    """The arrays of a segment in their order: the widest numbers first, so all are aligned."""
    yield "ids", np.dtype("<i8"), (rows,)
    yield "people", np.dtype("<i8"), (rows,)
    yield "vectors", np.dtype("<f4"), (rows, dim)
    if metric == "l2":
        yield "halves", np.dtype("<f4"), (rows,)
    yield "codes", np.dtype("u1"), (rows, dim)
    yield "faces", np.dtype("?"), (rows,)


def _array(part: Part, name: str) -> NDArray[Any]:
    return part.codes.content if name == "codes" else np.asarray(getattr(part, name))


def _mapped(folder: Path, facts: Facts, space: Space) -> dict[str, NDArray[Any]]:
    content = _map(folder / facts.name)
    arrays, offset = {}, 0
    for name, dtype, shape in _sections(facts.rows, space.dim, space.metric):
        size = dtype.itemsize * int(np.prod(shape))
        if offset + size > len(content):
            raise UnfitCacheError(f"{facts.name} is cut short")
        arrays[name] = np.frombuffer(content, dtype, size // dtype.itemsize, offset).reshape(shape)
        offset += size
    if offset != len(content):
        raise UnfitCacheError(f"{facts.name} is longer than the stamp says")
    return arrays


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise UnfitCacheError(f"{path.name} cannot be read ({error})") from error


def _sum(array: NDArray[Any]) -> int:
    return zlib.crc32(_bytes(array))


def _bytes(array: NDArray[Any] | bytes) -> memoryview:
    """The bytes of an array whose rows follow each other, not copied."""
    flat = np.frombuffer(array, np.uint8) if isinstance(array, bytes) else array.reshape(-1)
    return flat.view(np.uint8).data
