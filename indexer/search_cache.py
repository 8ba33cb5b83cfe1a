"""What is made of a catalog and can be made again: its vectors, ready to search."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.approximate import ApproximateIndex, GraphFile, has_graph
from indexer.cache.manifest import Cache
from indexer.cache.refresh import brought_forward
from indexer.cache.segment_file import NoCacheError, UnfitCacheError
from indexer.catalog.catalog import Catalog
from indexer.catalog.lookup import Lookup
from indexer.errors import BadRequest, printable
from indexer.maintenance.verify import problems
from indexer.records import Revision
from indexer.runtime.lock import only_writer
from indexer.search.exact_index import FaissIndex
from indexer.search.segment import Part
from indexer.search.vector_index import Device
from indexer.snapshot import Snapshot

if TYPE_CHECKING:
    from indexer.catalog.reader import Reader

logger = logging.getLogger(__name__)


class Derived:
    """The vector cache and the approximate index of an index folder, and what was read of them.

    Threads may share one. A revision that is ready is searched without a lock; one thread at a
    time makes another ready; whoever writes has a cache object of their own, so that searches do
    not wait for them.
    """

    def __init__(self, folder: Path, catalog: Catalog, device: Device) -> None:
        self._folder, self._catalog, self._device = folder, catalog, device
        checked: set[str] = set()
        self._cache = Cache(folder, catalog.space, checked)  # of whoever holds _preparing
        self._written = Cache(folder, catalog.space, checked)  # of whoever holds the write lock
        self._graph = GraphFile(self._cache.folder, catalog.space)
        self.held: Snapshot | None = None  # the revision searched last
        self._ahead: list[Part] = []  # of items that are being written to the catalog
        self._preparing = threading.Lock()

    def snapshot(self, read: Lookup) -> Snapshot:
        """The revision being read, ready to search; if it was not on disk it is put there."""
        revision = read.revision()
        held = self.held
        if held is not None and held.revision == revision:
            return held
        with self._preparing:
            held = self.held  # another thread may have been quicker
            if held is None or held.revision != revision:
                space, parts = self._catalog.space, self._sound_parts(read)
                vectors = FaissIndex(space.dim, space.metric, self._device, parts)
                held = self.held = Snapshot(revision, vectors)
            return held

    def approximate(self, read: Lookup, snapshot: Snapshot) -> FaissIndex | ApproximateIndex:
        """Return the approximate index; the exact one where no graph can be used.

        Raises BadRequest where the index has no note that asks for an approximate one.
        """
        if not has_graph(read.notes()):
            raise BadRequest(
                f"The index in {printable(self._folder)} has no approximate one; make it with "
                "avsearch index --approximate hnsw, or ask the exact one."
            )
        if snapshot.approximate is None:
            with self._preparing:
                graph = self._graph.usable(self._known_to(read))
                if graph is not None:
                    snapshot.approximate = ApproximateIndex(snapshot.vectors, graph)
        return snapshot.approximate or snapshot.vectors

    def keep(self, part: Part) -> None:
        """Put a part on disk whose items are being written to the catalog.

        :meth:`bring_forward` then need not read them from there. The caller holds the write lock.
        """
        try:
            self._ahead.append(self._written.keep(part))
        except OSError as error:  # it is only a copy: the catalog has all of it
            _warn_of_disk(error)

    def bring_forward(self) -> None:
        """Bring what is on disk up to date. The caller holds the write lock."""
        with self._catalog.look() as read:
            revision, metric = read.revision(), self._catalog.space.metric
            try:
                try:
                    before = [*self._parts(self._written, read), *self._ahead]
                    parts = brought_forward(before, read, metric)
                    stored = self._written.store(parts, revision)
                except UnfitCacheError as error:
                    _warn_of(error)
                    stored = self._written.store(brought_forward([], read, metric), revision)
                wanted = has_graph(read.notes())
                self._graph.update(stored, revision, self._known_to(read), wanted=wanted)
            except OSError as error:  # it is only a copy: the next reader does without
                _warn_of_disk(error)

    def drop_kept(self) -> None:
        """Forget what :meth:`keep` was given: if it was not committed, its numbers go to others."""
        self._ahead = []

    def clear(self) -> None:
        """Delete all of it. The caller holds the write lock."""
        self.held = None
        self._graph.clear()
        self._written.clear()

    def problems(self, read: Reader) -> list[str]:
        """What is wrong with the catalog or with what is made of it, in sentences.

        Everything is read anew from the disk.
        """
        cache = Cache(self._folder, self._catalog.space)
        found = problems(read, cache, self._known_to(read))
        return [*found, *GraphFile(cache.folder, self._catalog.space).problems()]

    def _sound_parts(self, read: Lookup) -> list[Part]:
        """The parts of the revision being read, their files compared with their checksums."""
        before = self._parts(self._cache, read)
        try:
            self._cache.check(before)
        except UnfitCacheError as error:
            _warn_of(error)
            before = []
        parts = list(brought_forward(before, read, self._catalog.space.metric))
        if any(part.name is None for part in parts) or not self._cache.is_of(read.revision()):
            return self._kept(parts, read.revision())
        return parts

    def _parts(self, cache: Cache, read: Lookup) -> list[Part]:
        """The parts on disk to start from; none where they are unfit or of another catalog."""
        held = self.held
        known = held.vectors.parts if held is not None else ()
        try:
            stamp, parts = cache.load(known)
        except NoCacheError:
            return []
        except UnfitCacheError as error:
            _warn_of(error)
            return []
        if self._known_to(read)(stamp.revision):
            return parts
        logger.warning("The vector cache is rebuilt: it is of another catalog.")
        return []

    def _known_to(self, read: Lookup) -> Callable[[Revision], bool]:
        """Tells whether a revision is one of this catalog, made before the one read or since."""

        def known(revision: Revision) -> bool:
            if read.knows(revision):
                return True
            with self._catalog.look() as newest:
                return newest.knows(revision)

        return known

    def _kept(self, parts: list[Part], revision: Revision) -> list[Part]:
        """Store a cache made while reading, unless a writer is at work or nothing may be written.

        Under the lock, and only of the newest revision: what was forgotten never comes back.
        """
        alone = only_writer(self._folder, wait=False)
        with contextlib.suppress(BadRequest, OSError, UnfitCacheError), alone:
            with self._catalog.look() as newest:
                still_newest = newest.revision().number == revision.number
            if still_newest:
                return self._cache.store(parts, revision)
        return parts


def _warn_of(error: UnfitCacheError) -> None:
    logger.warning("The vector cache is rebuilt: %s.", error)


def _warn_of_disk(error: OSError) -> None:
    logger.warning("The vector cache could not be written: %s.", error)
