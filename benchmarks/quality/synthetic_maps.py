"""Frozen feature maps of the synthetic world, with which a training takes minutes.

``python -m benchmarks.quality.synthetic_maps --out FOLDER`` writes
``FOLDER/features.safetensors`` and ``FOLDER/people.csv``, which ``avsearch train --data`` takes.

The maps are (64, 7, 7) of two small trunks, one per modality. Each is trained alone to classify the
names, genders and countries of a crowd of other people of the same world; neither has seen a pair.
With ``--steps 0`` they are not trained.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from avsearch.models.layers.backbones import Conv5
from avsearch.models.layers.batch import BatchSide
from avsearch.models.layers.frontends import Spectrogram, scale_pixels
from indexer.types import MODALITIES, Modality
from trainer.data.dataset import BatchMaker, DataSet, Side, labelled_by_person
from trainer.data.features import FeatureTable, write_feature_file
from trainer.data.load import read_data
from trainer.data.synthetic.dataset import SyntheticSet, parse_synthetic
from trainer.data.synthetic.world import World, write_people

MAPS, WORLD = "features.safetensors", "world.json"  # the people, and the minutes it took
CROWD_FIRST = 1_000_000  # the number of the first person of the crowd
WIDTHS = (8, 24, 48, 64, 64)
MAP_SIDE = 7
BATCH_PEOPLE, EACH = 32, 2
GENDERS = 2
_AT_A_TIME = 64
_SCALE = 16.0  # of the cosines of the classifier of names


@dataclasses.dataclass(frozen=True, slots=True)
class Sizes:
    """Input sizes of the trunks; four halvings leave 7 x 7 of a face and 14 x 7 of a voice."""

    face_size: int = 112
    voice_seconds: float = 2.5


class Trunk(nn.Module):
    """Network from media of one modality to maps, with classifiers of a crowd."""

    def __init__(self, modality: Modality, people: int, nationalities: int) -> None:
        super().__init__()
        channels = 3 if modality == "face" else 1
        self.scale = scale_pixels if modality == "face" else Spectrogram()
        self.maps = Conv5(channels, WIDTHS, (MAP_SIDE, MAP_SIDE))
        width = 2 * WIDTHS[-1]
        self.people = nn.Parameter(torch.randn(people, width))
        self.gender, self.nationality = (nn.Linear(width, n) for n in (GENDERS, nationalities))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return maps (B, 64, 7, 7) of (B, 3, size, size) uint8 or (B, samples)."""
        # Convolutions of so few channels take two thirds of the time if these come last.
        scaled = self.scale(inputs).contiguous(memory_format=torch.channels_last)
        maps: Tensor = self.maps(scaled)
        return maps.contiguous()

    def loss(self, side: BatchSide) -> Tensor:
        """Return the cross-entropies of names, genders and countries, summed."""
        pooled = self._pooled(side.inputs)
        names = _SCALE * functional.normalize(pooled) @ functional.normalize(self.people).T
        return (
            functional.cross_entropy(names, side.labels)
            + functional.cross_entropy(self.gender(pooled), side.genders)
            + functional.cross_entropy(self.nationality(pooled), side.nationalities)
        )

    def _pooled(self, inputs: Tensor) -> Tensor:
        """Means and deviations over the positions of a map: (B, 128)."""
        maps = self(inputs).flatten(2)
        return torch.cat([maps.mean(2), (maps.var(2) + 1e-4).sqrt()], 1)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--world", default="synthetic:people=660,takes=8", show_default=True)
@click.option("--crowd", default=500, show_default=True, help="People the trunks learn from.")
@click.option("--steps", default=1000, show_default=True, help="Of training the trunks.")
@click.option("--cache", type=click.Path(path_type=Path), help="Keep prepared inputs here.")
def main(out: Path, world: str, crowd: int, steps: int, cache: Path | None) -> None:
    """Draw people, and write the maps of their faces and voices."""
    out.mkdir(parents=True, exist_ok=True)
    started, chosen = time.perf_counter(), parse_synthetic(world)
    path = write_maps(out, chosen, crowd=crowd, steps=steps, cache=cache or out / "cache")
    facts = {"world": chosen.spec, "minutes": (time.perf_counter() - started) / 60}
    (out / WORLD).write_text(json.dumps(facts))
    click.echo(f"{path} holds the maps of {chosen.people} people.")


def write_maps(out: Path, chosen: SyntheticSet, *, crowd: int, steps: int, cache: Path) -> Path:
    """Write the maps of a part of the world and the table of its people; return the maps' file."""
    others = dataclasses.replace(chosen, first=CROWD_FIRST, people=crowd)
    learnt = labelled_by_person(read_data([others.spec], Sizes(), cache))
    data = read_data([chosen.spec], Sizes(), cache)
    torch.manual_seed(chosen.seed)
    trunks = {
        modality: Trunk(modality, crowd, chosen.world.nationalities) for modality in MODALITIES
    }
    train_trunks(trunks, learnt, steps)
    tables = {
        modality: map_side(trunk, data.side(modality), data.names)
        for modality, trunk in trunks.items()
    }
    world = World(chosen.world, chosen.seed)
    write_people(out / "people.csv", [world.person(chosen.first + n) for n in range(chosen.people)])
    write_feature_file(out / MAPS, tables)
    return out / MAPS


def train_trunks(trunks: dict[Modality, Trunk], crowd: DataSet, steps: int) -> None:
    """Train each trunk on the people of a crowd, by its own modality alone."""
    people = min(BATCH_PEOPLE, len(crowd.people))
    batches = BatchMaker(crowd, people, EACH, np.random.default_rng(0))
    parameters = [p for trunk in trunks.values() for p in trunk.parameters()]
    optimizer = torch.optim.AdamW(parameters)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=max(1, steps))
    for _ in tqdm(range(steps), "trunks", unit="step", disable=None):
        batch = batches.make()
        optimizer.zero_grad()
        loss = trunks["face"].loss(batch.faces) + trunks["voice"].loss(batch.voices)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()


@torch.inference_mode()
def map_side(trunk: Trunk, side: Side, names: tuple[str, ...]) -> FeatureTable:
    """Return the maps of every item of a side, (n, 64, 7, 7) float16, with their people."""
    trunk.eval()
    rows = np.array_split(np.arange(len(side)), -(-len(side) // _AT_A_TIME))
    parts = [trunk(side.batch(part).inputs).half().numpy() for part in rows]
    people = [names[number] for number in side.people]
    paths = [f"{person}/{at}" for at, person in enumerate(people)]
    return FeatureTable(np.concatenate(parts), paths, people)


if __name__ == "__main__":
    main()
