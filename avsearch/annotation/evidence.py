"""Who of an index the speakers of a recording could be, by voices and faces together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.speakers import weighted_mean
from avsearch.annotation.strength import Calibrations
from avsearch.evidence import direction
from indexer.index import Index
from indexer.records import Person
from indexer.types import MODALITIES, Modality, Vectors

Floats = NDArray[np.float64]

CANDIDATES: Final = 100  # people of the index who are looked at for each speaker, by best item
CROSS_BESIDE: Final = 0.5  # of the other modality's evidence, where the same one's is there too


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """Speakers against people of the index.

    ``ratios`` (speakers, people) are natural log-likelihood ratios, all evidence together;
    ``scores`` the cosines by what was sensed of the speaker and held of the person, NaN where
    one of them is not there. ``size`` is how many people the index has, those who were too
    unlike every speaker to be looked at included.
    """

    speakers: list[str]
    people: list[Person]
    ratios: Floats
    scores: dict[tuple[Modality, Modality], Floats]
    size: int


def compare(
    index: Index, sensed: Mapping[str, Mapping[Modality, Vectors]], calibrations: Calibrations
) -> Evidence:
    """The evidence for every speaker and every person who could be one of them.

    ``sensed`` has a unit vector (dim,) of each speaker's voice, face or both.
    """
    speakers = list(sensed)
    people = _candidates(index, [vector for each in sensed.values() for vector in each.values()])
    scores = {
        (mine, theirs): _scores([sensed[label].get(mine) for label in speakers], held)
        for theirs in MODALITIES
        for held in [[_mean_of(index, who, theirs) for who in people]]
        for mine in MODALITIES
    }
    ratios = _ratios(scores, calibrations, (len(speakers), len(people)))
    return Evidence(speakers, people, ratios, scores, index.counts().people)


def _candidates(index: Index, vectors: Sequence[Vectors]) -> list[Person]:
    """The people whose best face or voice is nearest to one of these vectors, by key."""
    if not vectors:
        return []
    queries = np.stack(vectors)
    found = {
        item.person.key: item.person
        for modality in MODALITIES
        for hits in index.search(queries, CANDIDATES, modality=modality, by="person").hits
        for item, _ in hits
    }
    return [found[key] for key in sorted(found)]


def _mean_of(index: Index, who: Person, modality: Modality) -> Vectors | None:
    """The unit mean of somebody's items, each of them a unit vector; None if there is none."""
    _, vectors = index.vectors_of(who.key, modality)
    if not len(vectors):
        return None
    lengths = np.linalg.norm(vectors, axis=1)
    return weighted_mean(vectors, 1 / np.where(lengths > 0, lengths, 1.0))


def _scores(sensed: Sequence[Vectors | None], held: Sequence[Vectors | None]) -> Floats:
    """(speakers, people) cosines, NaN where one of the two is not there."""
    scores = np.full((len(sensed), len(held)), np.nan)
    for row, mine in enumerate(sensed):
        for column, theirs in enumerate(held):
            if mine is not None and theirs is not None:
                scores[row, column] = float(mine @ theirs)
    return scores


def _ratios(
    scores: Mapping[tuple[Modality, Modality], Floats],
    calibrations: Calibrations,
    shape: tuple[int, int],
) -> Floats:
    """All evidence together; 0, which says nothing, where there is none.

    A voice is compared with voices and with faces. The two are not independent, both knowing the
    gender, so that of the other modality counts half where the same one is there.
    """
    total = np.zeros(shape)
    for mine in MODALITIES:
        same, other = (
            _calibrated(scores[mine, theirs], calibrations, (mine, theirs))
            for theirs in (mine, MODALITIES[1 - MODALITIES.index(mine)])
        )
        weight = np.where(np.isnan(same), 1.0, CROSS_BESIDE)
        total += np.nan_to_num(same) + weight * np.nan_to_num(other)
    return total


def _calibrated(
    scores: Floats, calibrations: Calibrations, kinds: tuple[Modality, Modality]
) -> Floats:
    """(speakers, people) ratios; NaN where there is no score or nothing is known of its kind."""
    known = calibrations.get(direction(*kinds))
    return np.full_like(scores, np.nan) if known is None else known(scores)
