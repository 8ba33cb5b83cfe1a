"""Inner products of many vectors with many queries, in whole numbers.

The sums are exact, so any way to compute them gives the same answers. NumPy's is always there;
whoever has a faster one at hand gives it to :func:`use`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.search.int8 import MIDDLE, Bytes


class Product(Protocol):
    """Multiplies codes with whole queries; called from several threads unless used as threaded."""

    def __call__(self, codes: Bytes, queries: NDArray[np.int8]) -> NDArray[Any]:
        """(n, q) int32 or float32 of (n, dim) codes, 128 more than their worth, and (q, dim)."""


PIECE = 4096  # rows made float32 at a time: they stay in the processor's own memory


def by_numpy(codes: Bytes, queries: NDArray[np.int8]) -> NDArray[Any]:
    """Products in float32, exact up to 1040 dimensions and rounded beyond."""
    turned = np.ascontiguousarray(queries.T, np.float32)
    out = np.empty((len(codes), len(queries)), np.float32)
    for start in range(0, len(codes), PIECE):
        wide = np.subtract(codes[start : start + PIECE], MIDDLE, dtype=np.float32)
        np.matmul(wide, turned, out=out[start : start + PIECE])
    return out


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """A way to compute products, and up to how many queries a scan by FAISS is quicker.

    ``threaded`` says that it uses all cores by itself, so that it is called from one thread.
    """

    product: Product
    few: int
    threaded: bool = False


class _Chosen:
    way = Way(by_numpy, few=24, threaded=True)  # measured at 1,000,000 x 128


def use(way: Way) -> None:
    """Compute products this way from now on, in this process."""
    _Chosen.way = way


def way() -> Way:
    """The way products are computed."""
    return _Chosen.way
