"""What can be wrong with an index, looked for and said in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from indexer.cache import Cache, UnfitCacheError
from indexer.reader import Reader, vector_fault
from indexer.types import Ids, Space
from indexer.vectors import FaissIndex, prepared

SHOWN = 10  # of a list of items, how many a sentence names


def problems(read: Reader, cache: Cache) -> list[str]:
    """Everything wrong with the catalog and its cache; a cache merely behind is not wrong."""
    damage = list(_damage(read))
    if damage:  # whatever else a damaged file says is not worth repeating
        return damage
    catalog = [*_references(read), *_orphans(read), *_vectors(read)]
    return [*catalog, *_cache(read, cache, trusted=not catalog)]


def _damage(read: Reader) -> Iterator[str]:
    for (said,) in read.pragma("integrity_check"):
        if said != "ok":
            yield f"The catalog is damaged: {said}."


def _references(read: Reader) -> Iterator[str]:
    for table, row, parent, _ in read.pragma("foreign_key_check"):
        yield f"Row {row} of the table {table} points to a {parent} that is not there."


def _orphans(read: Reader) -> Iterator[str]:
    ids = read.without_people()
    if ids:
        yield f"{_items(ids)} are of nobody."


def _vectors(read: Reader) -> Iterator[str]:
    for number, blob in read.blobs():
        fault = vector_fault(blob, read.space.dim)
        if fault:
            yield f"The vector of item {number} {fault}."


def _cache(read: Reader, cache: Cache, *, trusted: bool) -> Iterator[str]:
    """``trusted`` says that the catalog's own vectors may be compared with."""
    if not cache.exists():
        return
    try:
        stamp, vectors = cache.load()
    except UnfitCacheError as error:
        yield f"The vector cache is unfit and will be made anew: {error}."
        return
    if not read.knows(stamp.revision):
        yield f"The vector cache is of revision {stamp.revision.number} of another catalog."
    elif trusted:
        yield from _compared(read, vectors, read.space, current=stamp.revision == read.revision())


def _compared(read: Reader, vectors: FaissIndex, space: Space, *, current: bool) -> Iterator[str]:
    ids = read.owners()[0]
    missing, extra = np.setdiff1d(ids, vectors.ids), np.setdiff1d(vectors.ids, ids)
    if current and len(missing):
        yield f"The vector cache lacks {_items(missing)}."
    if current and len(extra):
        yield f"The vector cache has {_items(extra)}, which the catalog has not."
    both = np.intersect1d(ids, vectors.ids)
    expected = prepared(read.vectors(both), space.metric)
    wrong = both[np.any(vectors.vectors_of(both) != expected, axis=1)]
    if len(wrong):
        yield f"The vector cache has other vectors than the catalog for {_items(wrong)}."


def _items(ids: list[int] | Ids) -> str:
    named = ", ".join(str(number) for number in list(ids)[:SHOWN])
    return f"{len(ids)} items ({named}{', ...' if len(ids) > SHOWN else ''})"
