"""The vector cache of an index, brought up to the catalog's revision."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from indexer.approximate import ApproximateIndex, GraphFile, has_graph
from indexer.cache.manifest import SegmentCache
from indexer.cache.refresh import refresh
from indexer.cache.segment_file import NoCacheError, UnfitCacheError
from indexer.catalog.catalog import Catalog
from indexer.catalog.reader import CatalogReader
from indexer.errors import BadRequest, printable
from indexer.maintenance.verify import problems
from indexer.records import Revision
from indexer.runtime.lock import only_writer
from indexer.search.exact_index import ExactIndex
from indexer.search.segment import Segment
from indexer.search.vector_index import Device
from indexer.snapshot import Snapshot

logger = logging.getLogger(__name__)

_REBUILT = "The vector cache is rebuilt: %s."
_NOT_WRITTEN = "The vector cache could not be written: %s."


class SearchCache:
    """Everything made from the catalog for search: vector cache, approximate index, snapshot.

    Threads may share one. A revision that is ready is searched without a lock; one thread at a
    time prepares another. A writer has a cache object of its own, so searches do not wait for it.
    """

    def __init__(self, folder: Path, catalog: Catalog, device: Device) -> None:
        self._folder, self._catalog, self._device = folder, catalog, device
        checked: set[str] = set()
        self._read_cache = SegmentCache(folder, catalog.space, checked)  # under _preparing
        self._write_cache = SegmentCache(folder, catalog.space, checked)  # under the write lock
        self._graph = GraphFile(self._read_cache.folder, catalog.space)
        self.held: Snapshot | None = None  # the revision searched last
        self._prewritten: list[Segment] = []  # of items that are being written to the catalog
        self._preparing = threading.Lock()

    def snapshot(self, read: CatalogReader) -> Snapshot:
        """Return the revision being read, ready to search; it is written to disk if it was not."""
        revision = read.revision()
        held = self.held
        if held is not None and held.revision == revision:
            return held
        with self._preparing:
            held = self.held  # another thread may have been quicker
            if held is None or held.revision != revision:
                space, segments = self._catalog.space, self._checked_segments(read)
                vectors = ExactIndex(space.dim, space.metric, self._device, segments)
                held = self.held = Snapshot(revision, vectors)
            return held

    def approximate(self, read: CatalogReader, snapshot: Snapshot) -> ExactIndex | ApproximateIndex:
        """Return the index of an approximate search: the exact one if its file cannot be used.

        Raises BadRequest if the notes of the index name no approximate one.
        """
        if not has_graph(read.notes()):
            raise BadRequest(
                f"The index in {printable(self._folder)} has no approximate one; make it with "
                "avsearch index --approximate hnsw, or ask the exact one."
            )
        if snapshot.approximate is None:
            with self._preparing:
                graph = self._graph.usable(self._is_known_to(read))
                if graph is not None:
                    snapshot.approximate = ApproximateIndex(snapshot.vectors, graph)
        return snapshot.approximate or snapshot.vectors

    def prewrite(self, segment: Segment) -> None:
        """Write a segment of items that are being written to the catalog.

        :meth:`update` then need not read them back. The caller holds the write lock.
        """
        try:
            self._prewritten.append(self._write_cache.write(segment))
        except OSError as error:  # it is only a copy of the catalog
            logger.warning(_NOT_WRITTEN, error)

    def discard_prewritten(self) -> None:
        """Discard uncommitted segments: their ids are reused."""
        self._prewritten = []

    def update(self) -> None:
        """Bring the files up to date. The caller holds the write lock."""
        with self._catalog.read() as read:
            revision, metric = read.revision(), self._catalog.space.metric
            try:
                try:
                    before = [*self._segments(self._write_cache, read), *self._prewritten]
                    stored = self._write_cache.store(refresh(before, read, metric), revision)
                except UnfitCacheError as error:
                    logger.warning(_REBUILT, error)
                    stored = self._write_cache.store(refresh([], read, metric), revision)
                wanted = has_graph(read.notes())
                self._graph.update(stored, revision, self._is_known_to(read), wanted=wanted)
            except OSError as error:  # it is only a copy: the next reader makes its own
                logger.warning(_NOT_WRITTEN, error)

    def clear(self) -> None:
        """Delete all files. The caller holds the write lock."""
        self.held = None
        self._graph.clear()
        self._write_cache.clear()

    def problems(self, read: CatalogReader) -> list[str]:
        """Return the faults of the catalog and its copies, in sentences; all is read from disk."""
        cache = SegmentCache(self._folder, self._catalog.space)
        found = problems(read, cache, self._is_known_to(read))
        return [*found, *GraphFile(cache.folder, self._catalog.space).problems()]

    def _checked_segments(self, read: CatalogReader) -> list[Segment]:
        """Return the segments of the revision being read, their checksums compared."""
        before = self._segments(self._read_cache, read)
        try:
            self._read_cache.check(before)
        except UnfitCacheError as error:
            logger.warning(_REBUILT, error)
            before = []
        revision = read.revision()
        segments = list(refresh(before, read, self._catalog.space.metric))
        if all(each.name for each in segments) and self._read_cache.is_of(revision):
            return segments
        # Store them, unless there is a writer or nothing may be written. Only under the lock and
        # only of the newest revision: what was deleted must not come back.
        alone = only_writer(self._folder, wait=False)
        with contextlib.suppress(BadRequest, OSError, UnfitCacheError), alone:
            with self._catalog.read() as newest:
                is_newest = newest.revision().number == revision.number
            if is_newest:
                return self._read_cache.store(segments, revision)
        return segments

    def _segments(self, cache: SegmentCache, read: CatalogReader) -> list[Segment]:
        """Return the segments on disk; none if they are unfit or of another catalog."""
        held = self.held
        try:
            manifest, segments = cache.load(held.vectors.segments if held is not None else ())
        except NoCacheError:
            return []
        except UnfitCacheError as error:
            logger.warning(_REBUILT, error)
            return []
        if self._is_known_to(read)(manifest.revision):
            return segments
        logger.warning(_REBUILT, "it is of another catalog")
        return []

    def _is_known_to(self, read: CatalogReader) -> Callable[[Revision], bool]:
        """Return a test for revisions of this catalog, made before the one read or since."""

        def is_known(revision: Revision) -> bool:
            if read.has_revision(revision):
                return True
            with self._catalog.read() as newest:
                return newest.has_revision(revision)

        return is_known
