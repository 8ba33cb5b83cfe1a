"""What gives scores to trials: vectors, a table of ready scores, or any function of media.

A scorer takes probes and, for each, its candidates, and says how near each candidate is; larger
is nearer. Verification is the case of one candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from indexer.errors import BadRequest
from indexer.types import Vectors

Scores = NDArray[np.floating]
Paths = NDArray[np.str_]


class Scorer(Protocol):
    """Scores trials by the paths of their media."""

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Scores:
        """Of (n,) probes and their (n, k) candidates the (n, k) scores."""


@runtime_checkable
class AllPairsScorer(Protocol):
    """A scorer that scores whole galleries at once."""

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Scores:
        """Of (n,) probes and (g,) items the (n, g) scores."""


class VectorScorer:
    """The dot product of vectors, of unit length unless said otherwise."""

    def __init__(self, paths: Sequence[str], vectors: Vectors) -> None:
        if len(paths) != len(vectors):
            raise ValueError(f"{len(paths)} paths go with {len(vectors)} vectors")
        self.vectors = vectors
        self._places = {path: place for place, path in enumerate(paths)}
        self._kept: tuple[Sequence[str], Vectors] | None = None

    def places(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Rows (n,) of these media; BadRequest names the first that has no vector."""
        try:
            return np.fromiter(map(self._places.__getitem__, paths), np.int64, len(paths))
        except KeyError as error:
            absent = sum(path not in self._places for path in paths)
            raise BadRequest(
                f"{absent} of {len(paths)} media of the list have no vector, {error.args[0]!r} the "
                "first; compute them, or give the features by the list's own names."
            ) from None

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Scores:
        """Dot products; a trial's does not depend on any other's."""
        asked = self.vectors[self.places(probes)]
        count = len(candidates[0]) if len(candidates) else 0
        answers = self.vectors[self.places(list(chain.from_iterable(candidates)))]
        products: Scores = np.einsum("nd,nkd->nk", asked, answers.reshape(len(asked), count, -1))
        return products

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Scores:
        """Dot products of all with all."""
        products: Scores = self.vectors[self.places(probes)] @ self._gallery(gallery).T
        return products

    def _gallery(self, paths: Sequence[str]) -> Vectors:
        """Vectors (g, dim) of a gallery, kept for the next block of the same questions."""
        if self._kept is None or self._kept[0] is not paths:
            self._kept = (paths, self.vectors[self.places(paths)])
        return self._kept[1]


class ReadyScores:
    """Scores that somebody else computed, by pair of paths."""

    def __init__(self, scores: Mapping[tuple[str, str], float]) -> None:
        self._scores = scores

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Scores:
        """What the table says; BadRequest names a pair that it lacks."""
        return np.array(
            [
                [self._of(probe, candidate) for candidate in row]
                for probe, row in zip(probes, candidates, strict=True)
            ]
        )

    def _of(self, probe: str, candidate: str) -> float:
        found = self._scores.get((probe, candidate), self._scores.get((candidate, probe)))
        if found is None:
            raise BadRequest(
                f"There is no score for {probe!r} and {candidate!r}; the table must have all."
            )
        return found
