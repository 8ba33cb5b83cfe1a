"""How well queries order whole galleries: precision, recall and ranks of every query.

Nothing is sorted but the scores: where a relevant item stands follows from how many items score
at least as high. Galleries of 20,000 against 20,000 queries take seconds and little memory.
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

# Of scores in one block; a block a core is held, and one being made. From 32 MiB on the C library
# gives each back to the system, which then has to clear the next one.
_BLOCK_BYTES = 31 << 20
_TOGETHER = 128  # queries that are sorted at a time: few enough for a core's cache
_NEVER = np.iinfo(np.int64).max  # the rank of what does not count
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
    """Rank a gallery for queries, of which ``scores`` gives a slice's (b, g) at a time.

    While a block is scored, threads rank the one before it.
    """
    members = {int(label): np.flatnonzero(gallery_labels == label) for label in set(query_labels)}
    size = max(1, _BLOCK_BYTES // (4 * max(1, len(gallery_labels))))
    cores = threads.cores()
    made, waiting = [_nothing(0, len(cuts))], collections.deque[Future[_Ranks]]()
    with ThreadPoolExecutor(cores) as pool:
        for start in range(0, len(query_labels), size):
            rows = slice(start, min(start + size, len(query_labels)))
            gone = None if excluded is None else excluded(rows)
            block = scores(rows), query_labels[rows], members, gone, tuple(cuts)
            waiting.append(pool.submit(_rank_block, *block))
            if len(waiting) > cores:
                made.append(waiting.popleft().result())
        made += [each.result() for each in waiting]
    values, first, relevant, found = (np.concatenate(column) for column in zip(*made, strict=True))
    return Ranking(values, first, relevant, found, tuple(cuts))


class _Ranks(NamedTuple):
    """What :class:`Ranking` holds, of some of its queries."""

    average_precision: NDArray[np.float64]
    first: Ints
    relevant: Ints
    found: Ints


def _nothing(queries: int, cuts: int) -> _Ranks:
    """Of queries to which nothing answers."""
    none = np.zeros(queries, np.int64)
    return _Ranks(np.full(queries, np.nan), none, none.copy(), np.zeros((queries, cuts), np.int64))


def _rank_block(
    scores: Floats,
    labels: Ints,
    members: Mapping[int, Ints],
    gone: Bools | None,
    cuts: tuple[int, ...],
) -> _Ranks:
    """Ranks of a block (b, g), its queries of one label together."""
    ranks = _nothing(len(labels), len(cuts))
    for label in np.unique(labels):
        relevant, alike = members[int(label)], np.flatnonzero(labels == label)
        if not len(relevant):
            continue
        for start in range(0, len(alike), _TOGETHER):
            rows = alike[start : start + _TOGETHER]
            part = _rank_alike(scores, rows, relevant, gone, cuts)
            for whole, own in zip(ranks, part, strict=True):
                whole[rows] = own
    return ranks


def _rank_alike(
    scores: Floats, rows: Ints, relevant: Ints, gone: Bools | None, cuts: tuple[int, ...]
) -> _Ranks:
    """Ranks of those rows (n,) of a block that ask for the same items; what is gone counts not."""
    own = scores[np.ix_(rows, relevant)]
    if gone is not None:
        own = np.where(gone[np.ix_(rows, relevant)], np.nan, own)
    own.sort(1)  # rising, and what is gone behind
    counts = ~np.isnan(own)
    count = counts.sum(1)
    as_high = np.stack(
        [_as_high(*each) for each in zip(_sorted(scores, rows, gone), own, strict=True)]
    )
    place = np.arange(own.shape[1])
    new = np.pad(own[:, 1:] != own[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    own_as_high = count[:, None] - np.maximum.accumulate(np.where(new, place, 0), 1)
    ranks = np.where(counts, as_high - own_as_high + count[:, None] - place, _NEVER)  # falling
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(counts, own_as_high / as_high, 0).sum(1) / count
    found = np.stack([(ranks <= cut).sum(1) for cut in cuts], 1)
    return _Ranks(precision, np.where(count, ranks.min(1), 0), count, found)


def _sorted(scores: Floats, rows: Ints, gone: Bools | None) -> Iterator[Floats]:
    """Those rows of a block (b, g), each rising, without what is gone; good until the next one.

    In one buffer, which stays in a core's cache: sorted together, rows wait for the memory.
    """
    buffer = np.empty(scores.shape[1], scores.dtype)
    for row in rows:
        kept = scores[row] if gone is None else scores[row, ~gone[row]]
        rising = buffer[: len(kept)]
        rising[:] = kept
        rising.sort()
        yield rising


def _as_high(rising: Floats, own: Floats) -> Ints:
    """How many of the scores (g,) are at least each of these (m,)."""
    return len(rising) - rising.searchsorted(own)
