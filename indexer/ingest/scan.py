"""A gallery folder, and what is to be taken from it.

A folder a person, any depth below. Links are followed, hidden names are passed over. What
cannot be taken is refused by name and stops nothing; nothing is opened here.
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
# What says nothing of what a file holds; items that were taken from it stay.
PASSING = frozenset({LOOSE, UNREADABLE, BROKEN_LINK, NOT_THERE, NO_FILE})


@dataclasses.dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a gallery, in a fixed order.

    ``people`` is what tables say, of people without media too. ``ignored`` counts by suffix
    the files whose names are not media. ``partial`` says that a manifest chose the files. ``notes``
    are sentences on tables. ``passed_over`` counts by name the folders and files that systems and
    programs leave in a gallery.
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
        """Whether a file that was taken from this gallery before lies where systems leave files.

        Where a manifest named it, it is not.
        """
        if self.partial or record.reason or not record.path.is_relative_to(self.gallery):
            return False
        inside = record.path.relative_to(self.gallery)
        steps = [record.path, *(self.gallery / above for above in inside.parents if above.name)]
        as_found = {(normalised(inside.parts[0]), None, 0.0, None)}
        found = {(normalised(who), *rest) for who, *rest in record.asked}
        return found == as_found and any(map(left_by_system, steps))


def scan(gallery: Path | str, kind_of: KindOf, *, manifest: Path | str | None = None) -> Scan:
    """Find the media of a gallery; with a manifest, only the files that it names.

    ``kind_of`` is :meth:`indexer.types.Extractor.kind`. Raises BadRequest for a gallery that is
    not a readable folder and for tables that are wrong.
    """
    root = _root(absolute(gallery))
    notes: list[tuple[Path, str]] = []
    table = find_people(root)
    people = {} if table is None else _people(table, notes)
    walk = _Walk(root, kind_of, table)
    if manifest is None:
        walk.gallery()
    else:
        table = absolute(manifest)
        sources, said = read_manifest(table, root, lambda note: notes.append((table, note)))
        walk.named(sources)
        people = merged(people, said)
    return walk.result(people, notes, partial=manifest is not None)


def _people(table: Path, notes: list[tuple[Path, str]]) -> dict[str, Person]:
    """What the people.csv of a gallery says."""
    if not _is_plain(table):
        raise BadRequest(f"{printable(table)} is no plain file; put the table there or remove it.")
    return read_people(table, lambda note: notes.append((table, note)))


def _root(gallery: Path) -> Path:
    root = Path(os.path.realpath(gallery))  # Path.resolve raises over a link to itself
    if not is_utf8(root):
        raise BadRequest(f"{printable(root)} has a name that is not UTF-8; rename the folder.")
    if not _is_folder(root):
        raise BadRequest(f"{printable(gallery)} is not a folder; name the folder of your media.")
    if not os.access(root, os.R_OK | os.X_OK):
        raise BadRequest(f"{printable(gallery)} {UNREADABLE}")
    return root


class _Walk:
    """Gathers sources and refusals of one gallery."""

    def __init__(self, root: Path, kind_of: KindOf, table: Path | None) -> None:
        self._root, self._kind_of, self._table = root, kind_of, table
        self._sources: list[Source] = []
        self._refused: list[Refusal] = []
        self._ignored: collections.Counter[str] = collections.Counter()
        self._passed: collections.Counter[str] = collections.Counter()

    def result(
        self, people: dict[str, Person], notes: list[tuple[Path, str]], *, partial: bool
    ) -> Scan:
        """What was gathered."""
        return Scan(
            self._root,
            self._sources,
            self._refused,
            dict(sorted(self._ignored.items())),
            people,
            partial,
            notes,
            dict(sorted(self._passed.items())),
        )

    def gallery(self) -> None:
        """Everything in the gallery: a folder a person."""
        for path in self._entries(self._root, None):
            if _is_folder(path):
                self._folder(path, normalised(path.name), {os.path.realpath(self._root)})
            elif path != self._table:
                self._loose(path)

    def named(self, sources: Iterable[Source]) -> None:
        """The files of a manifest."""
        for source in sources:
            reason = self._named_fault(source.path)
            if reason is None:
                self._sources.append(source)
            else:
                self._refuse(source.path, source.person, reason)

    def _folder(self, folder: Path, person: str, above: set[str]) -> None:
        """One folder of a person; ``above`` are the real paths of the folders it lies in."""
        real = os.path.realpath(folder)
        reason = self._folder_fault(folder)
        if reason is not None:
            self._refuse(folder, person, reason)
        elif real not in above:
            for path in self._entries(folder, person):
                if _is_folder(path):
                    self._folder(path, person, {*above, real})
                else:
                    self._file(path, person)

    def _file(self, path: Path, person: str) -> None:
        if self._passed_over(path):
            return
        reason = file_fault(path)
        if reason is None:
            self._sources.append(Source(path, person, None, 0.0, None, self._root))
        else:
            self._refuse(path, person, reason)

    def _loose(self, path: Path) -> None:
        """A file beside the people's folders."""
        if not self._passed_over(path):
            self._refuse(path, None, file_fault(path) or LOOSE)

    def _passed_over(self, path: Path) -> bool:
        """Count and pass over plain files that are not media.

        What is not even a plain file with a readable name may have been meant as media.
        """
        if self._kind_of(path) is not None or not (is_utf8(path) and _is_plain(path)):
            return False
        self._ignored[os.fsencode(path.suffix.lower()).decode("utf-8", "backslashreplace")] += 1
        return True

    def _entries(self, folder: Path, person: str | None) -> Iterator[Path]:
        """What lies in a folder, by name, less what is hidden or of a system."""
        if not os.access(folder, os.R_OK | os.X_OK):
            self._refuse(folder, person, UNREADABLE)
            return
        for path in sorted(folder.iterdir(), key=os.fsencode):
            left = left_by_system(path)
            if left is not None:
                self._passed[left] += 1
            elif not path.name.startswith("."):
                yield path

    def _folder_fault(self, folder: Path) -> str | None:
        if not is_utf8(folder):
            return NOT_UTF8
        return NAMED_AS_MEDIA if self._kind_of(folder) is not None else None

    def _named_fault(self, path: Path) -> str | None:
        if not os.path.lexists(path):
            return NOT_THERE
        return file_fault(path) or (NOT_MEDIA if self._kind_of(path) is None else None)

    def _refuse(self, path: Path, person: str | None, reason: str) -> None:
        known = None if person is None or not is_utf8(Path(person)) else person
        self._refused.append(Refusal(Path(printable(path)), reason, self._root, known))


def file_fault(path: Path) -> str | None:
    """Why a file cannot be taken, None if it can be; it is looked at, never opened."""
    if not is_utf8(path):
        return NOT_UTF8
    try:
        found = path.stat()
    except PermissionError:
        return UNREADABLE
    except OSError:  # nothing there, or a link that leads back to itself
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


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
