"""int8 quantization with an error bound.

A scan of codes reads a quarter of the bytes of float32, and their inner products are exact
integers. The loss of the quantization is measured when the codes are made, so that a scan knows how
far each product may be from the true one, and no true neighbour is ever missed.

**The bound.** Let x be a vector, x' its decoded codes, q a query, q' its rounded form, and

- e = max ``|x - x'|`` over all vectors (``Codes.error``),
- L = max ``|x|`` over all vectors (``Codes.longest``),
- f = ``|q - q'|`` (``RoundedQueries.errors``).

Then ``<q, x> - <q', x'> = <q, x - x'> + <q - q', x'>``. By Cauchy-Schwarz, and since
``|x'| <= |x| + |x - x'| <= L + e``, its size is at most ``|q| e + f (L + e)``, plus
the rounding of float32 (:func:`float_error`). A vector whose quantized nearness plus this bound
stays below the k-th largest of nearness minus bound cannot be among the k nearest.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from indexer.search.vector_index import Rows, norms
from indexer.types import Vectors

ZERO_CODE = 128  # the code of zero
MAX_CODE = 127  # largest distance of a code from ZERO_CODE
BLOCK = 16384  # rows coded at a time, few enough for the processor's cache
CAUTION = 1 + 1e-6  # factor on all bounds, which are floating point themselves

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Vectors as (n, dim) uint8 ``content``, decoded as ``scale * (code - 128)``.

    Attributes:
        content: the codes.
        scale: the value of one step, the same for all components.
        error: the largest distance of a vector from its decoded codes (e of the module's bound).
        longest: the largest norm of a vector (L of the bound).
    """

    content: Bytes
    scale: float
    error: float
    longest: float

    @classmethod
    def of(cls, vectors: Vectors) -> Codes:
        """Quantize (n, dim) finite vectors."""
        scale = _scale(vectors)
        content = np.empty(vectors.shape, np.uint8)
        error = longest = 0.0
        for start in range(0, len(vectors), BLOCK):
            block = vectors[start : start + BLOCK]
            whole = _whole(block, scale)
            np.add(whole, ZERO_CODE, out=content[start : start + BLOCK], casting="unsafe")
            longest = max(longest, float(norms(block).max()))
            whole *= np.float32(scale)
            error = max(error, float(norms(np.subtract(block, whole, out=whole)).max()))
        rounding = 2 * float(np.finfo(np.float32).eps) * longest
        return cls(content, scale, error * CAUTION + rounding, longest * CAUTION)

    def __len__(self) -> int:
        return len(self.content)

    def at(self, rows: Rows | slice) -> Codes:
        """Return the codes of these rows, with the same bounds."""
        return dataclasses.replace(self, content=self.content[rows])


class RoundedQueries:
    """(q, dim) queries rounded to int8: a query is about its ``scales`` times its ``whole``.

    ``whole`` is (q, dim) int8. ``errors`` (q,) are the distances of the queries from their rounded
    form (f of the module's bound), ``lengths`` (q,) their norms.
    """

    def __init__(self, queries: Vectors) -> None:
        self.scales: Floats = np.array([_scale(query[None]) for query in queries])
        whole = [_whole(q, scale) for q, scale in zip(queries, self.scales, strict=True)]
        self.whole: NDArray[np.int8] = np.array(whole, np.int8).reshape(queries.shape)
        self.errors: Floats = CAUTION * norms(queries - self.whole * self.scales[:, None])
        self.lengths: Floats = CAUTION * norms(queries)

    def error_bound(self, codes: Codes) -> Floats:
        """Return (q,) how far a product of rounded values may be from the true inner product.

        This is the module's bound, with the rounding of float32 in the sums, in half the squared
        norms, and in the exact scores.
        """
        quantization = self.lengths * codes.error + self.errors * (codes.longest + codes.error)
        return quantization + float_error(self.whole.shape[1], self.lengths + codes.longest)


def float_error(terms: int, reach: Floats) -> Floats:
    """Return a bound on the error of a float32 sum of ``terms`` products.

    ``reach`` bounds the norms of both factors together. Each of the additions rounds once, by at
    most eps of the sum of the absolute products, which is below ``reach`` squared.
    """
    eps = float(np.finfo(np.float32).eps)
    return np.asarray(eps * (2 * terms + 32) * reach**2)


def _scale(vectors: Vectors) -> float:
    """Return the value of one step, rounded to float32 so that all computations agree on it."""
    largest = max(float(vectors.max(initial=0)), -float(vectors.min(initial=0)))
    return float(np.float32(max(largest / MAX_CODE, 1e-30)))


def _whole(vectors: Vectors, scale: float) -> Vectors:
    whole = vectors / np.float32(scale)
    np.rint(whole, out=whole)
    return np.clip(whole, -MAX_CODE, MAX_CODE, out=whole)
