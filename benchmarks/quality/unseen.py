"""Figures of a model on people it has never seen, beside chance and the best possible.

Every face of the people is scored once with every voice. All figures come from this table: the
AUC of all pairs, 1:2 accuracy over many trials, and the mean average precision of retrieval, in
both directions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from avsearch.models.papers.pair_baseline import PairNetwork
from benchmarks.quality.synthetic_bound import crowd_of, figures
from indexer.types import MODALITIES, Modality
from trainer.data.dataset import DataSet
from trainer.data.synthetic.dataset import SyntheticSet
from trainer.data.synthetic.world import World
from trainer.evaluation.score import Metric, score
from trainer.protocols.generate import Generator
from trainer.protocols.trials import Ints, Items, Matching, Protocol, Register, Verification
from trainer.training.validation import first_items, forward

EACH = 4  # tested items of each modality of a person
TRIALS = 25  # 1:2 trials of every item
CHANCE = 0.5  # of an AUC and of 1:2 accuracy
AUC, ACCURACY, PRECISION = "AUC", "1:2", "mAP"
WAYS: dict[str, tuple[Modality, Modality]] = {"V-F": ("voice", "face"), "F-V": ("face", "voice")}

Table = NDArray[np.float32]  # (voices, faces), larger is nearer
Figures = dict[str, Metric]


@dataclasses.dataclass(frozen=True, slots=True)
class Unseen:
    """Test people of the synthetic world and their trials."""

    data: DataSet
    protocols: dict[str, Protocol]
    best: dict[str, float]  # best possible AUC, 1:2 accuracy and mAP on these people

    @classmethod
    def of(cls, data: DataSet, world: SyntheticSet) -> Unseen:
        """Return the first items of every person of a split of ``world``, with all trials."""
        data = dataclasses.replace(
            data,
            faces=data.faces.take(first_items(data.faces.people, EACH)),
            voices=data.voices.take(first_items(data.voices.people, EACH)),
        )
        items = _items(data)
        people = World(world.world, world.seed)
        crowd = crowd_of([people.person(int(key[1:])) for key in items.names])
        accuracy, auc, precision = figures(crowd, world.world.shared)
        return cls(data, _protocols(items), {AUC: auc, ACCURACY: accuracy, PRECISION: precision})

    def judge(self, table: Table) -> Figures:
        """Return the figures of the scores of all voices with all faces."""
        scorer = _TableScorer(table)
        return {
            name: next(iter(score(protocol, scorer).metrics().figures.values()))
            for name, protocol in self.protocols.items()
        }

    def share(self, name: str, value: float) -> float:
        """Return the share of the way from chance to the best possible AUC or accuracy."""
        return (value - CHANCE) / (self.best[name.split()[0]] - CHANCE)


def tables_of(model: nn.Module, data: DataSet, device: torch.device) -> dict[str, Table]:
    """Return the scores of all voices with all faces, by embedding and by interaction."""
    tables = {"embedding": embedding_table(model, data, device)}
    if isinstance(model, PairNetwork):
        tables["interact"] = interaction_table(model, data, device)
    return tables


@torch.inference_mode()
def embedding_table(model: nn.Module, data: DataSet, device: torch.device) -> Table:
    """Return the cosines of the embeddings of all voices with those of all faces."""
    faces, voices = _both(model, "embed", data, device)
    return voices @ faces.T


@torch.inference_mode()
def interaction_table(model: PairNetwork, data: DataSet, device: torch.device) -> Table:
    """Return the interaction scores of all voices with all faces."""
    made = _both(model, "feature_map", data, device)
    faces, voices = (torch.from_numpy(maps).to(device) for maps in made)
    rows = [model.interact(voices[at : at + 1], faces, "voice") for at in range(len(voices))]
    return torch.stack(rows).cpu().numpy()


def _both(model: Any, function: str, data: DataSet, device: torch.device) -> list[Table]:
    """Outputs of a function of the model for all faces and for all voices."""
    model.eval()
    return [
        forward(getattr(model, f"{function}_{modality}"), data.side(modality), device)
        for modality in MODALITIES
    ]


def _items(data: DataSet) -> Items:
    """Faces and voices, named by their row in a table."""
    register = Register()
    for modality in MODALITIES:
        for row, person in enumerate(data.side(modality).people.tolist()):
            register.add(f"{modality}/{row}", modality, data.names[person])
    return register.items()


def _protocols(items: Items) -> dict[str, Protocol]:
    protocols: dict[str, Protocol] = {AUC: _all_pairs(items)}
    for way, (asks, answers) in WAYS.items():
        drawn = [Generator(items, asks, answers, seed=at).matching(2) for at in range(TRIALS)]
        protocols[f"{ACCURACY} {way}"] = _joined(drawn)
        protocols[f"{PRECISION} {way}"] = Generator(items, asks, answers).retrieval()
    return protocols


def _all_pairs(items: Items) -> Verification:
    voices, faces = (_of(items, modality) for modality in ("voice", "face"))
    first, second = np.repeat(voices, len(faces)), np.tile(faces, len(voices))
    return Verification("all pairs", items, first, second, items.same_person(first, second))


def _joined(parts: Sequence[Matching]) -> Matching:
    """One protocol with the trials of several over the same items."""
    return dataclasses.replace(
        parts[0],
        probes=np.concatenate([part.probes for part in parts]),
        candidates=np.concatenate([part.candidates for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
    )


def _of(items: Items, modality: str) -> Ints:
    return np.flatnonzero([each == modality for each in items.modalities])


@dataclasses.dataclass(frozen=True, slots=True)
class _TableScorer:
    """Scores of a table, in either direction."""

    table: Table

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Table:
        """Return the (n, k) scores of (n,) probes with their (n, k) candidates."""
        table = self._from(probes)
        rows, columns = _numbers(probes), np.array([_numbers(row) for row in candidates])
        scores: Table = table[rows[:, None], columns]
        return scores

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Table:
        """Return the (n, g) scores of (n,) probes with (g,) items."""
        return self._from(probes)[np.ix_(_numbers(probes), _numbers(gallery))]

    def _from(self, probes: Sequence[str]) -> Table:
        return self.table if probes[0].startswith("voice") else self.table.T


def _numbers(names: Sequence[str]) -> Ints:
    return np.array([int(name.partition("/")[2]) for name in names], np.int64)
