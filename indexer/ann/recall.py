"""What an approximate index finds of the exact answer, and how much sooner."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from indexer.search.vector_index import Neighbours
from indexer.types import Ids, Vectors

Search = Callable[[Vectors, int], Neighbours]


@dataclasses.dataclass(frozen=True, slots=True)
class Recall:
    """The share of the ``k`` nearest that was found, over ``asked`` items of the index.

    ``exact_ms`` and ``approximate_ms`` are medians of one query each.
    """

    kind: str
    asked: int
    k: int
    recall: float
    exact_ms: float
    approximate_ms: float


def measured(exact: Search, nearly: Search, ids: Ids, vectors: Vectors, k: int) -> Recall:
    """Ask both ways with (n, dim) vectors of items, one by one; no item counts as its own answer.

    ``kind`` is the plan's that most queries went by.
    """
    found, spent, kinds = [], [], []
    for own, query in zip(ids.tolist(), vectors, strict=True):
        (right, slow), (near, quick) = _timed(exact, query, k), _timed(nearly, query, k)
        true = _others(right, own, k)
        found.append(len(true & _others(near, own, k)) / max(len(true), 1))
        spent.append((slow, quick))
        kinds.append(near.plan.kind)
    slow, quick = np.median(spent, axis=0) * 1000
    kind = max(set(kinds), key=kinds.count)
    return Recall(kind, len(ids), k, float(np.mean(found)), float(slow), float(quick))


def _timed(search: Search, query: Vectors, k: int) -> tuple[Neighbours, float]:
    started = time.perf_counter()
    near = search(query[None], k + 1)
    return near, time.perf_counter() - started


def _others(near: Neighbours, own: int, k: int) -> set[int]:
    ranked = [number for number in near.ids[0].tolist() if number not in (own, -1)]
    return set(ranked[:k])
