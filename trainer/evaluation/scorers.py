"""What gives scores to trials: vectors, scores that are ready, or any function of media.

A scorer takes probes and, for each, its candidates, and says how near each candidate is; larger
is nearer. Verification is the case of one candidate.
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

_TOGETHER = 512  # trials whose vectors are copied at a time: few enough for a core's cache


class Scorer(Protocol):
    """Scores trials by the paths of their media."""

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """Of (n,) probes and their (n, k) candidates the (n, k) scores."""


@runtime_checkable
class AllPairsScorer(Protocol):
    """A scorer that scores whole galleries at once."""

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Floats:
        """Of (n,) probes and (g,) items the (n, g) scores."""


class VectorScorer:
    """The dot product of vectors, of unit length unless said otherwise."""

    def __init__(self, paths: Sequence[str], vectors: Vectors) -> None:
        if len(paths) != len(vectors):
            raise ValueError(f"{len(paths)} paths go with {len(vectors)} vectors")
        self.vectors = vectors
        self._places = {path: place for place, path in enumerate(paths)}
        self._kept: tuple[Sequence[str], Vectors] | None = None

    def places(self, paths: Sequence[str]) -> Ints:
        """Rows (n,) of these media; BadRequest names the first that has no vector."""
        try:
            return np.fromiter(map(self._places.__getitem__, paths), np.int64, len(paths))
        except KeyError as error:
            absent = sum(path not in self._places for path in paths)
            raise BadRequest(
                f"{absent} of {len(paths)} media of the list have no vector, {error.args[0]!r} the "
                "first; compute them, or give the features by the list's own names."
            ) from None

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """Dot products; a trial's does not depend on any other's."""
        count = len(candidates[0]) if len(candidates) else 0
        answers = self.places(list(chain.from_iterable(candidates)))
        return self.products(self.places(probes), answers.reshape(len(probes), count))

    def products(self, probes: Ints, candidates: Ints) -> Floats:
        """The same (n, k) of rows: a probe's (n,) and its candidates' (n, k)."""
        products = np.empty(candidates.shape, self.vectors.dtype)
        for start in range(0, len(probes), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            asked, answers = self.vectors[probes[part]], self.vectors[candidates[part]]
            np.einsum("nd,nkd->nk", asked, answers, out=products[part])
        return products

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Floats:
        """Dot products of all with all."""
        products: Floats = self.vectors[self.places(probes)] @ self._gallery(gallery).T
        return products

    def _gallery(self, paths: Sequence[str]) -> Vectors:
        """Vectors (g, dim) of a gallery, kept for the next block of the same questions."""
        if self._kept is None or self._kept[0] is not paths:
            self._kept = (paths, self.vectors[self.places(paths)])
        return self._kept[1]


class ReadyScores:
    """Scores (n, k) that somebody else computed of one protocol's trials, or (q, g) of a retrieval.

    Nothing can be asked again of them, so they cannot be audited.
    """

    def __init__(self, scores: Floats) -> None:
        self.scores = scores
