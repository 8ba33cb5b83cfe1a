"""What can be wrong with an index, looked for and said in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from indexer.cache.manifest import Cache
from indexer.cache.segment_file import NoCacheError, UnfitCacheError
from indexer.catalog.lookup import vector_fault
from indexer.records import Revision
from indexer.search.segment import Part, alive_in, end_to_end
from indexer.search.vector_index import prepared
from indexer.types import Ids

if TYPE_CHECKING:
    from indexer.catalog.reader import Reader

SHOWN = 10  # of a list of items, how many a sentence names


def problems(read: Reader, cache: Cache, known: Callable[[Revision], bool]) -> list[str]:
    """Everything wrong with the catalog and its cache; a cache of another revision is not wrong.

    ``known`` tells whether a revision is one of this catalog, made before the one read or since.
    """
    damage = list(_damage(read))
    if damage:  # whatever else a damaged file says is not worth repeating
        return damage
    catalog = [*_references(read), *_orphans(read), *_vectors(read)]
    return [*catalog, *_cache(read, cache, known, trusted=not catalog)]


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


def _cache(
    read: Reader, cache: Cache, known: Callable[[Revision], bool], *, trusted: bool
) -> Iterator[str]:
    """``trusted`` says that the catalog's own vectors may be compared with."""
    try:
        stamp, parts = cache.load()
        cache.check(parts)
    except NoCacheError:
        return
    except UnfitCacheError as error:
        yield f"The vector cache is unfit and will be made anew: {error}."
        return
    if not known(stamp.revision):
        yield f"The vector cache is of revision {stamp.revision.number} of another catalog."
    elif trusted:
        yield from _compared(read, parts, current=stamp.revision == read.revision())


def _compared(read: Reader, parts: Sequence[Part], *, current: bool) -> Iterator[str]:
    ids = read.owners()[0]
    held = end_to_end([part.ids[part.kept()] for part in parts], np.int64)
    missing, extra = np.setdiff1d(ids, held), np.setdiff1d(held, ids)
    if current and len(missing):
        yield f"The vector cache lacks {_items(missing)}."
    if current and len(extra):
        yield f"The vector cache has {_items(extra)}, which the catalog has not."
    wrong = [_different(read, part, ids) for part in parts]
    for what, numbers in zip(("vectors", "owners"), zip(*wrong, strict=True), strict=False):
        some = np.concatenate(numbers)
        if len(some) and (current or what == "vectors"):
            yield f"The vector cache has other {what} than the catalog for {_items(some)}."


def _different(read: Reader, part: Part, ids: Ids) -> tuple[Ids, Ids]:
    """Items of a part whose vectors, and whose owners, are not what the catalog says."""
    rows = np.flatnonzero(np.isin(part.ids, ids) & alive_in(part))
    numbers, people, faces, vectors = read.content(part.ids[rows])
    kept = prepared(vectors, read.space.metric)
    vectors_differ = np.any(part.vectors[rows] != kept, axis=1)
    owners_differ = (part.people[rows] != people) | (part.faces[rows] != faces)
    return numbers[vectors_differ], numbers[owners_differ]


def _items(ids: list[int] | Ids) -> str:
    named = ", ".join(str(number) for number in list(ids)[:SHOWN])
    return f"{len(ids)} items ({named}{', ...' if len(ids) > SHOWN else ''})"
