"""Segments of an earlier revision, brought to the revision being read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from indexer.catalog.reader import LOW_BITS, CatalogReader
from indexer.search.segment import Segment
from indexer.types import Ids, Metric

READ_AT_ONCE = 1 << 18  # vectors read from the catalog at once, which become one segment
_LOST, _UNCHANGED = -1, -2


def refresh(segments: Sequence[Segment], read: CatalogReader, metric: Metric) -> Iterator[Segment]:
    """Yield the segments of the revision being read, made from those of an earlier one.

    An id and its vector never change, so revisions differ only in who owns which ids: items that
    are lost are marked as deleted, items that are new follow in segments of their own.
    """
    changed = _changed_people(segments, read)
    if not len(changed):
        yield from segments
        return
    ids, owners = read.items_of_people(changed)
    missing = np.ones(len(ids), bool)
    for segment in segments:
        positions = _positions(segment, ids, owners, changed)
        missing[positions[positions >= 0]] = False
        yield segment.without(positions == _LOST)
    making: Future[Segment] | None = None
    with ThreadPoolExecutor(1, "segment") as pool:  # reads while the segment before is made
        for start in range(0, len(missing), READ_AT_ONCE):
            span = slice(start, start + READ_AT_ONCE)
            block = ids[span][missing[span]]
            if len(block):
                started = pool.submit(Segment.of, *read.item_content(block), metric)
                if making is not None:
                    yield making.result()
                making = started
        if making is not None:
            yield making.result()


def _positions(segment: Segment, ids: Ids, owners: Ids, changed: Ids) -> Ids:
    """Return the position of each item in ``ids``; _LOST or _UNCHANGED otherwise."""
    positions = np.full(len(segment), _UNCHANGED, np.int64)
    affected = np.flatnonzero(np.isin(segment.people, changed))
    if segment.deleted is not None:
        affected = affected[~segment.deleted[affected]]
    positions[affected] = _LOST
    if len(ids):
        place = np.minimum(np.searchsorted(ids, segment.ids[affected]), len(ids) - 1)
        same = (ids[place] == segment.ids[affected]) & (owners[place] == segment.people[affected])
        positions[affected[same]] = place[same]
    return positions


def _changed_people(segments: Sequence[Segment], read: CatalogReader) -> Ids:
    """Return row numbers of the people who have other items in the catalog than in the segments.

    The items of a person are compared by checksums: the sums of their ids and of the low bits of
    the squared ids.
    """
    people, *sums = read.item_checksums()
    largest = [
        int(people.max(initial=-1)),
        *(int(each.people.max(initial=-1)) for each in segments),
    ]
    cached = np.zeros((2, max(largest) + 1), np.int64)
    for segment in segments:
        live = slice(None) if segment.deleted is None else ~segment.deleted
        owners, ids = segment.people[live], segment.ids[live]
        for row, numbers in enumerate((ids, ids * ids & LOW_BITS)):
            np.add.at(cached[row], owners, numbers)
    stored = np.zeros_like(cached)
    stored[:, people] = sums
    return np.flatnonzero((cached != stored).any(axis=0))
