"""Fit PLDA for the names of speakers, for a trained checkpoint.

``python -m trainer.recipes.fit_speakers --data DATA --out FILE`` uses the people of the
checkpoint's record and writes the result there. The distributions are fitted on the training
people, who are many, and calibrated on the validation people, who are new to the model
and to the distributions. Half of each person's speech enrols them, the other half, with noise,
makes speakers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.identification.plda import RECORD, VoiceVectors, plda_to_record
from avsearch.annotation.identification.speaker_model import weighted_mean
from avsearch.media import SAMPLE_RATE, MediaExtractor
from avsearch.models import MODELS, load_model
from avsearch.models.checkpoint import load_checkpoint, put_record
from indexer.types import Embedder, Media, Vectors
from trainer.data.pcm import waveform
from trainer.evaluation.fit_plda import Pairs, Takes, calibrated, costs_of, fit_plda
from trainer.recipes.galleries import read_gallery

GALLERIES: Final = ("librispeech", "ravdess", "urdu", "nemo", "fsdd")
MOST: Final = 24  # segments of a person
SPEAKERS: Final = 4  # of a person, each from another recording
NOISE_DB: Final = (5.0, 35.0)  # below the speech
SHORTEST_S: Final = 1.0
SEED: Final = 0

Samples = NDArray[np.float32]
Spoken = Mapping[str, Sequence[Samples]]  # speech segments by person


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--out", type=click.Path(exists=True, path_type=Path), required=True)
def main(data: Path, out: Path) -> None:
    """Fit PLDA for a checkpoint, and print its costs."""
    fit(data, out)


def fit(data: Path, checkpoint: Path) -> None:
    """Fit PLDA on the people of a checkpoint's record, and write it into the record."""
    record = load_checkpoint(checkpoint, MODELS).record
    training, validation = (
        read_voices(data, record["people"][side]) for side in ("train", "validation")
    )
    voices = embed_people(
        {**training, **validation}, load_model(checkpoint), np.random.default_rng(SEED)
    )
    seen, unseen = (
        voices.pairs(rows) for rows in (slice(len(training)), slice(len(training), None))
    )
    known = calibrated(fit_plda(voices.takes.of_first(len(training))), unseen)
    found = costs_of(known, unseen)
    put_record(checkpoint, {**record, RECORD: {**plda_to_record(known), **found}})
    click.echo(f"scale {known.scale:.3f}, offset {known.offset:.3f}")
    click.echo(f"validation people: {found}; training people: {costs_of(known, seen)}")


def read_voices(data: Path, people: Sequence[str]) -> Spoken:
    """Read speech segments of these people; people with fewer than two are left out."""
    found: dict[str, list[Samples]] = {}
    for name in GALLERIES:
        for example in read_gallery(data / name, MediaExtractor(), frozenset(people)):
            if example.modality == "voice":
                found.setdefault(example.person, []).append(waveform(example.data))
    halved = {who: _halves(spoken) for who, spoken in found.items()}
    return {who: spoken[:MOST] for who, spoken in sorted(halved.items()) if len(spoken) > 1}


def _halves(spoken: list[Samples]) -> list[Samples]:
    """Split the only segment of a person in two, unless it is too short."""
    if len(spoken) > 1 or len(spoken[0]) < 2 * SHORTEST_S * SAMPLE_RATE:
        return spoken
    return np.array_split(spoken[0], 2)


@dataclasses.dataclass(frozen=True, slots=True)
class Voices:
    """The data of the fit: segments, and speakers with people."""

    takes: Takes
    speakers: VoiceVectors
    owners: NDArray[np.int64]  # (speakers,) rows of people
    people: VoiceVectors

    def pairs(self, rows: slice) -> Pairs:
        """Return some of the people with their speakers."""
        numbers = np.arange(len(self.people.vectors))[rows]
        own = np.isin(self.owners, numbers)
        return Pairs(
            VoiceVectors(self.speakers.vectors[own], self.speakers.seconds[own]),
            VoiceVectors(self.people.vectors[rows], self.people.seconds[rows]),
            self.owners[own, None] == numbers,
        )


def embed_people(spoken: Spoken, embedder: Embedder, rng: np.random.Generator) -> Voices:
    """Embed half of everybody's segments as enrolled people, half with noise as speakers."""
    enrolled = [every[::2] for every in spoken.values()]
    said = [in_a_recording(every[1::2], rng) for every in spoken.values() for _ in range(SPEAKERS)]
    people, speakers = _embedded(enrolled, embedder), _embedded(said, embedder)
    owners = np.repeat(np.arange(len(enrolled)), SPEAKERS)
    takes = dataclasses.replace(speakers, people=owners[speakers.people])
    return Voices(_both(people, takes), _means(speakers), owners, _means(people))


def in_a_recording(said: Sequence[Samples], rng: np.random.Generator) -> list[Samples]:
    """Return parts of one or more random segments, with the noise of one recording."""
    chosen = rng.permutation(len(said))[: rng.integers(1, len(said) + 1)]
    below_db = rng.uniform(*NOISE_DB)
    return [in_noise(part(said[at], rng), below_db, rng) for at in chosen]


def part(samples: Samples, rng: np.random.Generator) -> Samples:
    """Return a random part of a segment, a second or longer."""
    length = rng.integers(min(len(samples), round(SHORTEST_S * SAMPLE_RATE)), len(samples) + 1)
    start = rng.integers(len(samples) - length + 1)
    return samples[start : start + length]


def in_noise(samples: Samples, below_db: float, rng: np.random.Generator) -> Samples:
    """Add noise that falls towards high frequencies, ``below_db`` under the speech."""
    white = rng.standard_normal(len(samples) + 1)
    noise = white[1:] + white[:-1]
    level = np.sqrt(np.mean(samples.astype(np.float64) ** 2)) * 10 ** (-below_db / 20)
    return np.asarray(samples + noise * (level / noise.std()), np.float32)


def _embedded(spoken: Sequence[Sequence[Samples]], embedder: Embedder) -> Takes:
    """Embed the segments of people, who are numbered in order."""
    owners = [who for who, every in enumerate(spoken) for _ in every]
    flat = [samples for every in spoken for samples in every]
    media = [Media(Path("take"), "voice", float(at), data=one) for at, one in enumerate(flat)]
    vectors = embedder.embed(media).vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    seconds = np.array([len(samples) / SAMPLE_RATE for samples in flat])
    return Takes(unit, np.array(owners, np.int64), seconds)


def _means(takes: Takes) -> VoiceVectors:
    """The mean of the takes of each, by their lengths."""
    vectors: list[Vectors] = []
    seconds: list[float] = []
    for who in range(int(takes.people.max()) + 1):
        own = takes.people == who
        vectors.append(weighted_mean(takes.vectors[own], takes.seconds[own]))
        seconds.append(float(takes.seconds[own].sum()))
    return VoiceVectors(np.stack(vectors), np.array(seconds))


def _both(first: Takes, second: Takes) -> Takes:
    """Concatenate the segments of the same people."""
    return Takes(
        *(
            np.concatenate([getattr(each, field.name) for each in (first, second)])
            for field in dataclasses.fields(Takes)
        )
    )


if __name__ == "__main__":
    main()
