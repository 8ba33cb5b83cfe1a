"""What galleries have lost since they were indexed, and whether the index may lose it too."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from indexer.catalog.reader import Reader
from indexer.errors import BadRequest, printable
from indexer.ingest.diff import is_gone
from indexer.ingest.scan import NOT_THERE, Scan
from indexer.records import FileRecord

Confirm = Callable[[str], bool]


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    """Files of a gallery that the index has and the gallery has not.

    ``known`` is how many files had been taken from it before. ``missing`` of them are gone.
    ``moving`` are gone from their places, and a run that reads the new files may find them there.
    ``stale`` were refused, and are no longer there to be refused. ``of_systems`` were taken by an
    earlier version from recycle bins and the like.
    """

    gallery: Path
    known: int
    missing: list[Path]
    moving: list[Path]
    stale: list[Path]
    of_systems: list[Path]

    @property
    def is_whole(self) -> bool:
        """Whether none of its files is there."""
        return 0 < self.known == len(self.missing)


def losses(read: Reader, scans: Sequence[Scan], moving: Collection[Path]) -> list[Loss]:
    """The loss of each gallery before a run; ``moving`` are what may have been moved."""
    return [_loss(read, each, moving) for each in scans]


def still_lost(read: Reader, before: Sequence[Loss]) -> list[Loss]:
    """The same after the run, which may have found files that had been moved."""
    return [_still(read, loss) for loss in before]


def check_whole(found: Sequence[Loss]) -> None:
    """Raises BadRequest for a gallery of which nothing is there: its disk may not be."""
    for loss in found:
        if loss.is_whole:
            raise BadRequest(
                f"{whole_words(loss.gallery, loss.known)} --prune removes nothing then: look "
                "whether its disk is mounted and it is the right folder. To remove people for "
                "good, use avsearch forget."
            )


def may_remove(found: Sequence[Loss], confirm: Confirm | None) -> bool:
    """Whether what is missing may go; ``confirm`` is asked where it is more than half of a gallery.

    Raises BadRequest where that has to be asked and nobody can be.
    """
    for loss in found:
        if 2 * len(loss.missing) > loss.known:
            said = (
                f"{len(loss.missing)} of the {loss.known} files that the index has of "
                f"{printable(loss.gallery)} are gone, which is more than half"
            )
            if confirm is None:
                raise BadRequest(f"{said}; --prune removes so many only with --yes.")
            if not confirm(f"{said}. Remove them from the index?"):
                return False
    return True


def whole_words(gallery: Path, known: int) -> str:
    """Say that nothing of a gallery is there."""
    files = f"none of the {known} files" if known > 1 else "the one file"
    found = "is there" if known > 1 else "is not there"
    return f"Nothing is left of {printable(gallery)}: {files} that the index has of it {found}."


def _loss(read: Reader, each: Scan, moving: Collection[Path]) -> Loss:
    known = read.files_under(each.gallery)
    taken = [record for record in known.values() if record.reason is None]
    rest = _not_seen(known, each)
    gone = [record.path for record in rest if record.reason is None and _is_lost(record.path)]
    return Loss(
        gallery=each.gallery,
        known=len(taken),
        missing=[path for path in gone if path not in moving],
        moving=[path for path in gone if path in moving],
        stale=[record.path for record in rest if record.reason and not each.partial],
        of_systems=[record.path for record in rest if each.passes_over(record)],
    )


def _still(read: Reader, loss: Loss) -> Loss:
    unmoved = read.files_named(loss.moving)
    paths = [*loss.missing, *(path for path in loss.moving if path in unmoved)]
    return dataclasses.replace(loss, missing=list(filter(_is_lost, paths)), moving=[])


def _not_seen(known: dict[Path, FileRecord], each: Scan) -> list[FileRecord]:
    there = {refusal.path for refusal in each.refused if refusal.reason != NOT_THERE}
    seen = there.union(source.path for source in each.sources)
    return [record for path, record in known.items() if path not in seen]


def _is_lost(path: Path) -> bool:
    """Whether a file is gone, and not only behind a link that leads nowhere for now."""
    if not is_gone(path):
        return False
    above = next((folder for folder in path.parents if os.path.lexists(folder)), None)
    return above is None or not above.is_symlink() or above.exists()
