"""A network, media and batches small enough to compute in milliseconds."""

from __future__ import annotations

import copy
import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avsearch.models import MODELS
from avsearch.models.layers.batch import UNKNOWN, Batch, BatchSide
from avsearch.models.layers.trainable import Optimizers, Stage
from avsearch.models.papers.adsm import ADSM, ADSMSettings
from indexer.types import Media

SETTINGS = ADSMSettings(
    dim=16,
    widths=(8, 16, 16, 16),
    face_cardinality=4,
    voice_cardinality=2,
    face_size=32,
    voice_seconds=0.5,
    cepstra=20,
)
SAMPLES = 8000  # of one window
_PAIRS = {"dim": 16, "hidden": 24, "width": 4, "compact": 64, "mels": 20}
_INPUTS = {"face_size": 32, "voice_seconds": 0.5}
OF_MEDIA: dict[str, dict[str, Any]] = {  # settings of every model of media
    "acienet": _PAIRS | _INPUTS,
    "adsm": dataclasses.asdict(SETTINGS),
    "aicanet": _PAIRS | _INPUTS,
    "dsanet": {"dim": 16, "widths": (4, 4, 8, 8), "map_size": 4, "hidden": 12} | _INPUTS,
    "p2vanet": {"dim": 16, "widths": (4, 4, 8, 8, 8), "map_size": 4} | _INPUTS,
}
NOWHERE = Path("nowhere")  # media that are read from it, and not from their data, are refused


def tiny_model(name: str, seed: int = 0, **changes: Any) -> Any:
    """A fresh network of media by its model's name."""
    kind = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(kind.Settings(**(OF_MEDIA[name] | changes)))


def tiny_adsm(seed: int = 0, **changes: Any) -> ADSM:
    """A fresh network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ADSM(dataclasses.replace(SETTINGS, **changes))


def lived_adsm(seed: int = 0, **changes: Any) -> ADSM:
    """An evaluated network whose every weight and statistic is other than a fresh one's."""
    return copy.deepcopy(_lived_adsm(seed, **changes))


@functools.cache
def _lived_adsm(seed: int, **changes: Any) -> ADSM:
    network = tiny_adsm(seed, **changes)
    shapes = network.settings.face_features, network.settings.voice_features
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed + 1)
        vary_norms(network)
        for step in range(4):
            network.encode(tiny_batch(seed=step, shapes=shapes))
    return network.eval()


def vary_norms(network: nn.Module) -> None:
    """Draw the scales and shifts of norms, and let a few batches set their statistics."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # plain means, so that few steps suffice
            if module.affine:
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)


def parameters_of(optimizers: Optimizers) -> list[int]:
    """Return the ids of the parameters of both optimizers."""
    return [
        id(parameter)
        for optimizer in (optimizers.generator, optimizers.discriminator)
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def tiny_batch(
    faces: int = 8,
    voices: int = 6,
    *,
    classes: int = 2,
    each: int = 2,
    seed: int = 0,
    shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
) -> Batch:
    """Noise, ``each`` items a person; people take the classes in turn.

    ``shapes`` are those of frozen features, of media if empty.
    """
    rng = np.random.default_rng(seed)
    face_people, voice_people = np.arange(faces) // each, 100 + np.arange(voices) // each
    pixels = torch.from_numpy(np.stack([face_noise(rng) for _ in range(faces)])).movedim(3, 1)
    waves = torch.from_numpy(np.stack([voice_noise(rng) for _ in range(voices)]))
    inputs = [
        torch.from_numpy(rng.standard_normal((len(media), *shape), np.float32)) if shape else media
        for media, shape in zip((pixels, waves), shapes, strict=True)
    ]
    return Batch(_side(inputs[0], face_people, classes), _side(inputs[1], voice_people, classes))


def _side(inputs: Tensor, people: NDArray[np.int64], classes: int) -> BatchSide:
    """Genders and nationalities follow from the person; that of person 3 is unknown."""
    who = torch.from_numpy(people)
    return BatchSide(
        inputs,
        labels=who % classes,
        people=who,
        genders=who % 2,
        nationalities=torch.where(who == 3, UNKNOWN, who % 3),
    )


def face_noise(rng: np.random.Generator, side: int = 32) -> NDArray[np.uint8]:
    """(side, side, 3), of a mean and contrast of its own."""
    low, high = np.sort(rng.integers(0, 256, 2))
    return rng.integers(low, high + 1, (side, side, 3), dtype=np.uint8)


def voice_noise(
    rng: np.random.Generator, samples: int = SAMPLES, level: float = 0.1
) -> NDArray[np.float32]:
    """(samples,) coloured noise whose colour and loudness change over time."""
    raw = rng.standard_normal(samples + 1)
    coloured = raw[1:] + rng.uniform(-0.9, 0.9) * raw[:-1]
    swell = 1.2 + np.sin(np.arange(samples) * rng.uniform(1e-3, 1e-2))
    return (level * coloured * swell).astype(np.float32)


def face(rng: np.random.Generator, side: int = 32) -> Media:
    """A face in memory."""
    return Media(NOWHERE / "face.png", "face", data=face_noise(rng, side))


def voice(rng: np.random.Generator, samples: int = SAMPLES, level: float = 0.1) -> Media:
    """A voice in memory."""
    return Media(NOWHERE / "voice.wav", "voice", data=voice_noise(rng, samples, level))


def paired_features(
    people: int, each: int, faces: tuple[int, ...], voices: tuple[int, ...], seed: int = 0
) -> Batch:
    """Frozen features of people who have both: one random point a person and side, and noise."""
    generator = torch.Generator().manual_seed(seed)
    who = torch.arange(people).repeat_interleave(each)

    def side(shape: tuple[int, ...]) -> BatchSide:
        points = torch.randn(people, *shape, generator=generator)[who]
        inputs = points + 0.1 * torch.randn(len(who), *shape, generator=generator)
        return BatchSide(inputs, who, who, who % 2, who % 3)

    return Batch(side(faces), side(voices))


def overfit(network: Any, batch: Batch, steps: int) -> list[float]:
    """Train on one batch by the network's schedule; what its terms but the adversary summed to."""
    optimizers, totals = network.train().optimizers(), []
    rates = [
        torch.optim.lr_scheduler.LambdaLR(
            each, lambda step: network.schedule().factor(step / steps)
        )
        for each in (optimizers.generator, optimizers.discriminator)
    ]
    for step in range(steps):
        encoded = network.encode(batch)
        optimizers.discriminator.zero_grad()
        network.discriminator_loss(encoded).backward()
        optimizers.discriminator.step()
        terms = network.loss_terms(encoded, batch, Stage(step / steps))
        optimizers.generator.zero_grad()
        sum(terms.values()).backward()
        optimizers.generator.step()
        for rate in rates:
            rate.step()
        totals.append(sum(term.item() for name, term in terms.items() if name != "adversary"))
    network.eval()
    return totals


def share_ranked_first(network: Any, batch: Batch) -> float:
    """The share of voices whose nearest face has their label."""
    with torch.inference_mode():
        faces = network.embed_face(batch.faces.inputs)
        voices = network.embed_voice(batch.voices.inputs)
    found = batch.faces.labels[(voices @ faces.T).argmax(1)]
    return (found == batch.voices.labels).float().mean().item()
