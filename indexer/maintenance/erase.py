"""Proof that no byte of a deleted person is left in the files of an index."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from indexer.catalog.reader import CatalogReader
from indexer.maintenance.byte_search import search_folder
from indexer.records import Person
from indexer.search.vector_index import prepared
from indexer.types import Vectors
from indexer.unicode_names import spellings


@dataclasses.dataclass(frozen=True, slots=True)
class DeletionPlan:
    """The content of a person to be deleted, and the number of people who keep items."""

    person: str
    items: int
    files: int
    backups: int
    people_left: int


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a deletion, and of a search of every byte of the index folder.

    Attributes:
        person: the key of the deleted person.
        items: number of items deleted.
        files: number of files of the person.
        bytes_searched: number of bytes searched.
        clean: True if nothing was found.
        leftovers: sentences that name the files in which something was found.
        skipped: sentences on texts and vectors that were not searched because other people have
            them too.
        backups: number of backups of the catalog deleted, since they contained the person.
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
        """Return the proof in words."""
        found = ["Nothing of them is left."] if self.clean else self.leftovers
        sentences = [
            f"{self.person} is forgotten: {self.items} items of {self.files} files.",
            f"Every byte of the index was searched, {self.bytes_searched} in all.",
        ]
        if self.backups:
            sentences.append(f"Backups of the catalog that held them were deleted: {self.backups}.")
        return " ".join([*sentences, *found, *self.skipped])


def proof(
    read: CatalogReader,
    folder: Path,
    who: Person,
    vectors: Vectors,
    *,
    files: int,
    backups: int,
    spelt: Iterable[str] = (),
) -> Receipt:
    """Search an index folder for a deleted person.

    Key and name are searched in every Unicode form. Texts and vectors that other people have too
    are skipped.

    Args:
        read: the catalog after the deletion.
        folder: the folder of the index.
        who: the person.
        vectors: (n, dim) their deleted vectors, as the model made them.
        files: number of their files, for the receipt.
        backups: number of deleted backups, for the receipt.
        spelt: further forms of the key, as found in paths.
    """
    forms = (form for text in (who.key, who.name) if text for form in spellings(text))
    texts = list(dict.fromkeys((*forms, *spelt)))
    shared = [text for text in texts if read.contains_text(text)]
    skipped = [f"{text!r} was not looked for: something that is kept has it." for text in shared]
    blobs = {blob for _, blob in read.vector_blobs()}
    unique = [vector for vector in vectors if vector.astype("<f4").tobytes() not in blobs]
    if len(unique) < len(vectors):
        count = len(vectors) - len(unique)
        skipped.append(f"{count} vectors were not looked for: an item kept has the same.")
    sought = [*unique, *prepared(np.array(unique, np.float32), read.space.metric)] if unique else []
    wanted = [text for text in texts if text not in shared]
    traces = search_folder(folder, wanted, sought)
    # Bytes of a remaining vector spell a short name now and then.
    leftovers = traces.sentences(lambda around: any(around in blob for blob in blobs))
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
