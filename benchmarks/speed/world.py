"""A synthetic gallery of any size: people as clusters of unit vectors, made once.

Every person has a centre and ``ITEMS`` items around it, the first half faces and the second half
voices, which differ by a direction that all people share. Three nationalities hold exactly 10 %, 1
% and 0.1 % of the people; the others are spread evenly.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from indexer.types import Ids, Vectors

DIM = 128
ITEMS = 20  # of a person, half of them faces
QUERIES = 256
NOISE = 0.07  # a coordinate, so that two items of a person have a cosine of about 0.6
GAP = 0.3  # length of what tells faces from voices, beside a centre of length 1
SHARES = {"one in 10": 0.1, "one in 100": 0.01, "one in 1000": 0.001}
OTHERS = tuple(f"other {number:02}" for number in range(28))
NATIONALITIES = (*SHARES, *OTHERS)
BLOCK = 65536  # rows that are drawn at once

Order = Literal["gallery", "shuffled"]


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a world; equal recipes make equal worlds.

    In the order ``gallery`` the items of a person follow one another, as an index reads folders.
    """

    count: int
    seed: int = 0
    order: Order = "gallery"

    @property
    def people(self) -> int:
        """The number of people."""
        return -(-self.count // ITEMS)


@dataclasses.dataclass(frozen=True, slots=True)
class World:
    """The items of a gallery by row, and the queries.

    ``vectors`` is (n, 128) float32 of length 1, mapped from disk; ``people`` (n,) the person of
    each row and ``faces`` (n,) whether it is a face. ``nationalities`` and ``genders`` hold a code
    per person: positions in ``NATIONALITIES`` and in "mf". ``queries`` is (256, 128).
    """

    folder: Path
    recipe: Recipe
    vectors: Vectors
    people: NDArray[np.int32]
    faces: NDArray[np.bool_]
    nationalities: NDArray[np.int8]
    genders: NDArray[np.int8]
    queries: Vectors

    @classmethod
    def made(cls, work: Path, recipe: Recipe) -> World:
        """Return the world of a recipe, made in a folder of ``work`` unless it is there."""
        name = f"world-{recipe.count}-{recipe.order}-{recipe.seed}"
        if not (work / name).is_dir():
            work.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(dir=work, prefix=f".{name}-"))
            try:
                _write(unfinished, recipe)
                unfinished.replace(work / name)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        return cls.load(work / name)

    @classmethod
    def load(cls, folder: Path) -> World:
        """Read a world that was made before."""
        recipe = Recipe(**json.loads((folder / "recipe.json").read_text()))
        names = ("vectors", "people", "faces", "nationalities", "genders", "queries")
        return cls(folder, recipe, *(np.load(folder / f"{n}.npy", mmap_mode="r") for n in names))

    def __len__(self) -> int:
        return self.recipe.count

    def nationality(self, person: int) -> str:
        """Return the nationality of a person."""
        return NATIONALITIES[int(self.nationalities[person])]

    def gender(self, person: int) -> str:
        """Return ``"m"`` or ``"f"``."""
        return "mf"[int(self.genders[person])]

    def codes(self) -> NDArray[np.int8]:
        """Return (n,) the nationality of each row, as its position in ``NATIONALITIES``."""
        codes: NDArray[np.int8] = self.nationalities[self.people]
        return codes

    def rows(self, nationality: str | None) -> Ids:
        """Return the rows of a nationality, or all rows."""
        if nationality is None:
            return np.arange(len(self))
        return np.flatnonzero(self.codes() == NATIONALITIES.index(nationality))

    def blocks(self, size: int = BLOCK) -> Iterator[slice]:
        """Yield slices that cover all rows."""
        for start in range(0, len(self), size):
            yield slice(start, min(start + size, len(self)))

    def again(self, rows: Ids, seed: int) -> Vectors:
        """Return (n, 128) new vectors of the people and the modalities of these rows."""
        people, faces = np.asarray(self.people[rows]), np.asarray(self.faces[rows])
        rng = np.random.default_rng([self.recipe.seed, 4, seed])
        return _around(_centres(self.recipe), people, faces, rng)


def _write(folder: Path, recipe: Recipe) -> None:
    centres = _centres(recipe)
    people, faces = _placed(recipe)
    vectors = open_memmap(folder / "vectors.npy", "w+", np.float32, (recipe.count, DIM))
    for block, start in enumerate(range(0, recipe.count, BLOCK)):
        part = slice(start, start + BLOCK)
        rng = np.random.default_rng([recipe.seed, 1, block])
        vectors[part] = _around(centres, people[part], faces[part], rng)
    vectors.flush()
    rng = np.random.default_rng([recipe.seed, 2])
    arrays = {
        "people": people,
        "faces": faces,
        "nationalities": _nationalities(recipe.people, rng),
        "genders": rng.integers(0, 2, recipe.people, np.int8),
        "queries": _queries(recipe, centres, rng),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "recipe.json").write_text(json.dumps(dataclasses.asdict(recipe)))


def _centres(recipe: Recipe) -> Vectors:
    rng = np.random.default_rng([recipe.seed, 0])
    return _unit(rng.standard_normal((recipe.people, DIM), np.float32))


def _placed(recipe: Recipe) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The person of each row, and whether it is a face."""
    items = np.arange(recipe.people * ITEMS)
    if recipe.order == "shuffled":
        items = np.random.default_rng([recipe.seed, 3]).permutation(items)
    items = items[: recipe.count]
    return (items // ITEMS).astype(np.int32), items % ITEMS < ITEMS // 2


def _around(
    centres: Vectors, people: NDArray[np.int32], faces: NDArray[np.bool_], rng: np.random.Generator
) -> Vectors:
    noise = rng.standard_normal((len(people), DIM), np.float32)
    vectors = centres[people] + NOISE * noise
    vectors[:, 0] += np.where(faces, GAP, -GAP)
    return _unit(vectors)


def _queries(recipe: Recipe, centres: Vectors, rng: np.random.Generator) -> Vectors:
    people = rng.integers(0, recipe.people, QUERIES, np.int32)
    return _around(centres, people, rng.random(QUERIES) < 0.5, rng)


def _nationalities(people: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """A code per person; each share has at least one person."""
    counts = [max(1, round(share * people)) for share in SHARES.values()]
    others = np.arange(max(0, people - sum(counts))) % len(OTHERS) + len(SHARES)
    codes = np.concatenate([np.repeat(np.arange(len(SHARES)), counts), others])
    return rng.permutation(codes[:people].astype(np.int8))


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
