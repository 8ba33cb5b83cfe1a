"""Candidates by FAISS: from int8 codes for a few queries, from float16 on GPUs.

The only module that imports FAISS, when there is something to scan. It changes no setting of FAISS.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from indexer.errors import BadRequest
from indexer.runtime import optional_libraries, threads
from indexer.search.code_block import CodeBlock
from indexer.search.int8 import ZERO_CODE, Codes, Floats, float_error
from indexer.search.vector_index import Device, Rows, norms
from indexer.types import Metric, Vectors

SPARE = 256  # candidates requested beyond k: usually enough for the error of the quantization
SMALLEST_PIECE = 16384  # rows that are worth a thread of their own
GPU_DEEPEST = 2048  # FAISS returns no more neighbours than this on a GPU
HALF_EPS = 2.0**-11  # relative rounding error of float16
HALF_LARGEST = 60000.0  # float16 overflows a little above
_MISSING = "The index needs faiss, which is not installed: pip install 'avsearch[search]'."


@dataclasses.dataclass(frozen=True, slots=True)
class _ScanResult:
    """The result of a scan.

    Attributes:
        nearness: (q, depth) approximate nearness.
        rows: (q, depth) row numbers, -1 pads.
        bound: (q,) largest error of the nearness.
        complete: True if no row that counts is missing.
    """

    nearness: Floats
    rows: Rows
    bound: Floats
    complete: bool

    @property
    def upper(self) -> Floats:
        """(q, depth) upper bounds of the true nearness."""
        return np.asarray(self.nearness + self.bound[:, None])


def candidates(queries: Vectors, k: int, blocks: Sequence[CodeBlock], metric: Metric) -> list[Rows]:
    """Return for each query the rows that may be among its k nearest, with all ties.

    FAISS runs one query on one core, so the rows are split into as many pieces as there are cores.
    """
    faiss = import_faiss()
    rows = sum(map(len, blocks))
    size = max(-(-rows // threads.cores()), SMALLEST_PIECE)
    pieces = [piece for block in blocks for piece in block.pieces(size)]
    each = threads.each if rows > SMALLEST_PIECE else map

    def scan(depth: int) -> list[_ScanResult]:
        return list(each(lambda piece: _scan(faiss, queries, depth, piece, metric), pieces))

    depth = k + SPARE
    while (found := _reaching(scan(depth), k)) is None:
        depth *= 4
    return found


def _reaching(results: Sequence[_ScanResult], k: int) -> list[Rows] | None:
    """Return for each query the rows whose upper bound reaches the k-th largest lower bound.

    Returns None if rows may be missing: the last row of an incomplete result still reaches it.
    """
    lower = np.concatenate([one.nearness - one.bound[:, None] for one in results], axis=1)
    threshold = np.full(len(lower), -np.inf)
    if lower.shape[1] >= k:
        threshold = np.asarray(np.partition(lower, -k, axis=1)[:, -k])
    if not all(one.complete or np.all(one.upper[:, -1] < threshold) for one in results):
        return None
    upper = np.concatenate([one.upper for one in results], axis=1)
    rows = np.concatenate([one.rows for one in results], axis=1)
    reaching = (upper >= threshold[:, None]) & (rows >= 0)
    return [row[mask] for row, mask in zip(rows, reaching, strict=True)]


def _scan(
    faiss: types.ModuleType, queries: Vectors, depth: int, block: CodeBlock, metric: Metric
) -> _ScanResult:
    """Return the nearest rows of a block by FAISS's products of codes and float32 queries."""
    index = _index_over(faiss, block.codes, metric)
    depth = min(depth, block.matching)
    params = None
    if block.wanted is not None:
        bits = np.packbits(block.wanted, bitorder="little")
        params = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
    found = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.intp)
    if depth:
        found, rows = index.search(queries, depth, params=params)
    nearness = found.astype(np.float64)
    if metric == "l2":
        nearness = -np.sqrt(np.maximum(nearness, 0))
    nearness[rows < 0] = -np.inf
    return _ScanResult(
        nearness,
        np.where(rows < 0, -1, block.index_rows(rows)),
        _error_bound(queries, block.codes, metric),
        depth == block.matching,
    )


def _index_over(faiss: types.ModuleType, codes: Codes, metric: Metric) -> Any:
    """Return a FAISS index that reads the codes in place; they must outlive it."""
    kind = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
    content = codes.content
    uniform = faiss.ScalarQuantizer.QT_8bit_uniform
    index = faiss.IndexScalarQuantizer(content.shape[1], uniform, kind)
    # FAISS decodes a code c as a + b * (c + 0.5) / 255.
    line = np.array([-(ZERO_CODE + 0.5) * codes.scale, 255 * codes.scale], np.float32)
    faiss.copy_array_to_vector(line, index.sq.trained)
    unowned = faiss.MaybeOwnedVectorUInt8()
    index.codes = unowned.create_view(faiss.swig_ptr(content), content.size, unowned.owner)
    index.ntotal, index.is_trained = len(codes), True
    return index


def _error_bound(queries: Vectors, codes: Codes, metric: Metric) -> Floats:
    """Return (q,) how far FAISS's nearness may be from the true one.

    Queries stay float32, so of the bound in :mod:`indexer.search.int8` only the term of the codes
    remains: ``|q| e`` for the inner product and, by the triangle inequality, e for the negative
    distance under l2. FAISS's float32 decoding and summing are added.
    """
    lengths, dim = norms(queries), queries.shape[1]
    reach = lengths + codes.longest + codes.error
    decoding = 8 * np.finfo(np.float32).eps * ZERO_CODE * codes.scale * np.sqrt(dim)
    if metric == "cosine":
        return np.asarray(lengths * (codes.error + decoding) + float_error(dim, reach))
    return np.asarray(codes.error + decoding + float_error(dim, np.sqrt(reach)))


class GpuCopy:
    """Float16 copies of (n, dim) vectors, on one GPU or in equal shares on all.

    It takes no filter: FAISS's GPU index silently ignores an id selector. Raises BadRequest if
    FAISS has no GPU support or finds none.
    """

    def __init__(self, vectors: Vectors, metric: Metric) -> None:
        faiss = import_faiss()
        _check_gpu(faiss)
        self._metric = metric
        self._longest = float(norms(vectors).max(initial=0))
        self._count = len(vectors)
        flat = (faiss.IndexFlatIP if metric == "cosine" else faiss.IndexFlatL2)(vectors.shape[1])
        flat.add(vectors)
        options = faiss.GpuMultipleClonerOptions()
        options.useFloat16 = self._longest < HALF_LARGEST
        options.shard = True
        self._index = faiss.index_cpu_to_all_gpus(flat, options)

    def candidates(self, queries: Vectors, k: int) -> list[Rows] | None:
        """Return candidates as :func:`candidates` does; None if the GPU cannot search so deep."""
        depth = min(k + SPARE, self._count)
        while depth <= GPU_DEEPEST:
            found, rows = self._index.search(queries, depth)
            nearness = np.asarray(found, np.float64) * (-1 if self._metric == "l2" else 1)
            nearness[rows < 0] = -np.inf
            bound = self._error_bound(queries)
            result = _ScanResult(nearness, rows, bound, depth == self._count)
            reaching = _reaching([result], k)
            if reaching is not None:
                return reaching
            depth = min(4 * depth, max(self._count, depth + 1))
        return None

    def _error_bound(self, queries: Vectors) -> Floats:
        """Return (q,) how far products or squared distances of float16 may be from the true ones.

        Both sides are rounded once, by ``HALF_EPS`` of their norm and, near zero, by at most
        2**-25 per component.
        """
        reach = norms(queries) + self._longest
        dim = queries.shape[1]
        rounding = 3 * (HALF_EPS * reach + 2.0**-24 * np.sqrt(dim)) * (reach + 2.0**-24)
        return np.asarray(rounding + float_error(dim, reach))


def require_faiss(device: Device) -> None:
    """Raise BadRequest if FAISS is not installed, or has no GPU although ``device`` is cuda."""
    if importlib.util.find_spec("faiss") is None:
        raise BadRequest(_MISSING)
    if device == "cuda":
        _check_gpu(import_faiss())


def import_faiss() -> types.ModuleType:
    """Return FAISS; raises BadRequest that says what to install if it is missing."""
    return optional_libraries.load("faiss", "The index", "search")


def _check_gpu(faiss: types.ModuleType) -> None:
    if not hasattr(faiss, "StandardGpuResources"):
        raise BadRequest(
            "Search on cuda was asked for, but the faiss installed here has no GPU support: "
            "pip install 'avsearch[gpu]', or search on the cpu."
        )
    if faiss.get_num_gpus() < 1:
        raise BadRequest(
            "Search on cuda was asked for, but faiss finds no GPU here: search on the cpu."
        )
