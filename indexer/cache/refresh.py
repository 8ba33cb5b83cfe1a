"""Parts of an earlier revision brought forward to the one being read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from indexer.catalog.lookup import LOWEST, Lookup
from indexer.search.segment import Part
from indexer.types import Ids, Metric

READ_AT_ONCE = 1 << 18  # vectors taken from the catalog at a time, which become one part
_LOST, _NOT_IN_DOUBT = -1, -2


def brought_forward(parts: Sequence[Part], read: Lookup, metric: Metric) -> Iterator[Part]:
    """Parts of an earlier revision made those of the one being read.

    A number and its vector never change, so who has which numbers is all that can differ.
    """
    changed = _changed_people(parts, read)
    if not len(changed):
        yield from parts
        return
    ids, owners = read.items_of_rows(changed)
    missing = np.ones(len(ids), bool)
    for part in parts:
        at = _matching(part, ids, owners, changed)
        missing[at[at >= 0]] = False
        yield part.without(at == _LOST)
    starts = range(0, len(missing), READ_AT_ONCE)
    spans = (slice(start, start + READ_AT_ONCE) for start in starts)
    yield from _made((ids[span][missing[span]] for span in spans), read, metric)


def _made(blocks: Iterable[Ids], read: Lookup, metric: Metric) -> Iterator[Part]:
    """A part of each block of item numbers; the next is read while one is made of the last."""
    before: Future[Part] | None = None
    with ThreadPoolExecutor(1, "part") as pool:
        for block in blocks:
            if len(block):
                making = pool.submit(Part.of, *read.content(block), metric)
                if before is not None:
                    yield before.result()
                before = making
        if before is not None:
            yield before.result()


def _matching(part: Part, ids: Ids, owners: Ids, changed: Ids) -> Ids:
    """Of each item of a part where it stands among ``ids``, or that it is lost or not in doubt."""
    at = np.full(len(part), _NOT_IN_DOUBT, np.int64)
    doubtful = np.flatnonzero(np.isin(part.people, changed))
    if part.gone is not None:
        doubtful = doubtful[~part.gone[doubtful]]
    at[doubtful] = _LOST
    if len(ids):
        place = np.minimum(np.searchsorted(ids, part.ids[doubtful]), len(ids) - 1)
        same = (ids[place] == part.ids[doubtful]) & (owners[place] == part.people[doubtful])
        at[doubtful[same]] = place[same]
    return at


def _changed_people(parts: Sequence[Part], read: Lookup) -> Ids:
    """Row numbers of the people who have other items in the catalog than in the parts."""
    people, *tallies = read.tallies()
    held = _tallies(parts, int(people.max(initial=-1)) + 1)
    told = np.zeros_like(held)
    told[:, people] = tallies
    return np.flatnonzero((held != told).any(axis=0))


def _tallies(parts: Sequence[Part], rows: int) -> Ids:
    """(2, people) of every person: the sum of their ids and of the squares' lowest bits."""
    rows = max([rows, *(int(part.people.max(initial=-1)) + 1 for part in parts)])
    held = np.zeros((2, rows), np.int64)
    for part in parts:
        kept = part.kept()
        people, ids = part.people[kept], part.ids[kept]
        for row, numbers in enumerate((ids, ids * ids & LOWEST)):
            np.add.at(held[row], people, numbers)
    return held
