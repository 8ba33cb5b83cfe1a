"""Proof that nothing of a person is left in the files of an index."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.maintenance.byte_search import search_folder
from indexer.records import Person
from indexer.search.vector_index import prepared
from indexer.types import Vectors
from indexer.unicode_names import spellings

if TYPE_CHECKING:
    from indexer.catalog.reader import Reader


@dataclasses.dataclass(frozen=True, slots=True)
class Forgettable:
    """What would be deleted with a person, and how many people would still have items."""

    person: str
    items: int
    files: int
    backups: int
    people_left: int


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """What was forgotten, and what a search of every byte of the index folder found.

    ``leftovers`` are sentences that name the files in which something was still found.
    ``skipped`` are sentences that say what was not looked for, because somebody else has it too.
    ``clean`` says that there are no leftovers. ``backups`` is the number of backups of the
    catalog that were deleted, because they held the person too.
    """

    person: str
    items: int
    files: int
    bytes_searched: int
    clean: bool
    leftovers: list[str]
    skipped: list[str]
    backups: int = 0

    def sentence(self) -> str:
        """The proof in words."""
        found = ["Nothing of them is left."] if self.clean else self.leftovers
        said = [
            f"{self.person} is forgotten: {self.items} items of {self.files} files.",
            f"Every byte of the index was searched, {self.bytes_searched} in all.",
        ]
        if self.backups:
            said.append(f"Backups of the catalog that held them were deleted: {self.backups}.")
        return " ".join([*said, *found, *self.skipped])


def proof(
    read: Reader,
    folder: Path,
    who: Person,
    vectors: Vectors,
    *,
    files: int,
    backups: int,
    spelt: Iterable[str] = (),
) -> Receipt:
    """Search an index folder for somebody whose (n, dim) vectors were deleted from it.

    Their key and name are looked for in every Unicode form, and as they were ``spelt`` in paths.
    What is kept has as well is not looked for.
    """
    forms = (form for text in (who.key, who.name) if text for form in spellings(text))
    texts = list(dict.fromkeys((*forms, *spelt)))
    kept = [text for text in texts if read.mentions(text)]
    skipped = [f"{text!r} was not looked for: something that is kept has it." for text in kept]
    held = {blob for _, blob in read.blobs()}
    unique = [vector for vector in vectors if vector.astype("<f4").tobytes() not in held]
    if len(unique) < len(vectors):
        shared = len(vectors) - len(unique)
        skipped.append(f"{shared} vectors were not looked for: an item kept has the same.")
    sought = [*unique, *prepared(np.array(unique, np.float32), read.space.metric)] if unique else []
    wanted = [text for text in texts if text not in kept]
    traces = search_folder(folder, wanted, sought)
    # Random bytes of a vector that is kept spell a short name now and then.
    leftovers = traces.sentences(lambda around: any(around in blob for blob in held))
    return Receipt(
        person=who.key,
        items=len(vectors),
        files=files,
        bytes_searched=traces.size,
        clean=not leftovers,
        leftovers=leftovers,
        skipped=skipped,
        backups=backups,
    )
