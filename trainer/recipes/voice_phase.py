"""The last phase of the default recipe: only the voice branch is trained, on poor recordings.

Good recordings and faces keep their embeddings. Noisy and telephone segments are trained towards
the embedding of their whole good recording, and nearer to their own person's recordings than to
other people's. Recordings played slower and faster serve as further people, because there are few
people and a changed pitch makes another voice.
"""

from __future__ import annotations

import dataclasses
import functools
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
from trainer.data.dataset import BatchMaker, DataSet, Side
from trainer.data.pcm import pcm, waveform
from trainer.data.sources import FeatureSource, VoiceSource, decoded
from trainer.recipes.phases import OnValidation, Phase, embed_voices, train

VOICES = Phase(700, 0, 2.0, peak_rate=1e-4, warmup=20, terms=("recording", "person"))
TENTHS = (8, 9, 11, 12)  # of the speed, at which every voice is played besides
PERSON_WEIGHT = 0.2  # weight of the classification of people
SCALE = 20.0  # of the cosines in its softmax
GOOD = 0.2  # share of the voices that are not degraded
PEOPLE, EACH = 16, 2  # of a batch


def train_voices(
    model: ADSM,
    voices: Side,
    validate: Callable[[], Mapping[str, float]],
    on_validation: OnValidation,
    seed: int,
) -> None:
    """Train the phase and keep its end: scores of good recordings cannot choose a step."""
    recordings = with_recording_embeddings(model, at_speeds(voices))
    batches = batches_of(recordings, model.settings.dim, VOICES.voice_seconds, seed)
    train(
        voices_only(model),
        (VOICES,),
        lambda _: batches,
        lambda _: validate(),
        on_validation,
        every=VOICES.steps,
        auxiliary_losses=RecordingLosses(recordings),
    )


def at_speeds(voices: Side) -> Side:
    """Return the voices, and each of them at other speeds, as voices of further people."""
    items = decoded(voices)
    _, people = np.unique(voices.people, return_inverse=True)
    kinds = 1 + len(TENTHS)
    played = [[_at_speed(item, tenths) for item in items] for tenths in TENTHS]
    source = VoiceSource(
        [*items, *itertools.chain(*played)], voices.origins(np.arange(len(items))) * kinds, 0.0
    )
    numbers = np.concatenate([people + at * (1 + people.max()) for at in range(kinds)])
    return Side.of_source(source, numbers, np.tile(voices.labels, kinds))


def _at_speed(samples: NDArray[np.int16], tenths: int) -> NDArray[np.int16]:
    """Samples (n,) played at so many tenths of their speed: about n * 10 / tenths of them."""
    wave = torch.from_numpy(waveform(samples))
    return pcm(torchaudio.functional.resample(wave, tenths, 10).numpy())


class FrozenNorms(nn.Module):
    """A network in training whose normalisations stay in evaluation: there are few voices."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002 - torch's
        """Change nothing."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's output."""
        y: Tensor = self.network(x)
        return y


def voices_only(model: ADSM) -> ADSM:
    """Return a model that shares the voice branch and takes embeddings instead of faces."""
    alone = ADSM(dataclasses.replace(model.settings, face_features=(model.settings.dim,)))
    alone.face_net = nn.Sequential()
    # Its convolutions take a seventh less time with the channels last.
    branch: Any = nn.Sequential(FrozenNorms(model.voice_net))
    alone.voice_net = branch.to(memory_format=torch.channels_last)
    return alone


@torch.inference_mode()
def with_recording_embeddings(model: ADSM, voices: Side) -> Side:
    """Return the voices with the embeddings of their whole recordings as teacher embeddings."""
    model.eval()
    embeddings = embed_voices(model.embed_voice, voices, model.settings.voice_seconds)
    return dataclasses.replace(voices, teacher_embeddings=embeddings)


def batches_of(voices: Side, dim: int, seconds: float, seed: int) -> BatchMaker:
    """Return batches of good or degraded segments; one constant vector stands for the faces."""
    degraded = functools.partial(degrade, others=decoded(voices))
    source = dataclasses.replace(voices.source, seconds=seconds, change=degraded)  # type: ignore[type-var]
    first = np.zeros(1, np.int64)
    faces = Side.of_source(FeatureSource(np.ones((1, dim), np.float32), ["none"]), first, first)
    data = DataSet(faces, dataclasses.replace(voices, source=source), (), "gender")
    return BatchMaker(data, (1, PEOPLE), EACH, np.random.default_rng(seed), weighted=True)


def degrade(
    samples: NDArray[np.int16],
    seconds: float,
    rng: np.random.Generator,
    others: Sequence[NDArray[np.int16]],
) -> NDArray[np.float32]:
    """Return a segment as it is, or through a poor channel."""
    if rng.random() < GOOD:
        return augment.stretch(samples, seconds, rng)
    return augment.voice(samples, seconds, rng, telephone=0.7, loudest_noise_db=0.0, others=others)


class RecordingLosses(nn.Module):
    """Losses that keep segments near their recording, and near their person's recordings.

    People are numbered from 0 without gaps, as by :func:`at_speeds`.
    """

    def __init__(self, recordings: Side) -> None:
        super().__init__()
        embeddings = recordings.teacher_embeddings
        assert embeddings is not None
        order = np.argsort(recordings.people, kind="stable")
        firsts = np.unique(recordings.people[order], return_index=True)[1]
        self.centres: Tensor
        self.register_buffer("centres", torch.from_numpy(unit_means(embeddings[order], firsts)))

    def forward(self, encoded: tuple[Tensor, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the mean of 1 minus the cosine, and the cross-entropy of people by centres."""
        targets, vectors = batch.voices.teacher_embeddings, encoded[1]
        assert targets is not None
        person = functional.cross_entropy(SCALE * vectors @ self.centres.T, batch.voices.people)
        recording = 1 - (vectors * targets).sum(1).mean()
        return {"recording": recording, "person": PERSON_WEIGHT * person}
