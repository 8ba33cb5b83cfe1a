"""How well faces and voices of the synthetic world can be matched at all.

Whoever sees and hears a person can at best read every trait off them, and with the traits the
components they are monotone functions of. So no scorer of pictures and sounds beats the best
scorer of components, and that one is known, because the world is. In each of ``dims``
dimensions a person's face component f and voice component v are standard normal with
correlation r = ``shared`` (`trainer.data.synthetic.world`), those of two people are independent.
By Neyman and Pearson the best score of a pair is the log of the ratio of the two densities,

    sum over dimensions of  log N((f, v); 0, [[1, r], [r, 1]]) - log N(f; 0, 1) - log N(v; 0, 1)
    = sum of  (r f v - r^2 (f^2 + v^2) / 2) / (1 - r^2)  -  dims * log(1 - r^2) / 2

and minus infinity where gender or country differ, as they cannot within a person. Ordered by
it, pairs have the largest possible area under the ROC; of two candidates for a voice, both
equally likely before, the one with the larger ratio is right most often (1:2 matching); and a
gallery in its order puts the person asked for first, second, ... as often as can be, which is
the largest mean average precision: all items of a person are equal for who reads only traits,
so that the precision at the person's threshold is one over their rank among the people.

What these figures are for people drawn from the world has no closed form for all three; they
are averages over many galleries of people drawn from it, with their standard errors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.data.synthetic.world import SyntheticPerson, WorldSettings
from trainer.evaluation.metrics import roc_auc

Floats = NDArray[np.float64]
Within = Literal["all", "gender", "nationality", "both"]


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over simulated galleries and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4f} (standard error {self.error:.4f})"


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """The best possible figures; each holds for a voice that asks and for a face."""

    accuracy: Estimate  # 1:2 matching
    auc: Estimate
    mean_average_precision: Estimate  # in a gallery of ``people``
    people: int


@dataclasses.dataclass(frozen=True, slots=True)
class Crowd:
    """People by what can be read off them: components (n, dims), genders and countries (n,)."""

    faces: Floats
    voices: Floats
    genders: NDArray[np.int64]
    countries: NDArray[np.int64]


def best_possible(
    settings: WorldSettings | None = None,
    *,
    people: int = 100,
    within: Within = "all",
    draws: int = 400,
    seed: int = 0,
) -> Bound:
    """The best possible figures on ``people`` people of a world whom nobody has seen before.

    ``within`` restricts the other person of matching and verification to one's own gender,
    nationality or both; the gallery of the mean average precision is always everybody.
    """
    settings = settings or WorldSettings()
    rng = np.random.default_rng(seed)
    rows = [
        figures(draw_crowd(settings, people, rng), settings.shared, within) for _ in range(draws)
    ]
    values = np.array(rows)
    means = np.nanmean(values, axis=0)
    errors = np.nanstd(values, axis=0) / np.sqrt(np.isfinite(values).sum(0))
    accuracy, auc, precision = map(Estimate, means.tolist(), errors.tolist())
    return Bound(accuracy, auc, precision, people)


def draw_crowd(settings: WorldSettings, people: int, rng: np.random.Generator) -> Crowd:
    """People of a world, as `trainer.data.synthetic.world` draws them."""
    common, face_only, voice_only = rng.standard_normal((3, people, settings.dims))
    mine, own = math.sqrt(settings.shared), math.sqrt(1 - settings.shared)
    return Crowd(
        mine * common + own * face_only,
        mine * common + own * voice_only,
        rng.integers(2, size=people),
        rng.integers(settings.nationalities, size=people),
    )


def crowd_of(people: Sequence[SyntheticPerson]) -> Crowd:
    """Certain people, for the best possible figures on the trials of one evaluation."""
    countries = sorted({person.nationality for person in people})
    return Crowd(
        np.array([person.face_traits for person in people]),
        np.array([person.voice_traits for person in people]),
        np.array([person.gender == "m" for person in people], np.int64),
        np.array([countries.index(person.nationality) for person in people], np.int64),
    )


def best_scores(crowd: Crowd, shared: float) -> Floats:
    """The best score of every voice (row) with every face (column), larger being nearer.

    With ``shared`` 1 a person's components are equal, and infinity says so.
    """
    ratios = log_ratios(crowd.voices, crowd.faces, shared)
    alike = _same(crowd.genders) & _same(crowd.countries)
    return np.where(alike, ratios, -np.inf)


def log_ratios(voices: Floats, faces: Floats, shared: float) -> Floats:
    """The formula above for voices (n, dims) and faces (m, dims): (n, m)."""
    if shared == 1.0:
        return np.where((voices[:, None] == faces[None]).all(2), np.inf, -np.inf)
    squares = (voices**2).sum(1)[:, None] + (faces**2).sum(1)[None]
    apart = 1 - shared**2
    exponents = (shared * voices @ faces.T - shared**2 * squares / 2) / apart
    return np.asarray(exponents - voices.shape[1] * math.log(apart) / 2)


def figures(crowd: Crowd, shared: float, within: Within = "all") -> tuple[float, float, float]:
    """1:2 accuracy, AUC and mean average precision of the best scores on these people.

    NaN for the first two where no two people are alike in what ``within`` asks.
    """
    scores = best_scores(crowd, shared)
    own = np.diag(scores)
    other = _trials(crowd, within)
    won = (own[:, None] > scores) + 0.5 * (own[:, None] == scores)
    accuracy = float(won[other].mean()) if other.any() else float("nan")
    same = np.eye(len(own), dtype=bool)
    taken = same | other
    auc = roc_auc(scores[taken], same[taken])
    ranks = (scores >= own[:, None]).sum(1)  # one's own among them; those who tie come first
    return accuracy, auc, float((1 / ranks).mean())


def _trials(crowd: Crowd, within: Within) -> NDArray[np.bool_]:
    """Which pairs of two people are asked about: (n, n)."""
    trials = ~np.eye(len(crowd.genders), dtype=bool)
    if within in ("gender", "both"):
        trials &= _same(crowd.genders)
    if within in ("nationality", "both"):
        trials &= _same(crowd.countries)
    return trials


def _same(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(values[:, None] == values[None])
