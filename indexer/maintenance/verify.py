"""Verification of an index: its faults, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from indexer.cache.manifest import SegmentCache
from indexer.cache.segment_file import NoCacheError, UnfitCacheError
from indexer.catalog.reader import CatalogReader, vector_fault
from indexer.records import Revision
from indexer.search.segment import Segment, end_to_end
from indexer.search.vector_index import prepared
from indexer.types import Ids

SHOWN = 10  # items that a sentence names


def problems(
    read: CatalogReader, cache: SegmentCache, is_known: Callable[[Revision], bool]
) -> list[str]:
    """Return the faults of a catalog and its cache; a cache of another revision is no fault.

    ``is_known`` tells whether a revision is one of this catalog, made before the one read or since.
    """
    damage = [
        f"The catalog is damaged: {fault}."
        for (fault,) in read.pragma("integrity_check")
        if fault != "ok"
    ]
    if damage:  # further faults of a damaged file only follow from that
        return damage
    catalog = list(_catalog(read))
    return [*catalog, *_cache(read, cache, is_known, trusted=not catalog)]


def _catalog(read: CatalogReader) -> Iterator[str]:
    for table, row, parent, _ in read.pragma("foreign_key_check"):
        yield f"Row {row} of the table {table} points to a {parent} that is not there."
    if orphans := read.orphaned_items():
        yield f"{_items(orphans)} have no person."
    for number, blob in read.vector_blobs():
        if fault := vector_fault(blob, read.space.dim):
            yield f"The vector of item {number} {fault}."


def _cache(
    read: CatalogReader,
    cache: SegmentCache,
    is_known: Callable[[Revision], bool],
    *,
    trusted: bool,
) -> Iterator[str]:
    """Yield the faults of the cache; a catalog that is not ``trusted`` is not compared with it."""
    try:
        manifest, segments = cache.load()
        cache.check(segments)
    except NoCacheError:
        return
    except UnfitCacheError as error:
        yield f"The vector cache is unfit and will be rebuilt: {error}."
        return
    if not is_known(manifest.revision):
        yield f"The vector cache is of revision {manifest.revision.number} of another catalog."
    elif trusted:
        yield from _compared(read, segments, current=manifest.revision == read.revision())


def _compared(read: CatalogReader, segments: Sequence[Segment], *, current: bool) -> Iterator[str]:
    ids = read.owners()[0]
    cached = end_to_end([each.ids[each.live_mask] for each in segments], np.int64)
    missing, extra = np.setdiff1d(ids, cached), np.setdiff1d(cached, ids)
    if current and len(missing):
        yield f"The vector cache lacks {_items(missing)}."
    if current and len(extra):
        yield f"The vector cache has {_items(extra)}, which the catalog has not."
    wrong = [_different(read, each, ids) for each in segments]
    for what, numbers in zip(("vectors", "owners"), zip(*wrong, strict=True), strict=False):
        some = np.concatenate(numbers)
        if len(some) and (current or what == "vectors"):
            yield f"The vector cache has other {what} than the catalog for {_items(some)}."


def _different(read: CatalogReader, segment: Segment, ids: Ids) -> tuple[Ids, Ids]:
    """Return the items of a segment whose vectors, and whose owners, differ from the catalog."""
    rows = np.flatnonzero(np.isin(segment.ids, ids) & segment.live_mask)
    numbers, people, faces, vectors = read.item_content(segment.ids[rows])
    expected = prepared(vectors, read.space.metric)
    vectors_differ = np.any(segment.vectors[rows] != expected, axis=1)
    owners_differ = (segment.people[rows] != people) | (segment.faces[rows] != faces)
    return numbers[vectors_differ], numbers[owners_differ]


def _items(ids: list[int] | Ids) -> str:
    named = ", ".join(str(number) for number in list(ids)[:SHOWN])
    return f"{len(ids)} items ({named}{', ...' if len(ids) > SHOWN else ''})"
