"""Inner products of many vectors with many queries, in whole numbers.

The sums are exact, so any way to compute them gives the same answers. NumPy's is always there;
whoever has a faster one at hand gives it to :func:`use`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.codes import MIDDLE, Bytes


class Product(Protocol):
    """Multiplies codes with whole queries; called from several threads at once."""

    def __call__(self, codes: Bytes, queries: NDArray[np.int8]) -> NDArray[Any]:
        """(n, q) int32 or float32 of (n, dim) codes, 128 more than their worth, and (q, dim)."""


def by_numpy(codes: Bytes, queries: NDArray[np.int8]) -> NDArray[Any]:
    """Products in float32, exact up to 1040 dimensions and rounded beyond."""
    wide = codes.astype(np.float32)
    wide -= MIDDLE
    return np.asarray(wide @ queries.T.astype(np.float32))


class _Chosen:
    product: Product = staticmethod(by_numpy)


def use(product: Product) -> None:
    """Compute products this way from now on, in this process."""
    _Chosen.product = staticmethod(product)


def product() -> Product:
    """The way products are computed."""
    return _Chosen.product
