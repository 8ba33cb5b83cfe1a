"""The vector cache on disk: a copy of the catalog's vectors in the form that a search reads.

``stamp.json``, the manifest, names the revision of the copy and its segments, which are mapped into
memory and never change. An update writes one new segment, marks deleted items, and replaces the
manifest. Small segments are merged, and segments with many deleted items rewritten (compaction).
Every file is written under a temporary name and renamed, the manifest last; files that it does not
name are deleted after that.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from indexer.cache import segment_file
from indexer.cache.segment_file import NoCacheError, SegmentInfo, UnfitCacheError
from indexer.records import Revision
from indexer.search.segment import Segment, joined
from indexer.types import Space

FOLDER = "cache"
MANIFEST = "stamp.json"
FORMER = "vectors.faiss"  # the cache of early versions, deleted
LARGEST = 1 << 18  # rows of a merged segment, at most: about a second to write
TIMES = 4  # a segment is merged with the next while it is at most this much larger
DELETED_SHARE = 0.25  # segments with a larger share of deleted items are rewritten
ATTEMPTS = 5  # a writer may delete a segment after a reader has read the manifest


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """The revision and the segments of a cache; the field names are the keys in the file."""

    revision: Revision
    space: Space
    count: int
    segments: tuple[SegmentInfo, ...]

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse JSON text; raises UnfitCacheError for anything but an unchanged manifest."""
        try:
            fields = json.loads(text)
            if fields.pop("sum") != checksum(fields):
                raise UnfitCacheError(f"{MANIFEST} was changed")
            return cls(
                Revision(**fields["revision"]),
                Space(**fields["space"]),
                fields["count"],
                tuple(SegmentInfo(**each) for each in fields["segments"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnfitCacheError(f"{MANIFEST} is damaged ({error})") from error

    def to_json(self) -> str:
        """Return JSON text with its own checksum."""
        fields = dataclasses.asdict(self)
        return json.dumps({**fields, "sum": checksum(fields)}, indent=1)


class SegmentCache:
    """The vector cache of one index folder; an object serves one thread at a time.

    Args:
        index_folder: the folder of the index.
        space: the space of its vectors.
        checked: names of segments whose checksums were compared; objects may share the set.
    """

    def __init__(self, index_folder: Path, space: Space, checked: set[str] | None = None) -> None:
        self.folder = index_folder / FOLDER
        self._space = space
        self._infos: dict[str, SegmentInfo] = {}  # of every segment seen
        self._checked = set() if checked is None else checked

    def is_of(self, revision: Revision) -> bool:
        """Return whether the cache is of this revision."""
        try:
            return self._manifest().revision == revision
        except UnfitCacheError:
            return False

    def load(self, known: Sequence[Segment] = ()) -> tuple[Manifest, list[Segment]]:
        """Map the segments and return them with the manifest; no array is read.

        Segments among ``known`` are not mapped again. Raises UnfitCacheError for files that are
        missing, cut short or of another space, NoCacheError if there is no cache. Changes in place
        are found by :meth:`check`.
        """
        for attempt in range(ATTEMPTS):
            manifest = self._manifest()
            try:
                return manifest, self._mapped(manifest, {each.name: each for each in known})
            except UnfitCacheError:
                if attempt == ATTEMPTS - 1 or manifest == self._manifest():
                    raise
        raise AssertionError

    def check(self, segments: Iterable[Segment]) -> None:
        """Compare the files of segments with their checksums, each once.

        Raises UnfitCacheError if one was changed.
        """
        new = [(self._infos[each.name], each) for each in segments if each.name]
        new = [pair for pair in new if pair[0].name not in self._checked]
        segment_file.check(new, self._space.metric)
        self._checked.update(info.name for info, _ in new)

    def store(self, segments: Iterable[Segment], revision: Revision) -> list[Segment]:
        """Make these segments the content of the cache, and return them as mapped from disk.

        Writes only what is not stored yet, each segment before the next is requested. The caller
        holds the write lock. Raises UnfitCacheError if a segment to be rewritten was changed.
        """
        self.folder.mkdir(exist_ok=True)
        stored = [self.write(each) for each in segments if each.live_count]
        stored = [self.write(each) for each in self._compacted(stored)]
        infos = tuple(self._infos[each.name] for each in stored if each.name)
        count = sum(each.live_count for each in stored)
        manifest = Manifest(revision, self._space, count, infos)
        segment_file.replace(self.folder / MANIFEST, [manifest.to_json().encode()])
        self._remove_all_but({name for info in infos for name in info.files()} | {MANIFEST})
        return stored

    def write(self, segment: Segment) -> Segment:
        """Write a segment and its tombstones if they are not on disk, and return it mapped."""
        self.folder.mkdir(exist_ok=True)
        if segment.name is None or not (self.folder / segment.name).exists():
            info = segment_file.write_segment(self.folder, segment, self._space.metric)
        else:
            info = self._infos[segment.name]
        info = segment_file.with_deleted(self.folder, info, segment.deleted)
        self._infos[info.name] = info
        if info.name == segment.name:
            return segment
        self._checked.add(info.name)
        return segment_file.map_segment(self.folder, info, self._space)

    def clear(self) -> None:
        """Delete the cache, unfinished files included, and no other file.

        The manifest goes first: after a kill there is no cache rather than a damaged one.
        """
        (self.folder / MANIFEST).unlink(missing_ok=True)
        self._remove_all_but(set())

    def _manifest(self) -> Manifest:
        try:
            text = (self.folder / MANIFEST).read_bytes().decode("utf-8", "replace")
        except FileNotFoundError as error:
            raise NoCacheError(f"{MANIFEST} is not there") from error
        except OSError as error:
            raise UnfitCacheError(f"{MANIFEST} cannot be read ({error.strerror})") from error
        manifest = Manifest.from_json(text)
        if manifest.space != self._space:
            raise UnfitCacheError(f"it is of {manifest.space.describe()}")
        return manifest

    def _mapped(self, manifest: Manifest, known: Mapping[str | None, Segment]) -> list[Segment]:
        segments = []
        for info in manifest.segments:
            self._infos[info.name] = info
            if info.name in known:
                deleted = segment_file.read_deleted(self.folder, info)
                segments.append(dataclasses.replace(known[info.name], deleted=deleted))
            else:
                segments.append(segment_file.map_segment(self.folder, info, self._space))
        if sum(each.live_count for each in segments) != manifest.count:
            raise UnfitCacheError(
                f"{MANIFEST} counts {manifest.count} items, and its segments differ"
            )
        return segments

    def _compacted(self, segments: Sequence[Segment]) -> list[Segment]:
        """Merge small neighbours, and rewrite segments with many deleted items, in memory."""
        groups: list[list[Segment]] = []
        for segment in segments:
            groups.append([segment])
            while len(groups) > 1 and _may_merge(groups[-2], groups[-1]):
                groups[-2:] = [groups[-2] + groups[-1]]
        compacted = []
        for group in groups:
            first = group[0]
            if len(group) == 1 and first.live_count >= (1 - DELETED_SHARE) * len(first):
                compacted.append(first)
            else:
                self.check(group)
                compacted.append(joined(group, self._space.metric))
        return compacted

    def _remove_all_but(self, names: set[str]) -> None:
        prefixes = (segment_file.UNFINISHED, segment_file.SEGMENT, segment_file.DELETED)
        for prefix in (*prefixes, MANIFEST, FORMER):
            for path in self.folder.glob(f"{prefix}*"):
                if path.name not in names:
                    path.unlink(missing_ok=True)
        self._infos = {name: info for name, info in self._infos.items() if name in names}


def _may_merge(one: Sequence[Segment], other: Sequence[Segment]) -> bool:
    first, second = (sum(each.live_count for each in group) for group in (one, other))
    return first <= TIMES * second and first + second <= LARGEST


def checksum(fields: object) -> int:
    """Return the checksum of a JSON object."""
    return zlib.crc32(json.dumps(fields, sort_keys=True).encode())
