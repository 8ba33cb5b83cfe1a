"""How well a model's vectors order what they should: figures with intervals over people."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors
from trainer.evaluation.bootstrap import PersonBootstrap, interval
from trainer.evaluation.metrics import roc_auc
from trainer.evaluation.retrieval import rank_vectors

Ints = NDArray[np.int64]

_DRAWS = 2000


@dataclasses.dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors (n, dim) of one modality, whose they are, and the label they share."""

    vectors: Vectors
    people: Ints  # (n,)
    labels: Ints  # (n,)


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A figure, its 95 % interval over people, what chance gives, and the counts behind it."""

    value: float
    lower: float
    upper: float
    chance: float
    queries: int
    people: int

    def __str__(self) -> str:
        return (
            f"{self.value:.3f} [{self.lower:.3f}, {self.upper:.3f}], chance {self.chance:.3f} "
            f"({self.queries} queries of {self.people} people)"
        )


def label_map(queries: Embeddings, gallery: Embeddings) -> Figure:
    """Mean average precision of retrieving the gallery's items of the query's label.

    Queries whose label is not in the gallery have no answer and do not count.
    """
    return _mean_precision(queries, gallery, queries.labels, gallery.labels)


def person_map(queries: Embeddings, gallery: Embeddings) -> Figure:
    """Mean average precision of retrieving the gallery's items of the query's own person.

    Queries whose person is not in the gallery have no answer and do not count.
    """
    return _mean_precision(queries, gallery, queries.people, gallery.people)


def same_person_auc(side: Embeddings) -> float:
    """Area under the ROC of telling pairs of one person from pairs of two, within a modality."""
    first, second = np.triu_indices(len(side.people), 1)
    scores = (side.vectors @ side.vectors.T)[first, second]
    return roc_auc(scores, side.people[first] == side.people[second])


def _mean_precision(queries: Embeddings, gallery: Embeddings, asked: Ints, labels: Ints) -> Figure:
    """Over the queries that have an answer; NaN where none has."""
    ranking = rank_vectors(queries.vectors, gallery.vectors, asked, labels, cuts=(1,))
    known = ranking.relevant > 0
    part = Embeddings(queries.vectors[known], queries.people[known], queries.labels[known])
    return _figure(ranking.average_precision[known], part, ranking.relevant[known], gallery)


def _figure(
    values: NDArray[np.float64], queries: Embeddings, relevant: Ints, gallery: Embeddings
) -> Figure:
    """The mean over the queries; chance from how many of the gallery are right for each."""
    if not len(values):
        return Figure(float("nan"), float("nan"), float("nan"), float("nan"), 0, 0)
    names, people = np.unique(queries.people, return_inverse=True)
    lower, upper = interval(PersonBootstrap(len(names), draws=_DRAWS).mean(values, people))
    chance = float(relevant.mean() / len(gallery.people))
    return Figure(float(values.mean()), lower, upper, chance, len(values), len(names))
