"""How well a model's vectors order what they should: figures with intervals over people."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors
from trainer.metrics import Bools, average_precisions, people_interval, roc_auc

Ints = NDArray[np.int64]


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


def label_precision(queries: Embeddings, gallery: Embeddings) -> Figure:
    """How often the first answer has the query's label.

    Chance is the share of the gallery that has it, averaged over the queries.
    """
    relevant = queries.labels[:, None] == gallery.labels[None]
    first = (queries.vectors @ gallery.vectors.T).argmax(1)
    hits = relevant[np.arange(len(first)), first].astype(float)
    return _figure(hits, queries, float(relevant.mean()))


def label_map(queries: Embeddings, gallery: Embeddings) -> Figure:
    """Mean average precision of retrieving the gallery's items of the query's label.

    Queries whose label is not in the gallery have no answer and do not count.
    """
    return _mean_precision(queries, gallery, queries.labels[:, None] == gallery.labels[None])


def person_map(queries: Embeddings, gallery: Embeddings) -> Figure:
    """Mean average precision of retrieving the gallery's items of the query's own person.

    Queries whose person is not in the gallery have no answer and do not count.
    """
    return _mean_precision(queries, gallery, queries.people[:, None] == gallery.people[None])


def same_person_auc(side: Embeddings) -> float:
    """Area under the ROC of telling pairs of one person from pairs of two, within a modality."""
    first, second = np.triu_indices(len(side.people), 1)
    scores = (side.vectors @ side.vectors.T)[first, second]
    return roc_auc(scores, side.people[first] == side.people[second])


def _mean_precision(queries: Embeddings, gallery: Embeddings, relevant: Bools) -> Figure:
    """Over the queries that have an answer; NaN where none has."""
    asked = relevant.any(1)
    values = average_precisions((queries.vectors @ gallery.vectors.T)[asked], relevant[asked])
    part = Embeddings(queries.vectors[asked], queries.people[asked], queries.labels[asked])
    return _figure(values, part, float(relevant[asked].mean()) if asked.any() else float("nan"))


def _figure(values: NDArray[np.float64], queries: Embeddings, chance: float) -> Figure:
    value, lower, upper = people_interval(values, queries.people)
    people = len(np.unique(queries.people))
    return Figure(value, lower, upper, chance, len(values), people)
