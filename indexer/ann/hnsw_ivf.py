"""Approximate indexes of FAISS: most of the nearest, much quicker; the user's choice.

HNSW is a graph of near items, IVF cells of which a few are looked into; both hold the vectors as
bytes. Each item is in one by its number, whose vector never changes, so an index of an earlier
revision misses what is new and names what is gone, and is right about all else.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.cache import segment_file
from indexer.cache.manifest import ATTEMPTS
from indexer.cache.segment_file import NoCacheError, UnfitCacheError
from indexer.records import Revision
from indexer.search.faiss_scan import import_faiss
from indexer.search.segment import Segment, vectors_at
from indexer.types import Ids, Metric, Space, Vectors

logger = logging.getLogger(__name__)

Kind = Literal["hnsw", "ivf"]
KINDS: tuple[Kind, Kind] = ("hnsw", "ivf")
NOTE = "approximate"  # under which an index notes the kind; "none" or nothing means none

STAMP, FILE = "approximate.json", "approximate-"
LINKS = 32  # of an item of HNSW
EF_BUILD = 64  # items looked at to find the links of a new one
EF_LEAST = 64  # items looked at in a search, at least
PROBED = 1 / 8  # of the cells of IVF, looked into in a search: 0.81 found of 1,000,000 x 128
PER_CELL = 64  # items of each cell that are enough to place the cells by
LEFT_OUT = 4096  # new items that a search looks at one by one; more are added to the index
GONE_SHARE = 0.25  # an index of which more is gone is made anew, as is one grown to twice its size


class Approximate:
    """An approximate index of numbered vectors."""

    def __init__(self, kind: Kind, index: Any) -> None:
        self.kind = kind
        self._index = index

    @classmethod
    def of(cls, kind: Kind, metric: Metric, segments: Sequence[Segment]) -> Approximate:
        """All items of these segments that are not deleted, one at least."""
        faiss = import_faiss()
        count, dim = sum(segment.live_count for segment in segments), segments[0].vectors.shape[1]
        cells = max(min(int(2 * np.sqrt(count)), count // PER_CELL), 1)
        recipe = f"IDMap,HNSW{LINKS}_SQ8" if kind == "hnsw" else f"IDMap,IVF{cells},SQ8"
        nearness = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
        index = faiss.index_factory(dim, recipe, nearness)
        if kind == "hnsw":
            faiss.downcast_index(index.index).hnsw.efConstruction = EF_BUILD
        index.train(_sample(segments, max(cells * PER_CELL, 1 << 14), dim))
        made = cls(kind, index)
        made.add(segments, np.empty(0, np.int64))
        return made

    def grown(self, segments: Sequence[Segment]) -> Approximate:
        """A copy with the items of the segments besides; others may go on asking this one."""
        grown = Approximate(self.kind, import_faiss().clone_index(self._index))
        grown.add(segments, self.ids)
        return grown

    def add(self, segments: Sequence[Segment], present: Ids) -> None:
        """Take in the items of the segments, but those deleted and those present already."""
        for segment in segments:
            new = ~np.isin(segment.ids, present)
            new &= True if segment.deleted is None else ~segment.deleted
            if new.any():
                self._index.add_with_ids(
                    np.ascontiguousarray(segment.vectors[new]), segment.ids[new]
                )
        self.__dict__.pop("ids", None)

    @cached_property
    def ids(self) -> Ids:
        """(n,) numbers of its items, ascending."""
        return np.sort(import_faiss().vector_to_array(self._index.id_map).astype(np.int64))

    def near(self, queries: Vectors, depth: int) -> Ids:
        """(q, depth) numbers of items near the (q, dim) prepared queries; -1 where it has none."""
        found: Ids = self._index.search(queries, depth, params=self._settings(depth))[1]
        return found

    def scanned_bytes(self, depth: int) -> int:
        """About what a query reads before it is ranked."""
        dim = int(self._index.d)
        if self.kind == "hnsw":
            return self._ef(depth) * 2 * LINKS * dim
        cells = int(self._inner.nlist)
        return dim * (4 * cells + len(self.ids) * self._probes // cells)

    def content(self) -> NDArray[np.uint8]:
        """All of it, as bytes of FAISS's own format."""
        content: NDArray[np.uint8] = import_faiss().serialize_index(self._index)
        return content

    @property
    def _inner(self) -> Any:
        return import_faiss().downcast_index(self._index.index)

    def _settings(self, depth: int) -> Any:
        faiss = import_faiss()
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=self._ef(depth))
        return faiss.SearchParametersIVF(nprobe=self._probes)

    def _ef(self, depth: int) -> int:
        return max(EF_LEAST, 2 * depth)

    @property
    def _probes(self) -> int:
        cells = int(self._inner.nlist)
        return max(round(cells * PROBED), min(cells, 8))


class ApproximateFile:
    """The approximate index in the cache of an index folder, as a file with a stamp.

    Threads may share one; what it has read never changes.
    """

    def __init__(self, folder: Path, space: Space) -> None:
        self._folder, self._space = folder, space
        self._read: tuple[str, Approximate] | None = None

    def load(self) -> tuple[Revision, Approximate]:
        """What is stored, and of which revision; UnfitCacheError where that cannot be had."""
        for _ in range(ATTEMPTS):
            stamp = self._stamp()
            try:
                return self._loaded(stamp)
            except UnfitCacheError:
                if stamp == self._stamp():  # else a writer has deleted what it names
                    raise
        raise UnfitCacheError(f"{STAMP} is written again and again")

    def _stamp(self) -> bytes:
        try:
            return (self._folder / STAMP).read_bytes()
        except FileNotFoundError as error:
            raise NoCacheError(f"{STAMP} is not there") from error
        except OSError as error:
            raise UnfitCacheError(f"{STAMP} cannot be read ({error.strerror})") from error

    def _loaded(self, stamp: bytes) -> tuple[Revision, Approximate]:
        """What a stamp names; UnfitCacheError where that cannot be read."""
        try:
            facts = json.loads(stamp)
            stated = facts.pop("sum"), facts["space"]
            if stated != (_sum(facts), self._space.describe()):
                raise UnfitCacheError(f"{STAMP} was changed or is of another space")
            before = self._read
            if before is None or before[0] != facts["file"]:
                before = self._read = facts["file"], self._made_of(facts)
            return Revision(**facts["revision"]), before[1]
        except OSError as error:
            raise UnfitCacheError(f"{error.filename} cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise UnfitCacheError(f"{STAMP} is damaged ({error})") from error

    def usable(self, known: Callable[[Revision], bool]) -> Approximate | None:
        """What is stored, where it can be read and is of a revision that is ``known``."""
        try:
            revision, found = self.load()
        except NoCacheError:
            return None
        except UnfitCacheError as error:
            logger.warning("The approximate index is not used: %s.", error)
            return None
        return found if known(revision) else None

    def keep(
        self,
        kind: Kind | None,
        segments: Sequence[Segment],
        revision: Revision,
        known: Callable[[Revision], bool],
    ) -> None:
        """Bring what is stored up to date with these segments, or delete it where None is wanted.

        The caller holds the write lock.
        """
        if kind is None or not segments:
            self.clear()
            return
        new = brought_up(self.usable(known), kind, self._space.metric, segments)
        if new is not None:
            self.store(new, revision)

    def store(self, index: Approximate, revision: Revision) -> None:
        """Make this what is stored. The caller holds the write lock."""
        content = index.content()
        name = segment_file.write_new(self._folder, FILE, [content])
        facts: dict[str, Any] = {
            "kind": index.kind,
            "space": self._space.describe(),
            "revision": {"number": revision.number, "at": revision.at},
            "file": name,
            "file_sum": zlib.crc32(content.data),
        }
        text = json.dumps({**facts, "sum": _sum(facts)})
        segment_file.replace(self._folder / STAMP, [text.encode()])
        self._read = name, index
        self._remove_all_but(name)

    def problems(self) -> list[str]:
        """What is wrong with what is stored, in a sentence; empty if nothing is."""
        try:
            ApproximateFile(self._folder, self._space).load()  # read anew
        except NoCacheError:
            return []
        except UnfitCacheError as error:
            return [f"The approximate index is unfit and will be made anew: {error}."]
        return []

    def clear(self) -> None:
        """Delete what is stored, the stamp first."""
        (self._folder / STAMP).unlink(missing_ok=True)
        self._read = None
        self._remove_all_but(None)

    def _remove_all_but(self, name: str | None) -> None:
        for path in self._folder.glob(f"{FILE}*"):
            if path.name != name:
                path.unlink(missing_ok=True)

    def _made_of(self, facts: dict[str, Any]) -> Approximate:
        content = np.fromfile(self._folder / facts["file"], np.uint8)
        if zlib.crc32(content.data) != facts["file_sum"]:
            raise UnfitCacheError(f"{facts['file']} is not what its stamp says")
        return Approximate(facts["kind"], import_faiss().deserialize_index(content))


def kind_of(notes: Mapping[str, str]) -> Kind | None:
    """The approximate index that an index is noted to have."""
    return next((kind for kind in KINDS if kind == notes.get(NOTE)), None)


def brought_up(
    before: Approximate | None, kind: Kind, metric: Metric, segments: Sequence[Segment]
) -> Approximate | None:
    """An approximate index of these segments, which have an item; None where the one before does.

    It is added to, or made anew where it is of another kind, much of it is gone, or it has grown
    to twice its size.
    """
    if before is None or before.kind != kind:
        return Approximate.of(kind, metric, segments)
    live = np.concatenate([segment.ids[segment.live_mask] for segment in segments])
    there = int(np.count_nonzero(np.isin(live, before.ids)))
    if there < (1 - GONE_SHARE) * len(before.ids) or len(live) > 2 * there:
        return Approximate.of(kind, metric, segments)
    if len(live) - there <= LEFT_OUT:
        return None
    return before.grown(segments)


def _sample(segments: Sequence[Segment], size: int, dim: int) -> Vectors:
    """Vectors spread evenly over the segments."""
    rows = np.flatnonzero(np.concatenate([segment.live_mask for segment in segments]))
    return vectors_at(segments, rows[:: max(len(rows) // size, 1)], dim)


def _sum(facts: object) -> int:
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())
