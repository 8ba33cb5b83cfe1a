"""Candidates by FAISS: for a few queries from the codes, and for any number on GPUs.

The only file that imports FAISS, when there is something to scan. Nothing of its settings is
changed.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from indexer.errors import BadRequest
from indexer.runtime import optional_libraries, threads
from indexer.search.code_block import Stretch
from indexer.search.int8 import MIDDLE, Codes, Floats, float_error
from indexer.search.vector_index import Device, Mask, Rows, lengths_of
from indexer.types import Metric, Vectors

SPARE = 256  # candidates asked for beyond k: what rounding to bytes leaves open, as a rule
SMALLEST_PIECE = 16384  # rows that are worth a thread of their own
GPU_DEEPEST = 2048  # FAISS answers with no more neighbours than this on a GPU
HALF_EPS = 2.0**-11  # float16 rounds by at most this share
HALF_LARGEST = 60000.0  # float16 overflows a little above
_MISSING = "The index needs faiss, which is not installed: pip install 'avsearch[search]'."


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """What a scan of n rows gave: (q, depth) nearness and rows, -1 pads; (q,) how unsure it is.

    ``whole`` says that no row that counts is missing.
    """

    nearness: Floats
    rows: Rows
    unsure: Floats
    whole: bool


def candidates(
    queries: Vectors, k: int, stretches: Sequence[Stretch], metric: Metric
) -> list[Rows]:
    """For each query the rows that may be among its k nearest, and all that tie with them.

    FAISS runs one query on one core, so the rows are cut into as many pieces as there are cores.
    """
    faiss = import_faiss()
    rows = sum(map(len, stretches))
    size = max(-(-rows // threads.cores()), SMALLEST_PIECE)
    pieces = [piece for stretch in stretches for piece in stretch.pieces(size)]
    each = threads.each if rows > SMALLEST_PIECE else map

    def scan(depth: int) -> list[_Found]:
        return list(each(lambda s: _scan(faiss, queries, depth, s, metric), pieces))

    return _deep_enough(scan, k)


def _deep_enough(scan: Callable[[int], list[_Found]], k: int) -> list[Rows]:
    """Ask for more and more until the last row given is surely further than the k-th."""
    depth = k + SPARE
    while True:
        found = scan(depth)
        mark = _kth_least(found, k)
        if all(one.whole or np.all(_most(one)[:, -1] < mark) for one in found):
            return _reaching(found, mark)
        depth *= 4


def _kth_least(found: Sequence[_Found], k: int) -> Floats:
    """(q,) that k rows are at least this near; -inf where there are not so many."""
    least = np.concatenate([one.nearness - one.unsure[:, None] for one in found], axis=1)
    if least.shape[1] < k:
        return np.full(len(least), -np.inf)
    return np.asarray(np.partition(least, -k, axis=1)[:, -k])


def _most(found: _Found) -> Floats:
    return np.asarray(found.nearness + found.unsure[:, None])


def _reaching(found: Sequence[_Found], mark: Floats) -> list[Rows]:
    most = np.concatenate([_most(one) for one in found], axis=1)
    rows = np.concatenate([one.rows for one in found], axis=1)
    keep = (most >= mark[:, None]) & (rows >= 0)
    return [row[kept] for row, kept in zip(rows, keep, strict=True)]


def _scan(
    faiss: types.ModuleType, queries: Vectors, depth: int, stretch: Stretch, metric: Metric
) -> _Found:
    """The nearest by their codes; the products of a byte and a float32 are FAISS's own."""
    index = _over(faiss, stretch.codes, metric)
    depth = min(depth, stretch.matching)
    params = None if stretch.wanted is None else _selecting(faiss, stretch.wanted)
    found, rows = index.search(queries, depth, params=params) if depth else _nothing(queries)
    nearness = found.astype(np.float64)
    if metric == "l2":
        nearness = -np.sqrt(np.maximum(nearness, 0))
    nearness[rows < 0] = -np.inf
    return _Found(
        nearness,
        np.where(rows < 0, -1, stretch.numbers(rows)),
        _unsure(queries, stretch.codes, metric),
        depth == stretch.matching,
    )


def _nothing(queries: Vectors) -> tuple[Vectors, Rows]:
    return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.intp)


def _over(faiss: types.ModuleType, codes: Codes, metric: Metric) -> Any:
    """A FAISS index that reads the codes where they are; they must outlive it."""
    kind = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
    content = codes.content
    uniform = faiss.ScalarQuantizer.QT_8bit_uniform
    index = faiss.IndexScalarQuantizer(content.shape[1], uniform, kind)
    # FAISS takes a code c as a + b * (c + 0.5) / 255.
    line = np.array([-(MIDDLE + 0.5) * codes.scale, 255 * codes.scale], np.float32)
    faiss.copy_array_to_vector(line, index.sq.trained)
    unowned = faiss.MaybeOwnedVectorUInt8()
    index.codes = unowned.create_view(faiss.swig_ptr(content), content.size, unowned.owner)
    index.ntotal, index.is_trained = len(codes), True
    return index


def _selecting(faiss: types.ModuleType, wanted: Mask) -> Any:
    bits = np.packbits(wanted, bitorder="little")
    return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))


def _unsure(queries: Vectors, codes: Codes, metric: Metric) -> Floats:
    """(q,) how far FAISS's nearness may be from the truth: the codes' error, and rounding.

    Nearness is the inner product or, under l2, the negative distance.
    """
    lengths, dim = lengths_of(queries), queries.shape[1]
    reach = lengths + codes.longest + codes.error
    decoding = 8 * np.finfo(np.float32).eps * MIDDLE * codes.scale * np.sqrt(dim)
    if metric == "cosine":
        return np.asarray(lengths * (codes.error + decoding) + float_error(dim, reach))
    return np.asarray(codes.error + decoding + float_error(dim, np.sqrt(reach)))


class GpuCopy:
    """Float16 copies of (n, dim) vectors, on one GPU or in equal shares on all there are.

    Never asked with a filter: FAISS's GPU index drops an id selector without a word. Raises
    BadRequest where FAISS has no GPU support or finds none.
    """

    def __init__(self, vectors: Vectors, metric: Metric) -> None:
        faiss = import_faiss()
        _check_gpu(faiss)
        self._metric = metric
        self._longest = float(lengths_of(vectors).max(initial=0))
        self._count = len(vectors)
        flat = (faiss.IndexFlatIP if metric == "cosine" else faiss.IndexFlatL2)(vectors.shape[1])
        flat.add(vectors)
        options = faiss.GpuMultipleClonerOptions()
        options.useFloat16 = self._longest < HALF_LARGEST
        options.shard = True
        self._index = faiss.index_cpu_to_all_gpus(flat, options)

    def candidates(self, queries: Vectors, k: int) -> list[Rows] | None:
        """As :func:`candidates` of all rows; None where the GPU cannot look deep enough."""
        depth = min(k + SPARE, self._count)
        while depth <= GPU_DEEPEST:
            found = [self._nearest(queries, depth)]
            mark = _kth_least(found, k)
            if found[0].whole or np.all(_most(found[0])[:, -1] < mark):
                return _reaching(found, mark)
            depth = min(4 * depth, max(self._count, depth + 1))
        return None

    def _nearest(self, queries: Vectors, depth: int) -> _Found:
        found, rows = self._index.search(queries, depth)
        nearness = np.asarray(found, np.float64) * (-1 if self._metric == "l2" else 1)
        nearness[rows < 0] = -np.inf
        return _Found(nearness, rows, self._unsure(queries), depth == self._count)

    def _unsure(self, queries: Vectors) -> Floats:
        """(q,) how far inner products or squared distances of float16 may be from the truth.

        Both sides are rounded once, by ``HALF_EPS`` of their length and, near zero, by at most
        2**-25 a component.
        """
        reach = lengths_of(queries) + self._longest
        dim = queries.shape[1]
        halves = 3 * (HALF_EPS * reach + 2.0**-24 * np.sqrt(dim)) * (reach + 2.0**-24)
        return np.asarray(halves + float_error(dim, reach))


def require_faiss(device: Device) -> None:
    """Raises BadRequest where FAISS is not installed, or has no GPU although one was asked for."""
    if importlib.util.find_spec("faiss") is None:
        raise BadRequest(_MISSING)
    if device == "cuda":
        _check_gpu(import_faiss())


def import_faiss() -> types.ModuleType:
    """FAISS; BadRequest that says what to install where it is missing."""
    return optional_libraries.load("faiss", "The index", "search")


def _check_gpu(faiss: types.ModuleType) -> None:
    """Raises BadRequest where FAISS has no GPU to search on."""
    if not hasattr(faiss, "StandardGpuResources"):
        raise BadRequest(
            "Search on cuda was asked for, but the faiss installed here has no GPU support: "
            "pip install 'avsearch[gpu]', or search on the cpu."
        )
    if faiss.get_num_gpus() < 1:
        raise BadRequest(
            "Search on cuda was asked for, but faiss finds no GPU here: search on the cpu."
        )
