"""Log-likelihood ratios of voices by their vectors and durations.

Voices of people are normally distributed. Recordings of one person are normally distributed around
the person's voice, more widely the shorter they are. Both have independent variances along the same
axes: probabilistic linear discriminant analysis (Ioffe, Probabilistic Linear Discriminant Analysis,
ECCV 2006), with a variance that falls with the duration (Kenny et al., PLDA for speaker
verification with utterances of arbitrary duration, ICASSP 2013). So a short segment that is unlike
everybody is no evidence against anybody. :mod:`trainer.evaluation.fit_plda` fits the model.
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

RECORD: Final = "plda"  # its key in the record of a checkpoint
MIN_SPEECH_S: Final = 0.5  # shorter speech counts as that long
_STORED: Final = "<f2"  # numbers in a record
_ARRAYS: Final = ("mean", "axes", "between", "session", "second")


class VoiceVectors(NamedTuple):
    """Unit vectors (n, dim) of voices, and the seconds of speech (n,) of which each is the mean."""

    vectors: Vectors
    seconds: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class PLDA:
    """A PLDA model of a model's vectors.

    Attributes:
        mean: The mean vector (dim,).
        axes: The axes (dim, k).
        between: The variance (k,) of people along each axis.
        session: The variance (k,) of recordings around a person.
        second: A further variance (k,), which is divided by the seconds of speech.
        scale: The factor of the sum over the axes, which are not quite independent.
        offset: The offset of the sum.
    """

    mean: Floats
    axes: Floats
    between: Floats
    session: Floats
    second: Floats
    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, speakers: VoiceVectors, people: VoiceVectors) -> Floats:
        """Return natural log-likelihood ratios (speakers, people) of being one person.

        That is the logarithm of N([x, y]; 0, [[v, b], [b, w]]) less those of N(x; 0, v) and
        N(y; 0, w), summed over the axes.
        """
        ratios = np.empty((len(speakers.vectors), len(people.vectors)))
        y, w = self._project(people)
        b = self.between
        for row, (x, v) in enumerate(zip(*self._project(speakers), strict=True)):
            apart = v * w
            together = apart - b**2
            shared = (w * x**2 - 2 * b * x * y + v * y**2) / together
            ratios[row] = ((np.log(apart / together) - shared + x**2 / v + y**2 / w) / 2).sum(1)
        return self.scale * ratios + self.offset

    def _project(self, voices: VoiceVectors) -> tuple[Floats, Floats]:
        """Return voices (n, k) along the axes, and their variance (n, k) around zero."""
        projected = (voices.vectors - self.mean) @ self.axes
        around = self.session + self.second / np.maximum(voices.seconds, MIN_SPEECH_S)[:, None]
        return projected, self.between + around


def plda_from_record(record: Mapping[str, Any], dim: int) -> PLDA | None:
    """Return the model in a checkpoint's record for vectors of this size; None without one."""
    found = record.get(RECORD)
    if not isinstance(found, Mapping):
        return None
    try:
        arrays = {
            name: np.frombuffer(base64.b64decode(found[name], validate=True), _STORED)
            for name in _ARRAYS
        }
        arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
        arrays["axes"] = arrays["axes"].reshape(dim, -1)
        plda = PLDA(**arrays, scale=float(found["scale"]), offset=float(found["offset"]))
        silent = VoiceVectors(np.zeros((1, dim), np.float32), np.ones(1))
        plda(silent, silent)  # raises ValueError for arrays that do not fit
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    return plda


def plda_to_record(plda: PLDA) -> dict[str, Any]:
    """Return a model for a checkpoint's record: arrays as float16 in base64, row by row."""
    arrays = {
        name: base64.b64encode(getattr(plda, name).astype(_STORED).tobytes()).decode("ascii")
        for name in _ARRAYS
    }
    return {**arrays, "scale": plda.scale, "offset": plda.offset}
