"""A gallery folder or a manifest as sources and refusals.

A gallery has one folder per person, with any folders below. Links are followed, hidden names are
skipped. A file that cannot be taken is refused by name and stops nothing. No file is opened here.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from indexer.errors import ADDRESS, BadRequest, is_address, is_utf8, printable
from indexer.ingest.system_files import left_by_system
from indexer.records import FileRecord, Person, Refusal, Source
from indexer.runtime.atomic import absolute
from indexer.tables.people import find_people, merged, read_manifest, read_people
from indexer.types import Kind
from indexer.unicode_names import normalised

KindOf = Callable[[Path], Kind | None]

EMPTY = "is empty; copy it again from where it came."
LOOSE = "lies in no person's folder; move it into one named after the person."
NAMED_AS_MEDIA = "is a folder with the name of a media file; rename it."
SPECIAL = "is a pipe, socket or device; put a plain file in its place."
BROKEN_LINK = "is a link to something that is not there; mend or remove it."
UNREADABLE = "may not be read; check its permissions."
NOT_UTF8 = "has a name that is not UTF-8; rename it."
NOT_THERE = "is named by the manifest but is not there; correct its path."
NOT_MEDIA = "has a name that is not one of media; see its suffix."
NOT_A_FILE = "is a folder; name a file in it."
NO_FILE = "is not there; check the name."
# Reasons that do not lie in the bytes of a file: items taken from it stay.
TRANSIENT = frozenset({LOOSE, UNREADABLE, BROKEN_LINK, NOT_THERE, NO_FILE})


@dataclasses.dataclass(frozen=True, slots=True)
class Scan:
    """The content of a gallery, in a fixed order.

    Attributes:
        gallery: the folder.
        sources: files to take.
        refused: files that cannot be taken.
        ignored: number of files that are not media, by suffix.
        people: metadata from tables, also of people without media.
        partial: True if a manifest chose the files.
        notes: path and sentence on what was guessed or left out in tables.
        passed_over: number of files and folders that systems and programs leave in a gallery, by
            name.
    """

    gallery: Path
    sources: list[Source]
    refused: list[Refusal]
    ignored: dict[str, int]
    people: dict[str, Person]
    partial: bool = False
    notes: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    passed_over: dict[str, int] = dataclasses.field(default_factory=dict)

    def passes_over(self, record: FileRecord) -> bool:
        """Return whether a known file of this gallery is one that systems leave there.

        A file that a manifest named is not.
        """
        if self.partial or record.reason or not record.path.is_relative_to(self.gallery):
            return False
        inside = record.path.relative_to(self.gallery)
        steps = [record.path, *(self.gallery / above for above in inside.parents if above.name)]
        by_folder = {(normalised(inside.parts[0]), None, 0.0, None)}
        found = {(normalised(who), *rest) for who, *rest in record.source_keys}
        return found == by_folder and any(map(left_by_system, steps))


def scan(gallery: Path | str, kind_of: KindOf, *, manifest: Path | str | None = None) -> Scan:
    """Find the media of a gallery.

    Args:
        gallery: a folder with one folder per person.
        kind_of: :meth:`indexer.types.Extractor.kind`.
        manifest: a table; if given, only the files that it names are taken.

    Raises:
        BadRequest: the gallery is not a readable folder, or a table is wrong.
    """
    root = _root(absolute(gallery))
    notes: list[tuple[Path, str]] = []
    table = find_people(root)
    people: dict[str, Person] = {}
    if table is not None:
        if not _has_mode(table, stat.S_ISREG):
            raise BadRequest(
                f"{printable(table)} is no plain file; put the table there or remove it."
            )
        people = read_people(table, lambda note: notes.append((table, note)))
    walk = _Walk(root, kind_of, table)
    if manifest is None:
        walk.gallery()
    else:
        rows = absolute(manifest)
        sources, metadata = read_manifest(rows, root, lambda note: notes.append((rows, note)))
        walk.named(sources)
        people = merged(people, metadata)
    return Scan(
        root,
        walk.sources,
        walk.refused,
        dict(sorted(walk.ignored.items())),
        people,
        manifest is not None,
        notes,
        dict(sorted(walk.passed_over.items())),
    )


def _root(gallery: Path) -> Path:
    root = Path(os.path.realpath(gallery))  # Path.resolve raises over a link to itself
    if not is_utf8(root):
        raise BadRequest(f"{printable(root)} has a name that is not UTF-8; rename the folder.")
    if not _has_mode(root, stat.S_ISDIR):
        raise BadRequest(f"{printable(gallery)} is not a folder; name the folder of your media.")
    if not os.access(root, os.R_OK | os.X_OK):
        raise BadRequest(f"{printable(gallery)} {UNREADABLE}")
    return root


class _Walk:
    """Gathers the sources and refusals of one gallery."""

    def __init__(self, root: Path, kind_of: KindOf, table: Path | None) -> None:
        self._root, self._kind_of, self._table = root, kind_of, table
        self.sources: list[Source] = []
        self.refused: list[Refusal] = []
        self.ignored: collections.Counter[str] = collections.Counter()
        self.passed_over: collections.Counter[str] = collections.Counter()

    def gallery(self) -> None:
        """Walk the whole gallery: one folder per person."""
        for path in self._entries(self._root, None):
            if _has_mode(path, stat.S_ISDIR):
                self._folder(path, normalised(path.name), {os.path.realpath(self._root)})
            elif path != self._table and not self._is_ignored(path):
                self._refuse(path, None, file_fault(path) or LOOSE)

    def named(self, sources: Iterable[Source]) -> None:
        """Take the files of a manifest."""
        for source in sources:
            reason: str | None = NOT_THERE
            if os.path.lexists(source.path):
                not_media = None if self._kind_of(source.path) is not None else NOT_MEDIA
                reason = file_fault(source.path) or not_media
            if reason is None:
                self.sources.append(source)
            else:
                self._refuse(source.path, source.person, reason)

    def _folder(self, folder: Path, person: str, above: set[str]) -> None:
        """Walk one folder of a person; ``above`` are the real paths of the folders it lies in."""
        real = os.path.realpath(folder)
        if not is_utf8(folder):
            self._refuse(folder, person, NOT_UTF8)
        elif self._kind_of(folder) is not None:
            self._refuse(folder, person, NAMED_AS_MEDIA)
        elif real not in above:
            for path in self._entries(folder, person):
                if _has_mode(path, stat.S_ISDIR):
                    self._folder(path, person, {*above, real})
                elif not self._is_ignored(path):
                    reason = file_fault(path)
                    if reason is None:
                        self.sources.append(Source(path, person, None, 0.0, None, self._root))
                    else:
                        self._refuse(path, person, reason)

    def _is_ignored(self, path: Path) -> bool:
        """Count a plain file that is not media, and return whether it is one.

        Anything but a plain file with a UTF-8 name may have been meant as media.
        """
        plain = is_utf8(path) and _has_mode(path, stat.S_ISREG)
        if self._kind_of(path) is not None or not plain:
            return False
        self.ignored[os.fsencode(path.suffix.lower()).decode("utf-8", "backslashreplace")] += 1
        return True

    def _entries(self, folder: Path, person: str | None) -> Iterator[Path]:
        """Yield the entries of a folder by name, except hidden ones and those of systems."""
        if not os.access(folder, os.R_OK | os.X_OK):
            self._refuse(folder, person, UNREADABLE)
            return
        for path in sorted(folder.iterdir(), key=os.fsencode):
            left = left_by_system(path)
            if left is not None:
                self.passed_over[left] += 1
            elif not path.name.startswith("."):
                yield path

    def _refuse(self, path: Path, person: str | None, reason: str) -> None:
        known = None if person is None or not is_utf8(Path(person)) else person
        self.refused.append(Refusal(Path(printable(path)), reason, self._root, known))


def file_fault(path: Path) -> str | None:
    """Return why a file cannot be taken, or None; the file is not opened."""
    if not is_utf8(path):
        return NOT_UTF8
    try:
        found = path.stat()
    except PermissionError:
        return UNREADABLE
    except OSError:  # nothing there, or a link to itself
        if os.path.lexists(path):
            return BROKEN_LINK
        return ADDRESS if is_address(str(path)) else NO_FILE
    if stat.S_ISDIR(found.st_mode):
        return NOT_A_FILE
    if not stat.S_ISREG(found.st_mode):
        return SPECIAL
    if found.st_size == 0:
        return EMPTY
    return None if os.access(path, os.R_OK) else UNREADABLE


def _has_mode(path: Path, is_mode: Callable[[int], bool]) -> bool:
    """Return whether a path exists and is of a kind of :mod:`stat`."""
    try:
        return is_mode(path.stat().st_mode)
    except OSError:
        return False
