"""avsearch's own index as an engine, and the measurements of avsearch alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from avsearch.runtime import int8_torch
from benchmarks.speed.engines import Engine
from benchmarks.speed.world import DIM, World
from indexer.index import Index
from indexer.records import FileRecord, NewItem, Person, Stat
from indexer.types import MODALITIES, Ids, Space, Vectors

SPACE = Space("synthetic", "0" * 64, DIM, "cosine")
GALLERY = Path("/gallery")
TRANSACTION = 50_000  # files written in one

File = tuple[FileRecord, list[NewItem]]


class Avsearch(Engine):
    """``indexer.Index``, which returns whole hits."""

    packages = ("sqlalchemy",)

    def fill(self, world: World, folder: Path) -> None:
        """Write every row as a file with one item, then update the cache."""
        int8_torch.use()  # as loading a model does, which every question with media needs
        self._index = Index.create(folder, SPACE)
        with self._index.writing() as catalog:
            for part in world.blocks(TRANSACTION):
                rows = np.arange(part.start, part.stop)
                files = list(_files(world, rows, np.asarray(world.vectors[part]), "0"))
                with catalog.write("fill") as write:
                    write.put_files(files, _people(world, rows))

    def search(self, queries: Vectors, k: int, nationality: str | None) -> Ids:
        """Search by ``Index.search``; a new catalog numbers its items from 1, in order."""
        where = {} if nationality is None else {"nationality": nationality}
        found = self._index.search(queries, k, where=where)
        out = np.full((len(queries), k), -1, np.int64)
        for row, hits in zip(out, found.hits, strict=True):
            row[: len(hits)] = [item.id - 1 for item, _ in hits]
        return out

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def overhead(
        self, queries: Vectors, k: int, nationality: str | None
    ) -> list[tuple[float, float]]:
        """Return, per query, the seconds of ``Index.search`` and of the vector search in it."""
        self.search(queries[:1], k, nationality)
        with _Stopwatch(self._vectors()) as inside:
            spent = [self._spent(query, k, nationality, inside) for query in queries]
        if not all(bare for _, bare in spent):
            raise RuntimeError("Index.search goes another way to its vectors than is timed here")
        return spent

    def change(self, folder: Path, count: int, seed: int) -> dict[str, float]:
        """Give that many items new vectors, and add as many; return the seconds of each.

        ``search after`` is the first search after a change, in the same index. Raises ValueError
        where an item is not found by its new vector.
        """
        world, rng = World.load(folder), np.random.default_rng(seed)
        rows = np.sort(rng.choice(len(world), min(count, len(world)), replace=False))
        vectors = world.again(rows, seed)
        seconds: dict[str, float] = {}
        for what, mark in (("changed", "0"), ("added", f"{seed + 1}")):
            files = list(_files(world, rows, vectors, mark))
            seconds[what] = _seconds(lambda files=files: self._write(files, _people(world, rows)))
            seconds[f"search after {what}"] = _seconds(lambda: self.search(vectors[:1], 1, None))
            self._check_found(vectors[:16], [record.path for record, _ in files[:16]])
        return seconds

    def _vectors(self) -> Any:
        """The exact index, once there was a search."""
        return self._index._cache.held.vectors  # type: ignore[union-attr]

    def _spent(
        self, query: Vectors, k: int, nationality: str | None, inside: _Stopwatch
    ) -> tuple[float, float]:
        inside.seconds = 0.0
        started = time.perf_counter()
        self.search(query[None], k, nationality)
        return time.perf_counter() - started, inside.seconds

    def _write(self, files: Sequence[File], people: dict[str, Person]) -> None:
        with self._index.writing() as catalog, catalog.write("change") as write:
            write.put_files(files, people)

    def _check_found(self, vectors: Vectors, paths: Sequence[Path]) -> None:
        for hits, path in zip(self._index.search(vectors, 2).hits, paths, strict=True):
            if path not in {item.path for item, _ in hits}:
                raise ValueError(f"{path} is not found by the vector it was given")


class _Stopwatch:
    """Context that adds up the seconds of an object's vector search."""

    def __init__(self, vectors: Any) -> None:
        self.seconds = 0.0
        self._vectors = vectors
        self._bare = vectors.nearest  # what scans; ``search`` goes through it

    def __enter__(self) -> Self:
        self._vectors.nearest = self._timed  # of this one object, not of its class
        return self

    def __exit__(self, *_: object) -> None:
        del self._vectors.nearest

    def _timed(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        found = self._bare(*args, **kwargs)
        self.seconds += time.perf_counter() - started
        return found


def _files(world: World, rows: Ids, vectors: Vectors, mark: str) -> Iterator[File]:
    """A file with one item for each row; equal marks give equal paths."""
    people, faces = world.people[rows].tolist(), world.faces[rows].tolist()
    for row, person, face, vector in zip(rows.tolist(), people, faces, vectors, strict=True):
        key, modality = _key(person), MODALITIES[0 if face else 1]
        path = GALLERY / key / f"{row:08}-{mark}.{'jpg' if face else 'wav'}"
        record = FileRecord(
            path=path,
            gallery=GALLERY,
            stat=Stat(size=30_000 + row, mtime_ns=1_700_000_000_000_000_000 + row),
            sha256=f"{row:064x}",
            settings="synthetic",
            source_keys=frozenset({(key, None, 0.0, None)}),
        )
        yield record, [NewItem(key, modality, 0.0, None, None, vector)]


def _people(world: World, rows: Ids) -> dict[str, Person]:
    return {
        _key(person): Person(
            _key(person),
            gender=world.gender(person),
            nationality=world.nationality(person),
        )
        for person in np.unique(world.people[rows]).tolist()
    }


def _key(person: int) -> str:
    return f"p{person:07}"


def _seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
