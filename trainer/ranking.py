"""How well queries order whole galleries: precision, recall and ranks of every query.

Nothing is sorted but the scores: where a relevant item stands follows from how many items score
at least as high. Galleries of 20,000 against 20,000 queries take seconds and little memory.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import Bools, Floats

Ints = NDArray[np.int64]

_BLOCK_BYTES = 64 << 20  # of scores held at a time
CUTS = (1, 2, 5, 10, 20, 50, 100)  # the k of precision and recall at k


@dataclasses.dataclass(frozen=True, slots=True)
class Ranking:
    """Figures of q queries; NaN, and rank 0, for a query to which nothing in the gallery answers.

    Items of equal score share one threshold in the average precision; for ranks the wrong ones
    of them stand first, so that a scorer without an opinion gains nothing.
    """

    average_precision: NDArray[np.float64]  # (q,)
    first: Ints  # (q,) rank of the first right answer, from 1
    relevant: Ints  # (q,) right answers in the gallery
    found: Ints  # (q, len(cuts)) right answers among the first k
    cuts: tuple[int, ...]

    def precision(self) -> NDArray[np.float64]:
        """Share of right answers among the first k, (q, len(cuts))."""
        return self._share(np.array(self.cuts, float)[None])

    def recall(self) -> NDArray[np.float64]:
        """Share of the right answers that are among the first k, (q, len(cuts))."""
        return self._share(self.relevant[:, None].astype(float))

    def cmc(self, ranks: int) -> NDArray[np.float64]:
        """Share of the queries whose first right answer has rank r or better, r = 1 .. ranks."""
        first = self.first[self.relevant > 0]
        shares: NDArray[np.float64] = (first[:, None] <= np.arange(1, ranks + 1)).mean(0)
        return shares

    def _share(self, of: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.relevant[:, None] > 0, self.found / of, np.nan)


def rank_vectors(
    queries: Floats,
    gallery: Floats,
    query_labels: Ints,
    gallery_labels: Ints,
    *,
    excluded: Callable[[slice], Bools] | None = None,
    cuts: Sequence[int] = CUTS,
) -> Ranking:
    """Rank a gallery (g, dim) for each of the queries (q, dim) by dot product.

    An item is a right answer where its label is the query's. ``excluded`` gives for a slice of
    the queries which items (b, g) do not count for them, such as the query itself.
    """

    def scores(rows: slice) -> Floats:
        return queries[rows] @ gallery.T

    return rank(scores, query_labels, gallery_labels, excluded=excluded, cuts=cuts)


def rank(
    scores: Callable[[slice], Floats],
    query_labels: Ints,
    gallery_labels: Ints,
    *,
    excluded: Callable[[slice], Bools] | None = None,
    cuts: Sequence[int] = CUTS,
) -> Ranking:
    """Rank a gallery for queries, of which ``scores`` gives a slice's (b, g) at a time."""
    members = {int(label): np.flatnonzero(gallery_labels == label) for label in set(query_labels)}
    size = max(1, _BLOCK_BYTES // (4 * max(1, len(gallery_labels))))
    parts: list[tuple[float, int, int, Ints]] = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for start in range(0, len(query_labels), size):
            rows = slice(start, min(start + size, len(query_labels)))
            relevant = [members[int(label)] for label in query_labels[rows]]
            gone = [None] * len(relevant) if excluded is None else excluded(rows)
            parts += pool.map(_rank_one, scores(rows), relevant, gone, [cuts] * len(relevant))
    values, first, count, found = zip(*parts, strict=True) if parts else ((), (), (), ())
    return Ranking(
        np.array(values, np.float64),
        np.array(first, np.int64),
        np.array(count, np.int64),
        np.array(found, np.int64).reshape(len(parts), len(cuts)),
        tuple(cuts),
    )


def _rank_one(
    scores: Floats, relevant: Ints, gone: Bools | None, cuts: Sequence[int]
) -> tuple[float, int, int, Ints]:
    """Average precision, first rank, count, and right answers among the first k, of a query."""
    if gone is not None:
        relevant = relevant[~gone[relevant]]
    own = np.sort(scores[relevant])  # rising
    if not len(own):
        return float("nan"), 0, 0, np.zeros(len(cuts), np.int64)
    everything = np.sort(scores if gone is None else scores[~gone])
    as_high = len(everything) - np.searchsorted(everything, own, "left")
    own_as_high = len(own) - np.searchsorted(own, own, "left")
    ranks = as_high - own_as_high + np.arange(len(own), 0, -1)  # falling
    found = np.array([(ranks <= cut).sum() for cut in cuts], np.int64)
    return float((own_as_high / as_high).mean()), int(ranks[-1]), len(own), found
