"""A search of every byte of a folder for texts and vectors; run in a process of its own.

To read a database's file as bytes, the process that has it open must not open it itself: closing
it again takes away all locks that SQLite holds on it in that process.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from indexer.errors import printable
from indexer.types import Vectors

PIECE = 32  # bytes of a vector that are looked for as one: a part of it is found as well
AROUND = 8  # bytes on either side of a text that are told with it
_MOST = 1000  # places of a text in a file that are told
# Files of the cache that hold arrays of numbers alone, made from the catalog after the deletion: a
# short text is in them by chance.
_NUMBERS = ("segment-", "gone-", "approximate-")
BLOCK = 1 << 24  # bytes of a file in memory at a time
_WORD = np.dtype("<u8")
_CHILD = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from indexer.maintenance import byte_search; byte_search.answer()"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Traces:
    """What a search found.

    ``size`` is the number of bytes searched. ``texts`` has, for each file and text that was found,
    up to 8 bytes before and behind each of its places. ``others`` are sentences about files with
    parts of vectors, and about files that could not be searched.
    """

    size: int
    texts: dict[tuple[str, str], list[tuple[bytes, bytes]]]
    others: list[str]

    def sentences(self, by_chance: Callable[[bytes], bool] = lambda _: False) -> list[str]:
        """Say what was found where.

        ``by_chance`` tells of bytes around a text whether they are kept ones that do not mean it.
        """
        left = [
            f"{path} still holds the text {text!r}."
            for (path, text), places in self.texts.items()
            if not all(
                by_chance(before + text.encode()) or by_chance(text.encode() + behind)
                for before, behind in places
            )
        ]
        return sorted([*left, *self.others])


def search_folder(folder: Path, texts: Sequence[str], vectors: Sequence[Vectors]) -> Traces:
    """Look for texts and for pieces of vectors, all of one size, in every byte of a folder.

    Texts are not looked for in the arrays of the vector cache. What is looked for goes to the
    other process through a pipe, and so into no file and no list of processes. Python is what
    :func:`multiprocessing.set_executable` says.
    """
    import multiprocessing.spawn  # no process that only asks needs them
    import subprocess

    sought = np.array(vectors, "<f4").reshape(len(vectors), len(vectors[0]) if vectors else 0)
    question = {"folder": str(folder), "texts": list(texts), "shape": sought.shape}
    done = subprocess.run(
        [multiprocessing.spawn.get_executable(), "-c", _CHILD, *map(str, sys.path)],
        input=json.dumps(question).encode() + b"\n" + sought.tobytes(),
        stdout=subprocess.PIPE,
        check=True,
    )
    size, found, others = json.loads(done.stdout)
    places = {
        (path, text): [(bytes.fromhex(before), bytes.fromhex(behind)) for before, behind in around]
        for path, text, around in found
    }
    return Traces(size, places, others)


def answer() -> None:
    """Do what :func:`search_folder` asks on standard input, and answer on standard output."""
    question = json.loads(sys.stdin.buffer.readline())
    content = np.frombuffer(sys.stdin.buffer.read(), "<f4")
    pieces = Pieces(content.reshape(question["shape"]))
    searched, found, others = 0, [], []
    files = (path for path in Path(question["folder"]).rglob("*") if path.is_file())
    for path in sorted(files, key=os.fsencode):
        try:
            size, places, has_piece = _search_file(path, question["texts"], pieces)
        except OSError as error:
            others.append(f"{printable(path)} could not be searched: {error.strerror}.")
            continue
        searched += size
        found += [(printable(path), text, around) for text, around in places.items()]
        if has_piece:
            others.append(f"{printable(path)} still holds a part of a vector.")
    sys.stdout.write(json.dumps([searched, found, others]))


def _search_file(
    path: Path, texts: list[str], pieces: Pieces
) -> tuple[int, dict[str, list[tuple[str, str]]], bool]:
    """Return a file's size, the bytes around each text in it, and whether it has a piece."""
    if path.name.startswith(_NUMBERS):
        texts = []
    overlap = max([PIECE, *(len(text.encode()) + 2 * AROUND for text in texts)])
    found: dict[str, list[tuple[str, str]]] = {}
    has_piece = False
    for block in _blocks(path, overlap):
        has_piece = has_piece or pieces.are_in(block)
        for text in texts:
            sought, at = text.encode(), block.find(text.encode())
            while at >= 0 and len(found.setdefault(text, [])) < _MOST:
                end = at + len(sought)
                around = block[max(0, at - AROUND) : at], block[end : end + AROUND]
                found[text].append((around[0].hex(), around[1].hex()))
                at = block.find(sought, at + 1)
    return path.stat().st_size, found, has_piece


def _blocks(path: Path, overlap: int) -> Iterator[bytes]:
    """The content in blocks, each with the end of the one before it."""
    with path.open("rb") as file:
        tail = b""
        while block := file.read(BLOCK):
            yield tail + block
            tail = (tail + block)[-overlap:]


class Pieces:
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
