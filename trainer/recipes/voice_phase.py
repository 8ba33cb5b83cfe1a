"""The last phase of the default recipe: the voice branch goes on alone, on poor recordings.

A good recording stays where it is, and so do faces: what is learnt is to bring noisy and
telephoned stretches to where the whole good recording lies, and nearer to where its person's
recordings lie than to where anybody else's do. Recordings are also heard slower and faster, as
of other people: there are few, and a changed pitch makes another voice.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from avsearch.models.embed_media import unit_means
from avsearch.models.layers.batch import Batch
from avsearch.models.papers.adsm import ADSM
from trainer.data import augment
from trainer.data.pcm import pcm, waveform
from trainer.recipes.in_memory import PeopleSampler, Side, batch_side
from trainer.recipes.phases import Phase, Watch, embed_voices, train

VOICES = Phase(700, 0, 2.0, peak_rate=1e-4, warmup=20, terms=("kept", "told"))
TENTHS = (8, 9, 11, 12)  # of the speed, at which every voice is heard besides
TOLD = 0.2  # weight of telling people apart
SHARPNESS = 20.0  # of the softmax that tells them
GOOD = 0.2  # share of the voices that are heard as they are
PEOPLE, EACH = 16, 2  # of a batch


def go_on_with_voices(
    model: ADSM,
    voices: Side[NDArray[np.int16]],
    validate: Callable[[], Mapping[str, float]],
    watch: Watch,
    seed: int,
) -> None:
    """The phase. Its end is kept: scores of good recordings do not tell its steps apart."""
    there = where_they_lie(model, at_speeds(voices))
    batches = Recordings(there, model.settings.dim, seed)
    train(
        voices_alone(model),
        (VOICES,),
        batches,
        lambda _: validate(),
        watch,
        every=VOICES.steps,
        lessons=Keeping(there),
    )


def at_speeds(voices: Side[NDArray[np.int16]]) -> Side[NDArray[np.int16]]:
    """Voices, and each of them at other speeds, as of as many other people."""
    names, people = np.unique(voices.people, return_inverse=True)
    sped = [[_sped(item, tenths) for item in voices.items] for tenths in TENTHS]
    return Side(
        [*voices.items, *itertools.chain(*sped)],
        np.concatenate([people + at * len(names) for at in range(1 + len(TENTHS))]),
        np.tile(voices.labels, 1 + len(TENTHS)),
    )


def _sped(samples: NDArray[np.int16], tenths: int) -> NDArray[np.int16]:
    """Samples (n,) played at so many tenths of their speed: about n * 10 / tenths of them."""
    wave = torch.from_numpy(waveform(samples))
    return pcm(torchaudio.functional.resample(wave, tenths, 10).numpy())


class AsPublished(nn.Module):
    """A network whose weights learn and whose norms stay what they were: few voices are here."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002 - torch's
        """Nothing changes."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """As the network's."""
        y: Tensor = self.network(x)
        return y


def voices_alone(model: ADSM) -> ADSM:
    """A model that takes embeddings for faces, and shares the voice branch."""
    alone = ADSM(dataclasses.replace(model.settings, face_features=(model.settings.dim,)))
    alone.face_net = nn.Sequential()
    # Its convolutions take a seventh less time with the channels last.
    heard: Any = nn.Sequential(AsPublished(model.voice_net))
    alone.voice_net = heard.to(memory_format=torch.channels_last)
    return alone


@torch.inference_mode()
def where_they_lie(model: ADSM, voices: Side[NDArray[np.int16]]) -> Side[NDArray[np.int16]]:
    """Voices with the embeddings of their whole recordings."""
    model.eval()
    kept = embed_voices(model.embed_voice, voices, model.settings.voice_seconds)
    return dataclasses.replace(voices, taught=kept)


class Recordings:
    """Batches of stretches of voices, good or poor; there are no faces to speak of."""

    def __init__(self, voices: Side[NDArray[np.int16]], dim: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.voices, self.dim = voices, dim
        self.sampler = PeopleSampler(voices, EACH, self.rng)

    def make(self, face_size: int, voice_seconds: float) -> Batch:  # noqa: ARG002
        """The next batch."""
        voices = self.voices.take(self.sampler.draw(PEOPLE))
        heard = [recorded(one, voice_seconds, self.rng, self.voices.items) for one in voices.items]
        nobody: Side[NDArray[np.int16]] = Side([], np.zeros(1, np.int64), np.zeros(1, np.int64))
        return Batch(
            batch_side(nobody, np.ones((1, self.dim), np.float32)),
            batch_side(voices, np.stack(heard)),
        )


def recorded(
    samples: NDArray[np.int16],
    seconds: float,
    rng: np.random.Generator,
    others: Sequence[NDArray[np.int16]],
) -> NDArray[np.float32]:
    """A stretch as it is, or through a poor channel."""
    if rng.random() < GOOD:
        return augment.stretch(samples, seconds, rng)
    return augment.voice(samples, seconds, rng, telephone=0.7, loudest_noise_db=0.0, others=others)


class Keeping(nn.Module):
    """How far stretches are from where recordings lie: their own, and their person's.

    People are numbered from 0 without gaps, as :func:`at_speeds` does.
    """

    def __init__(self, there: Side[NDArray[np.int16]]) -> None:
        super().__init__()
        assert there.taught is not None
        order = np.argsort(there.people, kind="stable")
        firsts = np.unique(there.people[order], return_index=True)[1]
        self.centres: Tensor
        self.register_buffer("centres", torch.from_numpy(unit_means(there.taught[order], firsts)))

    def forward(self, encoded: tuple[Tensor, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The mean of 1 less the cosine, and the cross-entropy of people by their centres."""
        wanted, vectors = batch.voices.teacher_embeddings, encoded[1]
        assert wanted is not None
        told = functional.cross_entropy(SHARPNESS * vectors @ self.centres.T, batch.voices.people)
        return {"kept": 1 - (vectors * wanted).sum(1).mean(), "told": TOLD * told}
