"""Proof that nothing of a person is left in the files of an index."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.errors import printable
from indexer.names import spellings
from indexer.records import Person
from indexer.types import Vectors
from indexer.vectors import prepared

if TYPE_CHECKING:
    from indexer.reader import Reader

PIECE = 32  # bytes of a vector that are looked for as one: a part of it is found as well
BLOCK = 1 << 24  # bytes of a file in memory at a time
_WORD = np.dtype("<u8")


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
    What a person or an item that is kept has as well is not looked for.
    """
    forms = (form for text in (who.key, who.name) if text for form in spellings(text))
    texts = list(dict.fromkeys((*forms, *spelt)))
    kept = [text for text in texts if read.mentions(text)]
    skipped = [f"{text!r} was not looked for: a person or path kept has it." for text in kept]
    held = {blob for _, blob in read.blobs()}
    unique = [vector for vector in vectors if vector.astype("<f4").tobytes() not in held]
    if len(unique) < len(vectors):
        shared = len(vectors) - len(unique)
        skipped.append(f"{shared} vectors were not looked for: an item kept has the same.")
    sought = [*unique, *prepared(np.array(unique, np.float32), read.space.metric)] if unique else []
    wanted = [text for text in texts if text not in kept]
    searched, leftovers = search_folder(folder, wanted, sought)
    return Receipt(
        person=who.key,
        items=len(vectors),
        files=files,
        bytes_searched=searched,
        clean=not leftovers,
        leftovers=leftovers,
        skipped=skipped,
        backups=backups,
    )


def search_folder(
    folder: Path, texts: Sequence[str], vectors: Iterable[Vectors]
) -> tuple[int, list[str]]:
    """Look for texts and for pieces of vectors in every byte of a folder.

    Returns the number of bytes searched and a sentence for each file in which any was found.
    """
    pieces = _Pieces(vectors)
    searched, leftovers = 0, []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size, found = _search_file(path, [text.encode() for text in texts], pieces)
        searched += size
        leftovers += [f"{printable(path)} still holds {what}." for what in sorted(found)]
    return searched, leftovers


def _search_file(path: Path, texts: list[bytes], pieces: _Pieces) -> tuple[int, set[str]]:
    overlap = max([PIECE, *map(len, texts)])
    size, found = path.stat().st_size, set()
    for block in _blocks(path, overlap):
        found |= {f"the text {text.decode()!r}" for text in texts if text in block}
        if pieces.are_in(block):
            found.add("a part of a vector")
    return size, found


def _blocks(path: Path, overlap: int) -> Iterator[bytes]:
    """The content in blocks, each with the end of the one before it."""
    with path.open("rb") as file:
        tail = b""
        while block := file.read(BLOCK):
            yield tail + block
            tail = (tail + block)[-overlap:]


class _Pieces:
    """Many short strings of bytes, all looked for in one pass.

    A table of the first two bytes rules out nearly every position; what remains is compared
    with the first eight bytes of the pieces, and only then with all of a piece.
    """

    def __init__(self, vectors: Iterable[Vectors]) -> None:
        self._whole = {piece for vector in vectors for piece in _split(vector)}
        heads = [int.from_bytes(piece[: _WORD.itemsize], "little") for piece in self._whole]
        self._heads = np.unique(np.array(heads, _WORD))
        self._maybe = np.zeros(1 << 16, bool)
        self._maybe[self._heads & 0xFFFF] = True

    def are_in(self, block: bytes) -> bool:
        """Whether any piece is in the block, at any position."""
        return any(
            block[at : at + PIECE] in self._whole
            for shift in range(_WORD.itemsize)
            for at in self._positions(block, shift)
        )

    def _positions(self, block: bytes, shift: int) -> list[int]:
        """Where a head stands, of the positions that are ``shift`` past a multiple of 8."""
        count = (len(block) - shift) // _WORD.itemsize
        if count < 1:
            return []
        words = np.frombuffer(block, _WORD, count, shift)
        maybe = np.flatnonzero(self._maybe[words.astype(np.uint16)])
        sure = maybe[np.isin(words[maybe], self._heads)]
        return [int(at) * _WORD.itemsize + shift for at in sure]


def _split(vector: Vectors) -> list[bytes]:
    """The pieces of a vector that are not mostly one number, which any file may hold."""
    content = np.asarray(vector, "<f4").tobytes()
    size = min(PIECE, len(content))
    pieces = [content[at : at + size] for at in range(0, len(content) - size + 1, size)]
    return [piece for piece in pieces if len(set(np.frombuffer(piece, "<f4").tolist())) > size // 8]
