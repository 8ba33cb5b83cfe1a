"""Search of every byte of a folder for texts and vectors, in a process of its own.

A process that uses a database must not open its file to read it as bytes: closing the file again
would release all locks that SQLite holds on it in that process.
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

PIECE = 32  # bytes of a vector that are searched as one, so that a part of a vector is found too
AROUND = 8  # bytes returned on either side of a text
_MOST = 1000  # places of a text in a file, at most
# Files of the cache hold numbers alone and are made after the deletion: a short text in them is
# chance.
_NUMBERS = ("segment-", "gone-", "approximate-")
BLOCK = 1 << 24  # bytes of a file in memory at a time
_WORD = np.dtype("<u8")
_CHILD = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from indexer.maintenance import byte_search; byte_search.main()"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Traces:
    """The result of a search.

    Attributes:
        size: number of bytes searched.
        texts: up to 8 bytes before and after each place, by file and text.
        others: sentences on files with parts of vectors, and on files that could not be searched.
    """

    size: int
    texts: dict[tuple[str, str], list[tuple[bytes, bytes]]]
    others: list[str]

    def sentences(self, by_chance: Callable[[bytes], bool] = lambda _: False) -> list[str]:
        """Return sentences on the files in which something was found.

        ``by_chance`` tells whether the bytes around a text belong to other content.
        """
        left = [
            f"{path} still holds the text {text!r}."
            for (path, text), places in self.texts.items()
            if not all(
                by_chance(before + text.encode()) or by_chance(text.encode() + after)
                for before, after in places
            )
        ]
        return sorted([*left, *self.others])


def search_folder(folder: Path, texts: Sequence[str], vectors: Sequence[Vectors]) -> Traces:
    """Search every byte of a folder for texts and pieces of vectors.

    Texts are not searched in the arrays of the vector cache. The other process gets texts and
    vectors through a pipe, so they appear in no file and no list of processes. Its Python is that
    of :func:`multiprocessing.set_executable`.

    Args:
        folder: the folder.
        texts: texts to search.
        vectors: (dim,) vectors to search, all of one size.
    """
    import multiprocessing.spawn  # a search of an index needs neither
    import subprocess

    sought = np.array(vectors, "<f4").reshape(len(vectors), len(vectors[0]) if vectors else 0)
    request = {"folder": str(folder), "texts": list(texts), "shape": sought.shape}
    done = subprocess.run(
        [multiprocessing.spawn.get_executable(), "-c", _CHILD, *map(str, sys.path)],
        input=json.dumps(request).encode() + b"\n" + sought.tobytes(),
        stdout=subprocess.PIPE,
        check=True,
    )
    size, found, others = json.loads(done.stdout)
    places = {
        (path, text): [(bytes.fromhex(before), bytes.fromhex(after)) for before, after in around]
        for path, text, around in found
    }
    return Traces(size, places, others)


def main() -> None:
    """Run a search for :func:`search_folder`: request on standard input, result on output."""
    request = json.loads(sys.stdin.buffer.readline())
    content = np.frombuffer(sys.stdin.buffer.read(), "<f4")
    pieces = Pieces(content.reshape(request["shape"]))
    searched, found, others = 0, [], []
    files = (path for path in Path(request["folder"]).rglob("*") if path.is_file())
    for path in sorted(files, key=os.fsencode):
        try:
            size, places, has_piece = _search_file(path, request["texts"], pieces)
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
    """Yield the content in blocks, each with the end of the one before it."""
    with path.open("rb") as file:
        tail = b""
        while block := file.read(BLOCK):
            yield tail + block
            tail = (tail + block)[-overlap:]


class Pieces:
    """Many short byte strings, all searched in one pass.

    A table of the first two bytes rules out nearly every position. The rest is compared with the
    first eight bytes of the pieces, and only then with whole pieces.
    """

    def __init__(self, vectors: Iterable[Vectors]) -> None:
        self._whole = {piece for vector in vectors for piece in _split(vector)}
        heads = [int.from_bytes(piece[: _WORD.itemsize], "little") for piece in self._whole]
        self._heads = np.unique(np.array(heads, _WORD))
        self._maybe = np.zeros(1 << 16, bool)
        self._maybe[self._heads & 0xFFFF] = True

    def are_in(self, block: bytes) -> bool:
        """Return whether the block contains any piece, at any position."""
        return any(
            block[at : at + PIECE] in self._whole
            for shift in range(_WORD.itemsize)
            for at in self._positions(block, shift)
        )

    def _positions(self, block: bytes, shift: int) -> list[int]:
        """Return positions of first bytes, among those ``shift`` past a multiple of 8."""
        count = (len(block) - shift) // _WORD.itemsize
        if count < 1:
            return []
        words = np.frombuffer(block, _WORD, count, shift)
        maybe = np.flatnonzero(self._maybe[words.astype(np.uint16)])
        sure = maybe[np.isin(words[maybe], self._heads)]
        return [int(at) * _WORD.itemsize + shift for at in sure]


def _split(vector: Vectors) -> list[bytes]:
    """Return the pieces of a vector, except those of mostly one number, which are in any file."""
    content = np.asarray(vector, "<f4").tobytes()
    size = min(PIECE, len(content))
    pieces = [content[at : at + size] for at in range(0, len(content) - size + 1, size)]
    return [piece for piece in pieces if len(set(np.frombuffer(piece, "<f4").tolist())) > size // 8]
