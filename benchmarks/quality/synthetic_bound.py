"""The best possible figures of matching faces and voices of the synthetic world.

A scorer can at best read every trait of a person, and with the traits the components of which they
are monotone functions. So no scorer of images and audio beats the best scorer of components, which
is known. In each of ``dims`` dimensions a person's face component f and voice component v are
standard normal with correlation r = ``shared`` (`trainer.data.synthetic.world`); those of two
people are independent. By Neyman and Pearson the best score of a pair is the log of the ratio of
the two densities,

    sum over dimensions of  log N((f, v); 0, [[1, r], [r, 1]]) - log N(f; 0, 1) - log N(v; 0, 1)
    = sum of  (r f v - r^2 (f^2 + v^2) / 2) / (1 - r^2)  -  dims * log(1 - r^2) / 2

and minus infinity where gender or country differ. Ordered by this score, pairs have the largest
possible area under the ROC. Of two candidates for a voice the one with the larger ratio is right
most often (1:2 matching). A gallery in this order has the largest mean average precision: all
items of a person have equal traits, so the precision is one over the person's rank.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.synthetic.world import SyntheticPerson
from trainer.evaluation.metrics import roc_auc

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True)
class Crowd:
    """People by their components (n, dims), genders (n,) and countries (n,)."""

    faces: Floats
    voices: Floats
    genders: NDArray[np.int64]
    countries: NDArray[np.int64]


def crowd_of(people: Sequence[SyntheticPerson]) -> Crowd:
    """Return the crowd of these people."""
    countries = sorted({person.nationality for person in people})
    return Crowd(
        np.array([person.face_traits for person in people]),
        np.array([person.voice_traits for person in people]),
        np.array([person.gender == "m" for person in people], np.int64),
        np.array([countries.index(person.nationality) for person in people], np.int64),
    )


def best_scores(crowd: Crowd, shared: float) -> Floats:
    """Return the best score of every voice (row) with every face (column); larger is nearer."""
    ratios = log_ratios(crowd.voices, crowd.faces, shared)
    alike = _same(crowd.genders) & _same(crowd.countries)
    return np.where(alike, ratios, -np.inf)


def log_ratios(voices: Floats, faces: Floats, shared: float) -> Floats:
    """Return the sum above, (n, m), for voices (n, dims) and faces (m, dims).

    With ``shared`` 1 the components of a person are equal, and the ratio is infinite.
    """
    if shared == 1.0:
        return np.where((voices[:, None] == faces[None]).all(2), np.inf, -np.inf)
    squares = (voices**2).sum(1)[:, None] + (faces**2).sum(1)[None]
    apart = 1 - shared**2
    exponents = (shared * voices @ faces.T - shared**2 * squares / 2) / apart
    return np.asarray(exponents - voices.shape[1] * math.log(apart) / 2)


def figures(crowd: Crowd, shared: float) -> tuple[float, float, float]:
    """Return 1:2 accuracy, AUC and mean average precision of the best scores on these people."""
    scores = best_scores(crowd, shared)
    own, same = np.diag(scores), np.eye(len(scores), dtype=bool)
    won = (own[:, None] > scores) + 0.5 * (own[:, None] == scores)
    auc = roc_auc(scores.ravel(), same.ravel())
    ranks = (scores >= own[:, None]).sum(1)  # includes oneself; ties rank first
    return float(won[~same].mean()), auc, float((1 / ranks).mean())


def _same(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(values[:, None] == values[None])
