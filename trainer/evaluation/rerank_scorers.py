"""Scorers that look at two media or more at once: re-rankers and matching heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from indexer.types import Media, Reranker
from trainer.evaluation.scorers import AllPairsScorer, Floats, VectorScorer

SHORTLIST = 100  # answers of a query that are re-ranked
_TRIALS = 256  # in one forward pass


class PairScorer:
    """A re-ranker's scores of pairs; in a whole gallery, of the nearest by ``first`` only."""

    def __init__(
        self, reranker: Reranker, media: Mapping[str, Media], first: AllPairsScorer
    ) -> None:
        self._reranker, self._media, self._first = reranker, media, first

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """Return scores (n, k) of single pairs; minus infinity for media that cannot be read."""
        rows = [self._of(probe, row) for probe, row in zip(probes, candidates, strict=True)]
        return np.array(rows, np.float32).reshape(len(probes), -1)

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Floats:
        """Return scores (n, g): the nearest in the re-ranker's order, then the others in theirs.

        The nearest have ranks between 0 and 1, the others values below 0.
        """
        similarity = self._first.matrix(probes, gallery)
        scores: Floats = similarity - similarity.max(1, keepdims=True) - 1
        for row, probe in zip(scores, probes, strict=True):
            nearest = np.argsort(-row, kind="stable")[:SHORTLIST]
            reranked = self._of(probe, [gallery[at] for at in nearest])
            values, ranks = np.unique(reranked, return_inverse=True)
            row[nearest] = (1 + ranks) / len(values)
        return scores

    def _of(self, probe: str, candidates: Sequence[str]) -> Floats:
        media = [self._media[path] for path in candidates]
        found = self._reranker.score(self._media[probe], media)
        return np.where(np.isnan(found), -np.inf, found)


class HeadScorer:
    """The matching head of a model, which scores all candidates of a trial together."""

    def __init__(self, network: Any, device: torch.device, vectors: VectorScorer) -> None:
        self._network, self._device, self._vectors = network, device, vectors

    @torch.inference_mode()
    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """Return logits (n, k) of n trials of k candidates, 2 or more."""
        queries = self._take(probes)
        answers = self._take([path for row in candidates for path in row])
        answers = answers.reshape(len(queries), -1, answers.shape[1])
        logits = []
        for start in range(0, len(queries), _TRIALS):
            part = slice(start, start + _TRIALS)
            both = (vectors[part].to(self._device) for vectors in (queries, answers))
            logits.append(self._network.match(*both).cpu().numpy())
        return np.concatenate(logits)

    def _take(self, paths: Sequence[str]) -> torch.Tensor:
        return torch.from_numpy(self._vectors.vectors[self._vectors.places(paths)])
