"""Mean average precision of embeddings, and the AUC of verification within a modality."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors
from trainer.evaluation.metrics import Floats, roc_auc
from trainer.evaluation.retrieval import rank

Ints = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors (n, dim) of one modality, with their people and the labels both modalities share."""

    vectors: Vectors
    people: Ints  # (n,)
    labels: Ints  # (n,)


def label_map(queries: Embeddings, gallery: Embeddings) -> float:
    """Return the mean average precision of retrieving the items of the query's label."""
    scores = queries.vectors @ gallery.vectors.T
    return mean_average_precision(scores, queries.labels, gallery.labels)


def person_map(queries: Embeddings, gallery: Embeddings) -> float:
    """Return the mean average precision of retrieving the items of the query's person."""
    scores = queries.vectors @ gallery.vectors.T
    return mean_average_precision(scores, queries.people, gallery.people)


def mean_average_precision(scores: Floats, queries: Ints, gallery: Ints) -> float:
    """Return the mean average precision over the queries that have a right answer.

    Args:
        scores: (q, g).
        queries: The label of each query, (q,).
        gallery: The label of each item of the gallery, (g,).

    Returns:
        0 to 1; NaN where no query has a right answer.
    """
    values = rank(lambda rows: scores[rows], queries, gallery, cuts=(1,)).average_precision
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def same_person_auc(side: Embeddings) -> float:
    """Return the area under the ROC over all pairs of one modality, by person."""
    first, second = np.triu_indices(len(side.people), 1)
    scores = (side.vectors @ side.vectors.T)[first, second]
    return roc_auc(scores, side.people[first] == side.people[second])
