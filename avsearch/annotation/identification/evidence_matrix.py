"""Who of an index the speakers of a recording could be, by voices and faces together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.identification.plda import PLDA, Means
from avsearch.annotation.identification.speaker_llr import Calibrations
from avsearch.annotation.identification.speaker_model import weighted_mean
from avsearch.calibration import direction
from indexer.index import Index
from indexer.records import Item, Person
from indexer.types import MODALITIES, Modality, Vectors

Floats = NDArray[np.float64]

CANDIDATES: Final = 100  # people of the index who are looked at for each speaker, by best item
_TYPICAL_S: Final = 4.0  # of a stretch of speech whose length is not known
_SHORTEST_S: Final = 0.1
Kinds = tuple[Modality, Modality]  # what was sensed of a speaker, what is held of a person


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
    scores: dict[Kinds, Floats]
    size: int


class Known(NamedTuple):
    """A unit vector (dim,) of somebody, and of how many seconds it is the mean."""

    vector: Vectors
    seconds: float


def compare(
    index: Index,
    sensed: Mapping[str, Mapping[Modality, Known]],
    calibrations: Calibrations,
    voices: PLDA | None = None,
) -> Evidence:
    """The evidence for every speaker and every person who could be one of them.

    ``sensed`` has what is known of each speaker's voice, face or both. ``calibrations`` say what
    a cosine is worth; ``voices``, where the model has it, says it of two voices in their place.
    """
    speakers = list(sensed)
    people = _candidates(index, [one.vector for each in sensed.values() for one in each.values()])
    mine = {kind: [sensed[label].get(kind) for label in speakers] for kind in MODALITIES}
    theirs = {kind: [_mean_of(index, who, kind) for who in people] for kind in MODALITIES}
    every: list[Kinds] = [(a, b) for a in MODALITIES for b in MODALITIES]
    scores = {(a, b): _pairwise(_cosines, mine[a], theirs[b]) for a, b in every}
    ratios = {kinds: _calibrated(scores[kinds], calibrations, kinds) for kinds in every}
    if voices is not None:
        ratios["voice", "voice"] = _pairwise(voices, mine["voice"], theirs["voice"])
    return Evidence(speakers, people, _joined(ratios), scores, index.counts().people)


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


def _mean_of(index: Index, who: Person, modality: Modality) -> Known | None:
    """The unit mean of somebody's items by their lengths; None if there is none."""
    items, vectors = index.items_of(who.key, modality)
    if not items:
        return None
    lengths = np.linalg.norm(vectors, axis=1)
    seconds = np.array([_seconds(item) for item in items])
    mean = weighted_mean(vectors, seconds / np.where(lengths > 0, lengths, 1.0))
    return Known(mean, float(seconds.sum()))


def _seconds(item: Item) -> float:
    """How long an item is; faces are all alike."""
    if item.modality == "face" or item.end_s is None:
        return _TYPICAL_S
    return max(item.end_s - item.start_s, _SHORTEST_S)


def _pairwise(
    compared: Callable[[Means, Means], Floats],
    sensed: Sequence[Known | None],
    held: Sequence[Known | None],
) -> Floats:
    """(speakers, people) of what compares them, NaN where one of the two is not there."""
    found = np.full((len(sensed), len(held)), np.nan)
    rows, columns = (
        [at for at, one in enumerate(each) if one is not None] for each in (sensed, held)
    )
    if rows and columns:
        found[np.ix_(rows, columns)] = compared(_those_of(sensed), _those_of(held))
    return found


def _those_of(each: Sequence[Known | None]) -> Means:
    there = [one for one in each if one is not None]
    return Means(np.stack([one.vector for one in there]), np.array([one.seconds for one in there]))


def _cosines(a: Means, b: Means) -> Floats:
    return (a.vectors @ b.vectors.T).astype(np.float64)


def _joined(ratios: Mapping[Kinds, Floats]) -> Floats:
    """All evidence together; 0, which says nothing, where there is none.

    That of one modality is added. A voice with a face counts only where nothing else does: what
    they have in common, first of all the gender, two voices or two faces have told already.
    """
    within, across = (
        np.stack([each for (a, b), each in ratios.items() if (a == b) is same])
        for same in (True, False)
    )
    compared = np.isfinite(within).any(0)
    joined: Floats = np.where(compared, np.nansum(within, 0), np.nansum(across, 0))
    return joined


def _calibrated(scores: Floats, calibrations: Calibrations, kinds: Kinds) -> Floats:
    """(speakers, people) ratios; NaN where there is no score or nothing is known of its kind."""
    known = calibrations.get(direction(*kinds))
    return np.full_like(scores, np.nan) if known is None else known.unbounded(scores)
