"""Scorers that look at two media or more at once; their figures stand in columns of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from indexer.types import Media, Reranker
from trainer.evaluation.scorers import AllPairsScorer, Floats, VectorScorer

SHORTLIST = 100  # answers of a query that are ordered anew
_TRIALS = 256  # of one forward pass


class PairScorer:
    """A re-ranker's scores of pairs; in a whole gallery, of the nearest by ``first`` alone."""

    def __init__(
        self, reranker: Reranker, media: Mapping[str, Media], first: AllPairsScorer
    ) -> None:
        self._reranker, self._media, self._first = reranker, media, first

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """(n, k) scores, each pair's alone; minus infinity for what cannot be read."""
        rows = [self._of(probe, row) for probe, row in zip(probes, candidates, strict=True)]
        return np.array(rows, np.float32).reshape(len(probes), -1)

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Floats:
        """(n, g): the nearest in the re-ranker's order, the others behind them in their own.

        Values are ranks between 0 and 1 and, of the others, below 0.
        """
        nearness = self._first.matrix(probes, gallery)
        scores: Floats = nearness - nearness.max(1, keepdims=True) - 1
        for row, probe in zip(scores, probes, strict=True):
            nearest = np.argsort(-row, kind="stable")[:SHORTLIST]
            again = self._of(probe, [gallery[at] for at in nearest])
            values, ranks = np.unique(again, return_inverse=True)
            row[nearest] = (1 + ranks) / len(values)
        return scores

    def _of(self, probe: str, candidates: Sequence[str]) -> Floats:
        media = [self._media[path] for path in candidates]
        found = self._reranker.score(self._media[probe], media)
        return np.where(np.isnan(found), -np.inf, found)


class HeadScorer:
    """The matching head of a model: it sees all candidates of a trial, and scores them together."""

    def __init__(self, network: Any, device: torch.device, vectors: VectorScorer) -> None:
        self._network, self._device, self._vectors = network, device, vectors

    @torch.inference_mode()
    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """(n, k) logits of n trials of k candidates, 2 or more."""
        asked = self._take(probes)
        shown = self._take([path for row in candidates for path in row])
        shown = shown.reshape(len(asked), -1, shown.shape[1])
        parts = [
            self._network.match(
                asked[start : start + _TRIALS].to(self._device),
                shown[start : start + _TRIALS].to(self._device),
            )
            .cpu()
            .numpy()
            for start in range(0, len(asked), _TRIALS)
        ]
        return np.concatenate(parts)

    def _take(self, paths: Sequence[str]) -> torch.Tensor:
        return torch.from_numpy(self._vectors.vectors[self._vectors.places(paths)])
