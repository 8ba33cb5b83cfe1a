"""Integer products of many codes with many queries.

The sums are exact, so every backend gives the same answers. NumPy's is always there;
:func:`set_backend` replaces it by a faster one.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.search.int8 import ZERO_CODE, Bytes

BLOCK = 4096  # rows converted to float32 at a time, few enough for the processor's cache


class Product(Protocol):
    """A product of codes with int8 queries."""

    def __call__(self, codes: Bytes, queries: NDArray[np.int8]) -> NDArray[Any]:
        """Return (n, q) int32 or float32 products of (n, dim) codes less 128 with (q, dim)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Int8Backend:
    """A way to compute products.

    Attributes:
        product: the function; several threads call it at once unless it is ``threaded``.
        max_faiss_queries: up to this number of queries a scan by FAISS is faster.
        threaded: True if ``product`` uses all cores by itself.
    """

    product: Product
    max_faiss_queries: int
    threaded: bool = False


def by_numpy(codes: Bytes, queries: NDArray[np.int8]) -> NDArray[Any]:
    """Return products in float32, exact up to 1040 dimensions and rounded beyond."""
    turned = np.ascontiguousarray(queries.T, np.float32)
    out = np.empty((len(codes), len(queries)), np.float32)
    for start in range(0, len(codes), BLOCK):
        wide = np.subtract(codes[start : start + BLOCK], ZERO_CODE, dtype=np.float32)
        np.matmul(wide, turned, out=out[start : start + BLOCK])
    return out


class _Current:
    backend = Int8Backend(by_numpy, 24, threaded=True)  # 24: measured at 1,000,000 x 128


def set_backend(backend: Int8Backend) -> None:
    """Use a backend from now on, in this process."""
    _Current.backend = backend


def backend() -> Int8Backend:
    """Return the backend in use."""
    return _Current.backend
