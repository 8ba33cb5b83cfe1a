"""The vectors on disk in the form a search reads: a copy that can be made again at any time.

``stamp.json`` names the revision the copy is of and its segments: files of arrays that are
mapped into memory and never change. An update writes one new segment, marks what was deleted,
and gives a new stamp; small segments are joined and much deleted ones written anew. Everything
is written under a temporary name and renamed, the stamp last; files that no stamp names are
deleted after it.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from indexer.cache import segment_file
from indexer.cache.segment_file import Facts, NoCacheError, UnfitCacheError
from indexer.records import Revision
from indexer.search.segment import Part, joined
from indexer.types import Space

FOLDER = "cache"
STAMP = "stamp.json"
FORMER = "vectors.faiss"  # what a cache was before it had segments
LARGEST = 1 << 18  # rows of a segment: one is written anew in about a second
TIMES = 4  # a segment is joined with the next while it is at most this much larger
GONE_SHARE = 0.25  # a segment of which more is deleted is written anew
ATTEMPTS = 5  # a writer may delete what a stamp names between reading the two


@dataclasses.dataclass(frozen=True, slots=True)
class Stamp:
    """What a cache is a copy of, and of which segments it is made."""

    revision: Revision
    space: Space
    count: int
    segments: tuple[Facts, ...]

    @classmethod
    def from_json(cls, text: str) -> Stamp:
        """Read back; raises UnfitCacheError for anything that is not a stamp as it was written."""
        try:
            facts = json.loads(text)
            if facts.pop("sum") != _sum(facts):
                raise UnfitCacheError(f"{STAMP} was changed")
            return cls(
                Revision(**facts["revision"]),
                Space(**facts["space"]),
                facts["count"],
                tuple(Facts(**segment) for segment in facts["segments"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnfitCacheError(f"{STAMP} is damaged ({error})") from error

    def to_json(self) -> str:
        """As JSON text, with its own checksum."""
        facts = dataclasses.asdict(self)
        return json.dumps({**facts, "sum": _sum(facts)}, indent=1)


class Cache:
    """The cache of one index folder; one object serves one thread at a time.

    ``checked`` are the names of segments whose checksums were compared, which several may share.
    """

    def __init__(self, index_folder: Path, space: Space, checked: set[str] | None = None) -> None:
        self.folder = index_folder / FOLDER
        self._space = space
        self._facts: dict[str, Facts] = {}  # of every segment seen
        self._checked = set() if checked is None else checked

    def is_of(self, revision: Revision) -> bool:
        """Whether what is stored is of this revision."""
        try:
            return self._stamp().revision == revision
        except UnfitCacheError:
            return False

    def load(self, known: Sequence[Part] = ()) -> tuple[Stamp, list[Part]]:
        """The parts, mapped and not yet read, and what they are a copy of.

        Those that are ``known`` are not mapped again. Raises UnfitCacheError where files are
        missing, cut short or of another space, NoCacheError where nothing is stored; what was
        changed in place is found by :meth:`check`.
        """
        for attempt in range(ATTEMPTS):
            stamp = self._stamp()
            try:
                return stamp, self._mapped(stamp, {part.name: part for part in known})
            except UnfitCacheError:
                if attempt == ATTEMPTS - 1 or stamp == self._stamp():
                    raise
        raise AssertionError

    def check(self, parts: Iterable[Part]) -> None:
        """Compare the files of these parts with their checksums, each that was not yet.

        Raises UnfitCacheError where one was changed.
        """
        new = [(self._facts[part.name], part) for part in parts if part.name]
        new = [each for each in new if each[0].name not in self._checked]
        segment_file.check(new, self._space.metric)
        self._checked.update(facts.name for facts, _ in new)

    def store(self, parts: Iterable[Part], revision: Revision) -> list[Part]:
        """Make these parts what is stored, and give them as they are on disk.

        Only what is not there yet is written, each part before the next is asked for. The
        caller holds the write lock. Raises UnfitCacheError where a segment that has to be
        written anew was changed.
        """
        self.folder.mkdir(exist_ok=True)
        stored = [self._stored(part) for part in parts if part.alive]
        stored = [self._stored(part) for part in self._tidied(stored)]
        facts = tuple(self._facts[part.name] for part in stored if part.name)
        stamp = Stamp(revision, self._space, sum(part.alive for part in stored), facts)
        segment_file.replace(self.folder / STAMP, [stamp.to_json().encode()])
        self._remove_all_but({name for each in facts for name in each.files()} | {STAMP})
        return stored

    def keep(self, part: Part) -> Part:
        """Write a part that is to be stored later, and give it as it is on disk."""
        self.folder.mkdir(exist_ok=True)
        return self._stored(part)

    def clear(self) -> None:
        """Delete what is stored, unfinished files too, and nothing that is not ours.

        The stamp goes first: what a kill leaves is then no cache, and not a damaged one.
        """
        (self.folder / STAMP).unlink(missing_ok=True)
        self._remove_all_but(set())

    def _stamp(self) -> Stamp:
        try:
            text = (self.folder / STAMP).read_bytes().decode("utf-8", "replace")
        except FileNotFoundError as error:
            raise NoCacheError(f"{STAMP} is not there") from error
        except OSError as error:
            raise UnfitCacheError(f"{STAMP} cannot be read ({error.strerror})") from error
        stamp = Stamp.from_json(text)
        if stamp.space != self._space:
            raise UnfitCacheError(f"it is of {stamp.space.describe()}")
        return stamp

    def _mapped(self, stamp: Stamp, known: Mapping[str | None, Part]) -> list[Part]:
        parts = []
        for facts in stamp.segments:
            self._facts[facts.name] = facts
            if facts.name in known:
                gone = segment_file.read_gone(self.folder, facts)
                parts.append(dataclasses.replace(known[facts.name], gone=gone))
            else:
                parts.append(segment_file.map_part(self.folder, facts, self._space))
        if sum(part.alive for part in parts) != stamp.count:
            raise UnfitCacheError(f"{STAMP} counts {stamp.count} items, and its segments differ")
        return parts

    def _stored(self, part: Part) -> Part:
        """The part with a file of its own, and with its deletions in another."""
        if part.name is None or not (self.folder / part.name).exists():
            facts = segment_file.write_part(self.folder, part, self._space.metric)
        else:
            facts = self._facts[part.name]
        facts = self._facts[facts.name] = segment_file.with_gone(self.folder, facts, part.gone)
        if facts.name == part.name:
            return part
        self._checked.add(facts.name)
        return segment_file.map_part(self.folder, facts, self._space)

    def _tidied(self, parts: Sequence[Part]) -> list[Part]:
        """Small neighbours joined, and what is much deleted left out; joined in memory."""
        tidy: list[list[Part]] = []
        for part in parts:
            tidy.append([part])
            while len(tidy) > 1 and _belong_together(tidy[-2], tidy[-1]):
                tidy[-2:] = [tidy[-2] + tidy[-1]]
        return [self._joined(group) for group in tidy]

    def _joined(self, group: Sequence[Part]) -> Part:
        part = group[0]
        if len(group) == 1 and part.alive >= (1 - GONE_SHARE) * len(part):
            return part
        self.check(group)
        return joined(group, self._space.metric)

    def _remove_all_but(self, keep: set[str]) -> None:
        for kind in (
            segment_file.UNFINISHED,
            segment_file.SEGMENT,
            segment_file.GONE,
            STAMP,
            FORMER,
        ):
            for path in self.folder.glob(f"{kind}*"):
                if path.name not in keep:
                    path.unlink(missing_ok=True)
        self._facts = {name: facts for name, facts in self._facts.items() if name in keep}


def _belong_together(one: Sequence[Part], other: Sequence[Part]) -> bool:
    first, second = (sum(part.alive for part in group) for group in (one, other))
    return first <= TIMES * second and first + second <= LARGEST


def _sum(facts: object) -> int:
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())
