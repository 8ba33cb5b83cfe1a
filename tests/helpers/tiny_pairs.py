"""Networks of pairs and their batches, small enough to compute in milliseconds."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch

from avsearch.models.layers.batch import Batch, BatchSide
from avsearch.models.papers.pair_baseline import PairNetwork

TINY = {"dim": 16, "hidden": 24, "width": 4, "compact": 64}
MEDIA = {"face_size": 32, "voice_seconds": 0.5, "mels": 20}
FROZEN = {"face_features": (12,), "voice_features": (10,)}


def tiny_pairs(kind: type[Any], seed: int = 0, **changes: Any) -> PairNetwork:
    """A fresh network, of frozen features unless the changes say otherwise."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: PairNetwork = kind(kind.Settings(**{**TINY, **FROZEN, **changes}))
        return network


def lived_pairs(kind: type[Any], seed: int = 0, **changes: Any) -> PairNetwork:
    """An evaluated network whose every weight and statistic is other than a fresh one's."""
    return copy.deepcopy(_lived(kind, seed, **changes))


@functools.cache
def _lived(kind: type[Any], seed: int, **changes: Any) -> PairNetwork:
    from tests.helpers.tiny import tiny_batch, vary_norms

    network = tiny_pairs(kind, seed, **changes)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed + 1)
        vary_norms(network)
        media = not network.settings.face_features
        for step in range(4):
            network.encode(tiny_batch(seed=step) if media else frozen_batch(seed=step))
    return network.eval()


def frozen_batch(people: int = 6, each: int = 2, *, seed: int = 0, noise: float = 0.3) -> Batch:
    """Paired faces (n, 12) and voices (n, 10) in which each person shows; one is unknown."""
    generator = torch.Generator().manual_seed(seed)
    who = torch.arange(people).repeat_interleave(each)
    sides = []
    for size in (12, 10):
        person = torch.randn(people, size, generator=generator)[who]
        features = person + noise * torch.randn(len(who), size, generator=generator)
        nationalities = torch.where(who == 3, -1, who % 4)
        sides.append(BatchSide(features, who, who, who % 2, nationalities))
    return Batch(*sides)
