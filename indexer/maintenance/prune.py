"""Files that galleries have lost since they were indexed, and the rules for removing them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from indexer.catalog.reader import CatalogReader
from indexer.errors import BadRequest, printable
from indexer.ingest.diff import is_gone
from indexer.ingest.scan import NOT_THERE, Scan

Confirm = Callable[[str], bool]


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    """Files that the index has of a gallery and that the gallery no longer has.

    Attributes:
        gallery: the folder.
        known: the number of files taken from it before.
        missing: those that are gone.
        moving: those gone from their paths that may be new files under other paths.
        stale: refused files that no longer exist.
        of_systems: files that an earlier version took from recycle bins and the like.
    """

    gallery: Path
    known: int
    missing: list[Path]
    moving: list[Path]
    stale: list[Path]
    of_systems: list[Path]

    @property
    def is_whole(self) -> bool:
        """True if none of the files is left."""
        return 0 < self.known == len(self.missing)


def losses(read: CatalogReader, scans: Sequence[Scan], moving: Collection[Path]) -> list[Loss]:
    """Return the loss of each gallery before a run; ``moving`` are files that may have moved."""
    return [_loss(read, each, moving) for each in scans]


def still_lost(read: CatalogReader, before: Sequence[Loss]) -> list[Loss]:
    """Return the losses after the run, which may have found moved files."""
    found = []
    for loss in before:
        unmoved = read.files_named(loss.moving)
        paths = [*loss.missing, *(path for path in loss.moving if path in unmoved)]
        found.append(dataclasses.replace(loss, missing=list(filter(_is_lost, paths)), moving=[]))
    return found


def require_something_left(found: Sequence[Loss]) -> None:
    """Raise BadRequest for a gallery without any file: its disk may not be mounted."""
    for loss in found:
        if loss.is_whole:
            raise BadRequest(
                f"{whole_words(loss.gallery, loss.known)} --prune removes nothing then: look "
                "whether its disk is mounted and it is the right folder. To remove people for "
                "good, use avsearch forget."
            )


def may_remove(found: Sequence[Loss], confirm: Confirm | None) -> bool:
    """Return whether missing files may be removed.

    ``confirm`` is asked for each gallery that lost more than half of its files. Raises BadRequest
    if it is None then.
    """
    for loss in found:
        if 2 * len(loss.missing) > loss.known:
            message = (
                f"{len(loss.missing)} of the {loss.known} files that the index has of "
                f"{printable(loss.gallery)} are gone, which is more than half"
            )
            if confirm is None:
                raise BadRequest(f"{message}; --prune removes so many only with --yes.")
            if not confirm(f"{message}. Remove them from the index?"):
                return False
    return True


def whole_words(gallery: Path, known: int) -> str:
    """Return a sentence saying that no file of a gallery is left."""
    files = f"none of the {known} files" if known > 1 else "the one file"
    found = "is there" if known > 1 else "is not there"
    return f"Nothing is left of {printable(gallery)}: {files} that the index has of it {found}."


def _loss(read: CatalogReader, each: Scan, moving: Collection[Path]) -> Loss:
    known = read.files_under(each.gallery)
    seen = {refusal.path for refusal in each.refused if refusal.reason != NOT_THERE}
    seen.update(source.path for source in each.sources)
    unseen = [record for path, record in known.items() if path not in seen]
    gone = [record.path for record in unseen if record.reason is None and _is_lost(record.path)]
    return Loss(
        gallery=each.gallery,
        known=sum(record.reason is None for record in known.values()),
        missing=[path for path in gone if path not in moving],
        moving=[path for path in gone if path in moving],
        stale=[record.path for record in unseen if record.reason and not each.partial],
        of_systems=[record.path for record in unseen if each.passes_over(record)],
    )


def _is_lost(path: Path) -> bool:
    """Return whether a file is gone, and not only behind a link that is broken for now."""
    if not is_gone(path):
        return False
    above = next((folder for folder in path.parents if os.path.lexists(folder)), None)
    return above is None or not above.is_symlink() or above.exists()
