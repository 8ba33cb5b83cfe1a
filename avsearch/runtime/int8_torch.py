"""int8 matrix products by torch, which uses the processor's instructions for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.search import int8_matmul
from indexer.search.int8 import ZERO_CODE, Bytes

FEW = 2  # with up to so many queries FAISS's scan is quicker: measured at 1,000,000 x 128
LANES = 16  # rows and columns are padded to a multiple of this, as torch requires


def by_torch(codes: Bytes, queries: NDArray[np.int8]) -> NDArray[Any]:
    """Return the exact products (n, q) int32 of codes (n, dim), offset by 128, and (q, dim)."""
    n, dim = codes.shape
    signed = np.bitwise_xor(codes, ZERO_CODE).view(np.int8)
    left = _filled(signed, -n % LANES, -dim % LANES)
    right = _filled(queries, -len(queries) % LANES, -dim % LANES)
    sums = torch._int_mm(torch.from_numpy(left), torch.from_numpy(right).t())
    return np.asarray(sums.numpy()[:n, : len(queries)])


def use() -> None:
    """Let every index of this process search with these products, if they are exact."""
    if _is_exact():
        int8_matmul.set_backend(int8_matmul.Int8Backend(by_torch, FEW))


def _is_exact() -> bool:
    """Return True if the largest sums are right: some older processors saturate at 16 bits."""
    codes = np.full((LANES, 1024), 2 * ZERO_CODE - 1, np.uint8)
    queries = np.full((LANES, 1024), 127, np.int8)
    return np.array_equal(by_torch(codes, queries), int8_matmul.by_numpy(codes, queries))


def _filled(rows: NDArray[np.int8], below: int, beside: int) -> NDArray[np.int8]:
    return np.pad(rows, ((0, below), (0, beside))) if below or beside else rows
