"""Matching tuples: an anchor of one modality, its match and k - 1 others of the other modality.

The papers train on lists of tuples drawn beforehand. Ours are drawn from the items of a step, by
torch's own generator, so that each item serves in many tuples and a resumed training draws the
same ones.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Tuples:
    """Rows of the side that asks and of the side that answers."""

    anchors: Tensor  # (n,) int64
    candidates: Tensor  # (n, k) int64; the first is the match, the others are of other labels

    def __len__(self) -> int:
        return len(self.anchors)


def draw_tuples(anchor_labels: Tensor, candidate_labels: Tensor, k: int) -> Tuples:
    """One tuple for each anchor that has both a match and another among the candidates.

    Takes labels (a,) and (c,) of both sides. The match and the k - 1 others (k at least 2) are
    drawn evenly; an item is twice in a tuple only where an anchor has fewer than k - 1 others.
    """
    equal = anchor_labels[:, None] == candidate_labels[None]  # (a, c)
    anchors = (equal.any(1) & ~equal.all(1)).nonzero().squeeze(1)
    if not len(anchors):
        return Tuples(anchors, anchors.new_empty(0, k))
    matches = equal[anchors].float()
    others = 1 - matches
    few = bool((others.sum(1) < k - 1).any())
    drawn = torch.multinomial(matches, 1), torch.multinomial(others, k - 1, replacement=few)
    return Tuples(anchors, torch.cat(drawn, 1))


@dataclasses.dataclass(frozen=True, slots=True)
class BothWays:
    """Tuples in both directions: a voice asks among faces (V-F), a face among voices (F-V)."""

    voices_ask: Tuples
    faces_ask: Tuples

    def of(self, faces: Tensor, voices: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of all tuples, V-F before F-V: anchors (n, dim), candidates (n, k, dim)."""
        anchors = voices[self.voices_ask.anchors], faces[self.faces_ask.anchors]
        candidates = faces[self.voices_ask.candidates], voices[self.faces_ask.candidates]
        return torch.cat(anchors), torch.cat(candidates)


def draw_both_ways(face_labels: Tensor, voice_labels: Tensor, k: int) -> BothWays:
    """Tuples of k candidates for each voice and each face that can ask."""
    return BothWays(
        draw_tuples(voice_labels, face_labels, k), draw_tuples(face_labels, voice_labels, k)
    )
