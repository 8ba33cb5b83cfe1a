"""Approximate nearest-neighbour search by an HNSW graph of FAISS, beside the exact index.

The graph holds int8 vectors by item id. The vector of an id never changes, so a graph of an earlier
revision lacks new items and names deleted ones, and is right about all others. It is a file of the
cache with a manifest, made and kept up to date by writers while the index has the note `NOTE`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from indexer.cache import segment_file
from indexer.cache.manifest import ATTEMPTS
from indexer.cache.segment_file import NoCacheError, UnfitCacheError
from indexer.records import Revision
from indexer.search.exact_index import ExactIndex
from indexer.search.faiss_scan import import_faiss
from indexer.search.row_filter import RowFilter
from indexer.search.segment import Segment, vectors_at
from indexer.search.vector_index import Neighbours, Rows, SearchPlan, prepared
from indexer.types import Ids, Metric, Space, Vectors

logger = logging.getLogger(__name__)

NOTE: Final = "approximate"  # the note of an index that has a graph
KIND: Final = "hnsw"  # and its value

_MANIFEST, _FILE = "approximate.json", "approximate-"
_LINKS: Final = 32  # links of an item
_EF_BUILD: Final = 64  # candidates for the links of a new item
_EF_SEARCH: Final = 192  # candidates of a search at least; docs/benchmarks.md has the recall
_SAMPLE: Final = 1 << 14  # vectors that set the int8 scales
NEW_ITEMS = 4096  # new items that a search scores one by one; more are added to the graph
_DELETED_SHARE: Final = 0.25  # a graph with more deleted items is built again
SPARE = 16  # candidates beyond k, because int8 scores are not exact
DEEPEST = 0.25  # share of all items; a deeper search is exact


def has_graph(notes: Mapping[str, str]) -> bool:
    """Return whether the notes of an index ask for a graph; notes of other kinds are ignored."""
    return notes.get(NOTE) == KIND


class HnswGraph:
    """An HNSW graph of item ids and their int8 vectors."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, metric: Metric, segments: Sequence[Segment]) -> HnswGraph:
        """Return a graph of all items of these segments that are not deleted; at least one."""
        faiss = import_faiss()
        dim = segments[0].vectors.shape[1]
        by = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
        index = faiss.index_factory(dim, f"IDMap,HNSW{_LINKS}_SQ8", by)
        faiss.downcast_index(index.index).hnsw.efConstruction = _EF_BUILD
        rows = np.flatnonzero(np.concatenate([segment.live_mask for segment in segments]))
        index.train(vectors_at(segments, rows[:: max(len(rows) // _SAMPLE, 1)], dim))
        graph = cls(index)
        graph._add(segments, np.empty(0, np.int64))
        return graph

    def updated(self, metric: Metric, segments: Sequence[Segment]) -> HnswGraph:
        """Return a graph of these segments: this one, a copy with the new items, or a new one.

        It is built again when many of its items are deleted, or when it doubles. Threads may go on
        searching this graph.
        """
        live = np.concatenate([segment.ids[segment.live_mask] for segment in segments])
        known = int(np.count_nonzero(np.isin(live, self.ids)))
        if known < (1 - _DELETED_SHARE) * len(self.ids) or len(live) > 2 * known:
            return HnswGraph.build(metric, segments)
        if len(live) - known <= NEW_ITEMS:
            return self
        copy = HnswGraph(import_faiss().clone_index(self._index))
        copy._add(segments, self.ids)
        return copy

    def _add(self, segments: Sequence[Segment], present: Ids) -> None:
        for segment in segments:
            new = ~np.isin(segment.ids, present)
            new &= True if segment.deleted is None else ~segment.deleted
            if new.any():
                self._index.add_with_ids(
                    np.ascontiguousarray(segment.vectors[new]), segment.ids[new]
                )

    @cached_property
    def ids(self) -> Ids:
        """(n,) ids of its items, ascending."""
        return np.sort(import_faiss().vector_to_array(self._index.id_map).astype(np.int64))

    def nearest(self, queries: Vectors, depth: int) -> Ids:
        """Return (q, depth) ids near the (q, dim) prepared queries; -1 where there are fewer."""
        settings = import_faiss().SearchParametersHNSW(efSearch=max(_EF_SEARCH, 2 * depth))
        ids: Ids = self._index.search(queries, depth, params=settings)[1]
        return ids

    def scanned_bytes(self, depth: int) -> int:
        """Return about how many bytes a query reads before the exact ranking."""
        return max(_EF_SEARCH, 2 * depth) * 2 * _LINKS * int(self._index.d)

    def to_bytes(self) -> NDArray[np.uint8]:
        """Return the graph in FAISS's format."""
        content: NDArray[np.uint8] = import_faiss().serialize_index(self._index)
        return content


class GraphFile:
    """The graph in the cache of an index folder; threads may share one object."""

    def __init__(self, folder: Path, space: Space) -> None:
        self._folder, self._space = folder, space
        self._read: tuple[str, HnswGraph] | None = None

    def read(self) -> tuple[Revision, HnswGraph]:
        """Return the stored graph and its revision; UnfitCacheError where there is none to use."""
        for _ in range(ATTEMPTS):
            manifest = self._manifest()
            try:
                return self._named_by(manifest)
            except UnfitCacheError:
                if manifest == self._manifest():  # else a writer has replaced the file meanwhile
                    raise
        raise UnfitCacheError(f"{_MANIFEST} is written again and again")

    def usable(self, known: Callable[[Revision], bool]) -> HnswGraph | None:
        """Return the stored graph where it can be read and ``known`` accepts its revision."""
        try:
            revision, graph = self.read()
        except NoCacheError:
            return None
        except UnfitCacheError as error:
            logger.warning("The approximate index is not used: %s.", error)
            return None
        return graph if known(revision) else None

    def update(
        self,
        segments: Sequence[Segment],
        revision: Revision,
        known: Callable[[Revision], bool],
        *,
        wanted: bool,
    ) -> None:
        """Bring the file up to date with these segments, or delete it where it is not wanted.

        The caller holds the write lock.
        """
        if not wanted or not segments:
            self.clear()
            return
        before, metric = self.usable(known), self._space.metric
        after = (
            HnswGraph.build(metric, segments)
            if before is None
            else before.updated(metric, segments)
        )
        if after is not before:
            self.write(after, revision)

    def write(self, graph: HnswGraph, revision: Revision) -> None:
        """Replace the stored graph. The caller holds the write lock."""
        content = graph.to_bytes()
        name = segment_file.write_new(self._folder, _FILE, [content])
        facts: dict[str, Any] = {
            "kind": KIND,
            "space": self._space.describe(),
            "revision": {"number": revision.number, "at": revision.at},
            "file": name,
            "file_sum": zlib.crc32(content.data),
        }
        text = json.dumps({**facts, "sum": _checksum(facts)})
        segment_file.replace(self._folder / _MANIFEST, [text.encode()])
        self._read = name, graph
        self._remove_all_but(name)

    def problems(self) -> list[str]:
        """Read the file again; return a sentence where it is damaged."""
        try:
            GraphFile(self._folder, self._space).read()
        except NoCacheError:
            return []
        except UnfitCacheError as error:
            return [f"The approximate index is unfit and will be built again: {error}."]
        return []

    def clear(self) -> None:
        """Delete the file, its manifest first."""
        (self._folder / _MANIFEST).unlink(missing_ok=True)
        self._read = None
        self._remove_all_but(None)

    def _manifest(self) -> bytes:
        try:
            return (self._folder / _MANIFEST).read_bytes()
        except FileNotFoundError as error:
            raise NoCacheError(f"{_MANIFEST} is not there") from error
        except OSError as error:
            raise UnfitCacheError(f"{_MANIFEST} cannot be read ({error.strerror})") from error

    def _named_by(self, manifest: bytes) -> tuple[Revision, HnswGraph]:
        try:
            facts = json.loads(manifest)
            if (facts.pop("sum"), facts["space"]) != (_checksum(facts), self._space.describe()):
                raise UnfitCacheError(f"{_MANIFEST} was changed or is of another space")
            if facts["kind"] != KIND:
                raise NoCacheError(f"{_MANIFEST} is of a kind that is not supported any more")
            read = self._read
            if read is None or read[0] != facts["file"]:
                content = np.fromfile(self._folder / facts["file"], np.uint8)
                if zlib.crc32(content.data) != facts["file_sum"]:
                    raise UnfitCacheError(f"{facts['file']} does not match its checksum")
                graph = HnswGraph(import_faiss().deserialize_index(content))
                read = self._read = facts["file"], graph
            return Revision(**facts["revision"]), read[1]
        except OSError as error:
            raise UnfitCacheError(f"{error.filename} cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise UnfitCacheError(f"{_MANIFEST} is damaged ({error})") from error

    def _remove_all_but(self, name: str | None) -> None:
        for path in self._folder.glob(f"{_FILE}*"):
            if path.name != name:
                path.unlink(missing_ok=True)


def _checksum(facts: object) -> int:
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())


class ApproximateIndex:
    """The vectors of a revision, searched by a graph of this revision or an earlier one.

    The candidates of the graph and the items that it lacks are ranked exactly. The search is exact
    throughout under a filter that few items match, for a k that is a large share of all items, and
    where the graph proposes too few candidates.
    """

    def __init__(self, vectors: ExactIndex, graph: HnswGraph) -> None:
        self._vectors, self._graph = vectors, graph

    def nearest(self, queries: Vectors, k: int, wanted: RowFilter | None = None) -> Neighbours:
        """Return most of the answers of :meth:`ExactIndex.nearest`."""
        wanted = wanted or self._vectors.row_filter(None)
        plan = self._vectors.plan(wanted)
        depth = -(-(k + SPARE) * plan.total // max(plan.matching, 1))
        deep = depth > DEEPEST * len(self._graph.ids)
        if plan.kind == "gather" or deep or len(self._unknown) > NEW_ITEMS:
            return self._vectors.nearest(queries, k, wanted)
        found = self._graph.nearest(prepared(queries, self._vectors.metric), depth)
        candidates = [self._candidates(ids, wanted) for ids in found]
        if any(len(rows) < min(k, plan.matching) for rows in candidates):
            return self._vectors.nearest(queries, k, wanted)
        plan = SearchPlan(KIND, plan.matching, plan.total, self._graph.scanned_bytes(depth))
        return self._vectors.ranked(queries, candidates, k, plan)

    def _candidates(self, ids: Ids, wanted: RowFilter) -> Rows:
        """The rows of these ids and of new items, as far as the filter has them."""
        present, rows = self._by_id
        ids = np.unique(ids)
        at = np.minimum(np.searchsorted(present, ids), len(present) - 1)
        here = np.concatenate([rows[at[present[at] == ids]], self._unknown])
        return here if wanted.mask is None else here[wanted.mask[here]]

    @cached_property
    def _by_id(self) -> tuple[Ids, Rows]:
        """The ids of live items, ascending, and the row of each."""
        live = self._vectors.row_filter(None).rows
        ids = self._vectors.row_ids[live]
        order = np.argsort(ids, kind="stable")
        return ids[order], live[order]

    @cached_property
    def _unknown(self) -> Rows:
        """Rows of items that the graph lacks."""
        present, rows = self._by_id
        return rows[~np.isin(present, self._graph.ids)]


@dataclasses.dataclass(frozen=True, slots=True)
class Recall:
    """The share of the exact ``k`` nearest that was found, over ``asked`` items of the index.

    ``kind`` is the plan of most queries; ``exact_ms`` and ``approximate_ms`` are medians per query.
    """

    kind: str
    asked: int
    k: int
    recall: float
    exact_ms: float
    approximate_ms: float


Search = Callable[[Vectors, int], Neighbours]


def measure_recall(
    exact: Search, approximate: Search, ids: Ids, vectors: Vectors, k: int
) -> Recall:
    """Search both indexes with the (n, dim) vectors of items; no item counts as its own answer."""
    shares, seconds, kinds = [], [], []
    for own, query in zip(ids.tolist(), vectors, strict=True):
        started = time.perf_counter()
        right = exact(query[None], k + 1)
        between = time.perf_counter()
        found = approximate(query[None], k + 1)
        seconds.append((between - started, time.perf_counter() - between))
        true, near = (
            [number for number in each.ids[0].tolist() if number not in (own, -1)][:k]
            for each in (right, found)
        )
        shares.append(len(set(true) & set(near)) / max(len(true), 1))
        kinds.append(found.plan.kind)
    exact_ms, approximate_ms = np.median(seconds, axis=0) * 1000
    kind = max(set(kinds), key=kinds.count)
    return Recall(kind, len(ids), k, float(np.mean(shares)), float(exact_ms), float(approximate_ms))
