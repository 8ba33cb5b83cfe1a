"""The evidence for each speaker and each person of an index, by voices and faces together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.identification.clustering import Calibrations
from avsearch.annotation.identification.plda import PLDA, VoiceVectors
from avsearch.annotation.identification.speaker_model import weighted_mean
from avsearch.calibration import RECORD, calibrations_of, direction
from indexer.errors import BadRequest, os_reason, printable
from indexer.index import Index
from indexer.records import Item, Person
from indexer.types import MODALITIES, Modality, Vectors

Floats = NDArray[np.float64]
Modalities = tuple[Modality, Modality]  # of the speaker, and of the person

SHORTLIST: Final = 100  # people of the index to compare with each speaker, by their best item
_UNKNOWN_S: Final = 4.0  # a typical segment, for one whose length is not known
_MIN_S: Final = 0.1
_FORM: Final = "it is JSON and has a scale and an offset for V-V, V-F, F-V or F-F."


@dataclasses.dataclass(frozen=True, slots=True)
class EvidenceMatrix:
    """Speakers against people of the index.

    Attributes:
        speakers: The labels of the speakers.
        people: The people who are similar to one of them.
        ratios: Natural log-likelihood ratios (speakers, people) of all evidence together.
        scores: Cosines (speakers, people) by modalities, NaN where a vector is missing.
        size: The number of people in the index.
    """

    speakers: list[str]
    people: list[Person]
    ratios: Floats
    scores: dict[Modalities, Floats]
    size: int

    def scores_of(self, row: int, column: int) -> dict[str, float]:
        """Return the cosines of a speaker and a person by direction."""
        return {
            direction(a, b): float(scores[row, column])
            for (a, b), scores in self.scores.items()
            if np.isfinite(scores[row, column])
        }


class SpeakerVector(NamedTuple):
    """A unit vector (dim,), and the seconds of which it is the mean."""

    vector: Vectors
    seconds: float


def compare(
    index: Index,
    speakers: Mapping[str, Mapping[Modality, SpeakerVector]],
    calibrations: Calibrations,
    plda: PLDA | None = None,
) -> EvidenceMatrix:
    """Compare every speaker with every person who is similar to one of them.

    Args:
        index: The people.
        speakers: The voice, the face or both of each speaker.
        calibrations: The calibration of cosines by direction.
        plda: Compares two voices, in place of their calibration.
    """
    vectors = [one.vector for each in speakers.values() for one in each.values()]
    people = _shortlist(index, vectors)
    ours = {kind: [each.get(kind) for each in speakers.values()] for kind in MODALITIES}
    theirs = {kind: [_mean_vector(index, one, kind) for one in people] for kind in MODALITIES}
    scores, ratios = dict[Modalities, Floats](), dict[Modalities, Floats]()
    for pair in ((a, b) for a in MODALITIES for b in MODALITIES):
        scores[pair] = _pairwise(_cosines, ours[pair[0]], theirs[pair[1]])
        known = calibrations.get(direction(*pair))
        ratios[pair] = (
            np.full_like(scores[pair], np.nan) if known is None else known.unbounded(scores[pair])
        )
    if plda is not None:
        ratios["voice", "voice"] = _pairwise(plda, ours["voice"], theirs["voice"])
    # The evidence within a modality is added. A voice with a face counts only where nothing else
    # does: what they share, first of all the gender, two voices or two faces have told already.
    within, across = (
        np.stack([each for (a, b), each in ratios.items() if (a == b) is same])
        for same in (True, False)
    )
    compared = np.isfinite(within).any(0)
    joint = np.where(compared, np.nansum(within, 0), np.nansum(across, 0))
    return EvidenceMatrix(list(speakers), people, joint, scores, index.counts().people)


def _shortlist(index: Index, vectors: Sequence[Vectors]) -> list[Person]:
    """Return the people whose best face or voice is nearest to one of the vectors, by key."""
    if not vectors:
        return []
    queries = np.stack(vectors)
    found = {
        item.person.key: item.person
        for modality in MODALITIES
        for hits in index.search(queries, SHORTLIST, modality=modality, by="person").hits
        for item, _ in hits
    }
    return [found[key] for key in sorted(found)]


def _mean_vector(index: Index, person: Person, modality: Modality) -> SpeakerVector | None:
    """Return the unit mean of a person's items by their lengths; None without items."""
    items, vectors = index.items_of(person.key, modality)
    if not items:
        return None
    lengths = np.linalg.norm(vectors, axis=1)
    seconds = np.array([_seconds(item) for item in items])
    mean = weighted_mean(vectors, seconds / np.where(lengths > 0, lengths, 1.0))
    return SpeakerVector(mean, float(seconds.sum()))


def _seconds(item: Item) -> float:
    """Return the length of an item; all faces have the same."""
    if item.modality == "face" or item.end_s is None:
        return _UNKNOWN_S
    return max(item.end_s - item.start_s, _MIN_S)


def _cosines(a: VoiceVectors, b: VoiceVectors) -> Floats:
    return (a.vectors @ b.vectors.T).astype(np.float64)


def _pairwise(
    compare_vectors: Callable[[VoiceVectors, VoiceVectors], Floats],
    ours: Sequence[SpeakerVector | None],
    theirs: Sequence[SpeakerVector | None],
) -> Floats:
    """Return the result (speakers, people) of a comparison, NaN where a vector is missing."""
    found = np.full((len(ours), len(theirs)), np.nan)
    rows, columns = (
        [at for at, one in enumerate(each) if one is not None] for each in (ours, theirs)
    )
    if rows and columns:
        sides = [[one for one in each if one is not None] for each in (ours, theirs)]
        a, b = (
            VoiceVectors(np.stack([one.vector for one in side]), np.array([s for _, s in side]))
            for side in sides
        )
        found[np.ix_(rows, columns)] = compare_vectors(a, b)
    return found


def read_calibrations(path: Path) -> Calibrations:
    """Return the calibrations in a JSON file, ``{"V-V": {"scale": 6, "offset": -3}}``.

    Raises:
        BadRequest: The file cannot be read, or is no such file.
    """
    try:
        found = calibrations_of({RECORD: json.loads(path.read_text("utf-8"))})
    except OSError as error:
        raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise BadRequest(f"{printable(path)} is no calibration ({error}); {_FORM}") from error
    if not found:
        raise BadRequest(f"{printable(path)} is no calibration; {_FORM}")
    return found
