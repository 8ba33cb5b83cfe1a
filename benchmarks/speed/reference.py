"""The right answers, by ``NumpyIndex``, fast enough for a million vectors.

A float32 product proposes more candidates than needed, and ``NumpyIndex`` ranks them. They are sure
to hold the answer where the last candidate is further from the k-th than the error of both;
otherwise all rows are ranked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.world import DIM, World
from indexer.search.vector_index import NumpyIndex
from indexer.types import Ids, Vectors

SPARE = 90  # candidates beyond k
BLOCK = 65536  # rows scored at once
# Twice what a product of two float32 vectors of length 1 may be wrong by: a rounding a term.
UNSURE = 2 * DIM * float(np.finfo(np.float32).eps)


def nearest(world: World, queries: Vectors, k: int, nationality: str | None = None) -> Ids:
    """Return (q, k) rows of the world nearest to each query; -1 where fewer match."""
    rows = world.rows(nationality)
    depth = min(k + SPARE, len(rows))
    places, scores = _candidates(world, queries, rows, depth)
    out = np.full((len(queries), k), -1, np.int64)
    for q, query in enumerate(queries):
        sure = depth == len(rows) or scores[q, k - 1] - scores[q, -1] > UNSURE
        among = rows[places[q]] if sure else rows
        out[q] = _ranked(world, query, among, k)
    return out


def _ranked(world: World, query: Vectors, rows: Ids, k: int) -> Ids:
    index = NumpyIndex(DIM, "cosine")
    index.add(rows, np.asarray(world.vectors[rows]))
    best: Ids = index.search(query[None], k).ids[0]
    return best


def _candidates(
    world: World, queries: Vectors, rows: Ids, depth: int
) -> tuple[NDArray[np.int64], Vectors]:
    """(q, depth) places in ``rows`` and their scores, best first."""
    places = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        found = queries @ np.asarray(world.vectors[part]).T
        here = np.broadcast_to(np.arange(start, start + len(part)), found.shape)
        places, scores = _best(
            np.concatenate([places, here], axis=1), np.concatenate([scores, found], axis=1), depth
        )
    return places, scores


def _best(
    places: NDArray[np.int64], scores: Vectors, depth: int
) -> tuple[NDArray[np.int64], Vectors]:
    order = np.argpartition(-scores, min(depth, scores.shape[1]) - 1, axis=1)[:, :depth]
    by_score = np.argsort(-np.take_along_axis(scores, order, axis=1), axis=1)
    order = np.take_along_axis(order, by_score, axis=1)
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(scores, order, axis=1)


def recall(found: Ids, right: Ids) -> float:
    """Return the share of the right rows that were found, 0 to 1, over all queries."""
    hits = sum(len(np.intersect1d(f, r[r >= 0])) for f, r in zip(found, right, strict=True))
    return hits / max(1, int((right >= 0).sum()))


def identical(found: Ids, right: Ids) -> int:
    """Return the number of queries with exactly the right rows in the right order."""
    return int((found == right).all(axis=1).sum())
