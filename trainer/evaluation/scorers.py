"""Scorers of trials: vectors, ready scores, or any function of media.

A scorer takes probes and the candidates of each, and scores how near each candidate is; larger is
nearer. Verification is the case of one candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from indexer.errors import BadRequest
from indexer.types import Vectors

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

_CHUNK = 512  # trials whose vectors are copied at a time: few enough for a core's cache


class Scorer(Protocol):
    """Scores trials by the paths of their media."""

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """Return scores (n, k) of n probes and their k candidates each."""


@runtime_checkable
class AllPairsScorer(Protocol):
    """A scorer that scores whole galleries at once."""

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Floats:
        """Return scores (n, g) of all probes with all g items."""


class VectorScorer:
    """Dot products of vectors."""

    def __init__(self, paths: Sequence[str], vectors: Vectors) -> None:
        if len(paths) != len(vectors):
            raise ValueError(f"{len(paths)} paths go with {len(vectors)} vectors")
        self.vectors = vectors
        self._places = {path: place for place, path in enumerate(paths)}
        self._cached: tuple[Sequence[str], Vectors] | None = None

    def places(self, paths: Sequence[str]) -> Ints:
        """Return the vector rows (n,) of these items.

        Raises:
            BadRequest: An item has no vector.
        """
        try:
            return np.fromiter(map(self._places.__getitem__, paths), np.int64, len(paths))
        except KeyError as error:
            absent = sum(path not in self._places for path in paths)
            raise BadRequest(
                f"{absent} of {len(paths)} media of the list have no vector, {error.args[0]!r} the "
                "first; compute them, or give the features by the list's own names."
            ) from None

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """Return dot products (n, k); a trial does not depend on the others."""
        count = len(candidates[0]) if len(candidates) else 0
        answers = self.places(list(chain.from_iterable(candidates)))
        return self.products(self.places(probes), answers.reshape(len(probes), count))

    def products(self, probes: Ints, candidates: Ints) -> Floats:
        """Return dot products (n, k) of vector rows: probes (n,) and candidates (n, k)."""
        products = np.empty(candidates.shape, self.vectors.dtype)
        for start in range(0, len(probes), _CHUNK):
            part = slice(start, start + _CHUNK)
            queries, answers = self.vectors[probes[part]], self.vectors[candidates[part]]
            np.einsum("nd,nkd->nk", queries, answers, out=products[part])
        return products

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Floats:
        """Return dot products (n, g) of all pairs."""
        products: Floats = self.vectors[self.places(probes)] @ self._gallery(gallery).T
        return products

    def _gallery(self, paths: Sequence[str]) -> Vectors:
        """The vectors (g, dim) of a gallery, cached for the next block of queries."""
        if self._cached is None or self._cached[0] is not paths:
            self._cached = (paths, self.vectors[self.places(paths)])
        return self._cached[1]


class ReadyScores:
    """Scores (n, k) of one protocol's trials from a file, or (q, g) of a retrieval."""

    def __init__(self, scores: Floats) -> None:
        self.scores = scores
