"""Retrieval in whole galleries: precision, recall and ranks of every query.

Only scores are sorted: the rank of a relevant item follows from the number of items that score at
least as high. 20,000 queries against a gallery of 20,000 take seconds and little memory.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.runtime import threads
from trainer.evaluation.metrics import Bools, Floats

Ints = NDArray[np.int64]

# Bytes of scores in one block; one block for each core is held, and one is being made. From 32 MiB
# on the C library returns memory to the system, which then has to clear the next block.
_BLOCK_BYTES = 31 << 20
_CHUNK = 128  # queries that are sorted at a time: few enough for a core's cache
_NEVER = np.iinfo(np.int64).max  # the rank of excluded items
CUTS = (1, 2, 5, 10, 20, 50, 100)  # the k of precision and recall at k


@dataclasses.dataclass(frozen=True, slots=True)
class Ranking:
    """The ranks of q queries; NaN, and rank 0, for a query without a right answer.

    Items of equal score share one threshold in the average precision. For ranks, wrong items come
    before right ones of equal score, so that a constant scorer gains nothing.
    """

    average_precision: NDArray[np.float64]  # (q,)
    first: Ints  # (q,) rank of the first right answer, from 1
    relevant: Ints  # (q,) right answers in the gallery
    found: Ints  # (q, len(cuts)) right answers among the first k
    cuts: tuple[int, ...]

    def precision(self) -> NDArray[np.float64]:
        """Return the share of right answers among the first k, (q, len(cuts))."""
        return self._share(np.array(self.cuts, float)[None])

    def recall(self) -> NDArray[np.float64]:
        """Return the share of the right answers that are among the first k, (q, len(cuts))."""
        return self._share(self.relevant[:, None].astype(float))

    def cmc(self, ranks: int) -> NDArray[np.float64]:
        """Return the share of queries with a right answer at rank r or better, r = 1 .. ranks."""
        first = self.first[self.relevant > 0]
        shares: NDArray[np.float64] = (first[:, None] <= np.arange(1, ranks + 1)).mean(0)
        return shares

    def _share(self, of: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.relevant[:, None] > 0, self.found / of, np.nan)


def rank(
    scores: Callable[[slice], Floats],
    query_labels: Ints,
    gallery_labels: Ints,
    *,
    excluded: Callable[[slice], Bools] | None = None,
    cuts: Sequence[int] = CUTS,
) -> Ranking:
    """Rank a gallery for queries; threads rank one block while the next is scored.

    Args:
        scores: Gives the scores (b, g) of a slice of the queries.
        query_labels: (q,); an item is a right answer where it has the query's label.
        gallery_labels: (g,).
        excluded: Gives for a slice the items (b, g) to ignore, such as the query itself.
        cuts: The k of precision and recall at k.
    """
    members = {int(label): np.flatnonzero(gallery_labels == label) for label in set(query_labels)}
    size = max(1, _BLOCK_BYTES // (4 * max(1, len(gallery_labels))))
    cores = threads.cores()
    made, waiting = [_no_answers(0, len(cuts))], collections.deque[Future[_Ranks]]()
    with ThreadPoolExecutor(cores) as pool:
        for start in range(0, len(query_labels), size):
            rows = slice(start, min(start + size, len(query_labels)))
            ignored = None if excluded is None else excluded(rows)
            block = scores(rows), query_labels[rows], members, ignored, tuple(cuts)
            waiting.append(pool.submit(_rank_block, *block))
            if len(waiting) > cores:
                made.append(waiting.popleft().result())
        made += [each.result() for each in waiting]
    values, first, relevant, found = (np.concatenate(column) for column in zip(*made, strict=True))
    return Ranking(values, first, relevant, found, tuple(cuts))


class _Ranks(NamedTuple):
    """The arrays of a :class:`Ranking` for some of its queries."""

    average_precision: NDArray[np.float64]
    first: Ints
    relevant: Ints
    found: Ints


def _no_answers(queries: int, cuts: int) -> _Ranks:
    none = np.zeros(queries, np.int64)
    return _Ranks(np.full(queries, np.nan), none, none.copy(), np.zeros((queries, cuts), np.int64))


def _rank_block(
    scores: Floats,
    labels: Ints,
    members: Mapping[int, Ints],
    ignored: Bools | None,
    cuts: tuple[int, ...],
) -> _Ranks:
    """Rank a block (b, g), the queries of each label together."""
    ranks = _no_answers(len(labels), len(cuts))
    for label in np.unique(labels):
        relevant, alike = members[int(label)], np.flatnonzero(labels == label)
        if not len(relevant):
            continue
        for start in range(0, len(alike), _CHUNK):
            rows = alike[start : start + _CHUNK]
            part = _rank_alike(scores, rows, relevant, ignored, cuts)
            for whole, own in zip(ranks, part, strict=True):
                whole[rows] = own
    return ranks


def _rank_alike(
    scores: Floats, rows: Ints, relevant: Ints, ignored: Bools | None, cuts: tuple[int, ...]
) -> _Ranks:
    """Rank the rows (n,) of a block that have the same relevant items."""
    own = scores[np.ix_(rows, relevant)]
    if ignored is not None:
        own = np.where(ignored[np.ix_(rows, relevant)], np.nan, own)
    own.sort(1)  # rising, with ignored items at the end
    counts = ~np.isnan(own)
    count = counts.sum(1)
    as_high = np.stack(  # the number of items that score at least as high as each relevant one
        [
            len(rising) - rising.searchsorted(relevant_scores)
            for rising, relevant_scores in zip(_sorted(scores, rows, ignored), own, strict=True)
        ]
    )
    place = np.arange(own.shape[1])
    new = np.pad(own[:, 1:] != own[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    own_as_high = count[:, None] - np.maximum.accumulate(np.where(new, place, 0), 1)
    ranks = np.where(counts, as_high - own_as_high + count[:, None] - place, _NEVER)  # falling
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(counts, own_as_high / as_high, 0).sum(1) / count
    found = np.stack([(ranks <= cut).sum(1) for cut in cuts], 1)
    return _Ranks(precision, np.where(count, ranks.min(1), 0), count, found)


def _sorted(scores: Floats, rows: Ints, ignored: Bools | None) -> Iterator[Floats]:
    """Sort the rows of a block (b, g), without ignored items; each is valid until the next.

    One buffer stays in a core's cache, where sorting all rows together would wait for memory.
    """
    buffer = np.empty(scores.shape[1], scores.dtype)
    for row in rows:
        counted = scores[row] if ignored is None else scores[row, ~ignored[row]]
        rising = buffer[: len(counted)]
        rising[:] = counted
        rising.sort()
        yield rising
