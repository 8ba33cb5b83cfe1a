"""Frozen feature maps of the synthetic world in a folder, and who is trained on and tested.

The private attributes beside the maps are what a table of such might say of these people: twelve
yes-or-no answers about a face, of which one in ten is wrong, and 384 measures of a voice in which
the noise outweighs the person three to one. They are drawn anew for every item.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.synthetic_maps import write_maps
from indexer.types import Modality
from trainer.data.dataset import DataSet
from trainer.data.features import FeatureTable, read_feature_file, write_feature_file
from trainer.data.load import DataOptions, read_data
from trainer.data.splits import Split, split
from trainer.data.synthetic.dataset import SyntheticSet
from trainer.data.synthetic.world import World

TRAINED, VALIDATED, TESTED = 500, 60, 100  # people
MAPS, PRIVATE, WORLD = "features.safetensors", "private.safetensors", "world.json"
WRONG = 0.1  # share of the answers about a face
VOICE_MEASURES, VOICE_NOISE = 384, 3.0

Floats = NDArray[np.float64]


def sides(people: int) -> str:
    """The split of so many people; with fewer than usual the sides shrink alike."""
    whole = TRAINED + VALIDATED + TESTED
    validated, tested = (max(2, count * people // whole) for count in (VALIDATED, TESTED))
    return f"last:{validated},{tested}"


@dataclasses.dataclass(frozen=True, slots=True)
class NoMedia:
    """The sizes of media, which maps have not."""

    face_size: int = 0
    voice_seconds: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class MappedWorld:
    """The maps in a folder."""

    folder: Path

    @classmethod
    def made(cls, folder: Path, people: int, takes: int, crowd: int, steps: int) -> Self:
        """Draw people, train the trunks on a crowd of others, and write maps and attributes."""
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        chosen = SyntheticSet(people=people, takes=takes)
        path = write_maps(folder, chosen, crowd=crowd, steps=steps, cache=folder / "cache")
        write_private(path, chosen, folder / PRIVATE)
        minutes = (time.perf_counter() - started) / 60
        told = {"people": people, "takes": takes, "minutes": minutes}
        (folder / WORLD).write_text(json.dumps(told))
        return cls(folder)

    @property
    def told(self) -> dict[str, Any]:
        """How many people there are, with how many takes, and how many minutes they took."""
        known: dict[str, Any] = json.loads((self.folder / WORLD).read_text())
        return known

    @property
    def minutes(self) -> float:
        """How long drawing people, training the trunks and writing the maps took."""
        return float(self.told["minutes"])

    @property
    def world(self) -> SyntheticSet:
        """Whose maps these are."""
        return SyntheticSet(people=self.told["people"], takes=self.told["takes"])

    def read(self, settings: Any) -> dict[Split, DataSet]:
        """The people by side, with their private attributes where the settings take any."""
        private = self.folder / PRIVATE if getattr(settings, "private", False) else None
        options = DataOptions(face_private=private, voice_private=private)
        data = read_data([self.folder / MAPS], NoMedia(), self.folder, options)
        return split(data, sides(len(data.people)))


def write_private(maps_file: Path, chosen: SyntheticSet, out: Path) -> None:
    """Private attributes of every item of a file of maps."""
    world, rng = World(chosen.world, chosen.seed), np.random.default_rng(chosen.seed)
    measure: dict[Modality, Callable[[Floats, np.random.Generator], NDArray[np.float32]]]
    measure = {"face": _face_answers, "voice": _voice_measures}
    tables: dict[Modality, FeatureTable] = {}
    for modality, table in read_feature_file(maps_file).items():
        people = [world.person(int(key[1:])) for key in table.people]
        traits = np.array([getattr(person, f"{modality}_traits") for person in people])
        tables[modality] = FeatureTable(measure[modality](traits, rng), table.paths, table.people)
    write_feature_file(out, tables)


def _face_answers(traits: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    """Whether each of six traits (n, 6) is more than a little, and more than much: (n, 12)."""
    answers = np.concatenate([traits > -0.5, traits > 0.5], 1)
    return (answers ^ (rng.random(answers.shape) < WRONG)).astype(np.float32)


def _voice_measures(traits: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    """Mixtures of the traits (n, dims) in noise, (n, 384)."""
    mixed = traits @ rng.standard_normal((traits.shape[1], VOICE_MEASURES))
    mixed /= np.sqrt(traits.shape[1])
    return (mixed + VOICE_NOISE * rng.standard_normal(mixed.shape)).astype(np.float32)
