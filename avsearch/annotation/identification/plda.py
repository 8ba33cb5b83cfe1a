"""What the likeness of two voices is worth, by how much speech either is known from.

A voice lies somewhere among those of all people, and what was heard of it lies around it: further
away in another recording, and the further the less was heard. Both are normal distributions,
whose variances are independent along the same axes: probabilistic linear discriminant analysis
(Ioffe, Probabilistic Linear Discriminant Analysis, ECCV 2006), with a variance that falls with the
duration (Kenny et al., PLDA for speaker verification with utterances of arbitrary duration, ICASSP
2013). So a little speech that is not much like anybody's is no evidence against anybody.
:mod:`trainer.evaluation.fit_plda` fits it.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors

Floats = NDArray[np.float64]

RECORD: Final = "plda"  # where a checkpoint's record has it
LEAST_S: Final = 0.5  # less speech counts as much
_STORED: Final = "<f2"  # numbers in a record


class Means(NamedTuple):
    """Voices as unit vectors (n, dim), and of how many seconds of speech each is the mean (n,)."""

    vectors: Vectors
    seconds: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class PLDA:
    """The log-likelihood ratio of two voices being one person's, fitted to a model's vectors.

    Vectors less ``mean`` (dim,) times ``axes`` (dim, k) have along each axis the variance
    ``between`` (k,) of people, and around each person that of recordings, ``session`` (k,), and
    ``second`` (k,), which is divided by the seconds of speech. The axes are not as independent as
    that: ``scale`` and ``offset`` make of the sum over them a ratio that can be relied on.
    """

    mean: Floats
    axes: Floats
    between: Floats
    session: Floats
    second: Floats
    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, speakers: Means, people: Means) -> Floats:
        """(speakers, people) natural log-likelihood ratios."""
        ratios = np.empty((len(speakers.vectors), len(people.vectors)))
        theirs, their_variance = self._placed(people)
        for row, (one, variance) in enumerate(zip(*self._placed(speakers), strict=True)):
            ratios[row] = self._compared(one, variance, theirs, their_variance).sum(1)
        return self.scale * ratios + self.offset

    def _placed(self, heard: Means) -> tuple[Floats, Floats]:
        """Where voices lie (n, k), and the variance around zero of what was heard of anybody."""
        places = (heard.vectors - self.mean) @ self.axes
        around = self.session + self.second / np.maximum(heard.seconds, LEAST_S)[:, None]
        return places, self.between + around

    def _compared(self, x: Floats, v: Floats, y: Floats, w: Floats) -> Floats:
        """By axis (n, k): x (k,) and y (n, k) share what varies between people, or share nothing.

        The logarithm of N([x, y]; 0, [[v, b], [b, w]]) less those of N(x; 0, v) and N(y; 0, w).
        """
        b, apart = self.between, v * w
        together = apart - b**2
        shared = (w * x**2 - 2 * b * x * y + v * y**2) / together
        ratios: Floats = (np.log(apart / together) - shared + x**2 / v + y**2 / w) / 2
        return ratios


def plda_of(record: Mapping[str, Any], dim: int) -> PLDA | None:
    """What a checkpoint's record has for vectors of this size; None where it has nothing."""
    found = record.get(RECORD)
    if not isinstance(found, Mapping):
        return None
    try:
        arrays = {name: _unpacked(found[name]) for name in _ARRAYS}
        arrays["axes"] = arrays["axes"].reshape(dim, -1)
        known = PLDA(**arrays, scale=float(found["scale"]), offset=float(found["offset"]))
        known(*[Means(np.zeros((1, dim), np.float32), np.ones(1))] * 2)  # sizes that do not fit
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    return known


def as_record(known: PLDA) -> dict[str, Any]:
    """The same as :func:`plda_of` reads it: arrays as float16 in base64, row by row."""
    arrays = {name: _packed(getattr(known, name)) for name in _ARRAYS}
    return {**arrays, "scale": known.scale, "offset": known.offset}


_ARRAYS: Final = ("mean", "axes", "between", "session", "second")


def _packed(array: Floats) -> str:
    return base64.b64encode(array.astype(_STORED).tobytes()).decode("ascii")


def _unpacked(text: str) -> Floats:
    return np.frombuffer(base64.b64decode(text, validate=True), _STORED).astype(np.float64)
