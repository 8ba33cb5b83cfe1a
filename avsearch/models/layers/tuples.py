"""Matching tuples: an anchor of one modality, its match and k - 1 others of the other modality.

The papers train on fixed lists of tuples. Here the tuples are random combinations of the items of
a step, by torch's generator. So each item is in many tuples, and a resumed training draws the
same ones.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Tuples:
    """Rows of anchors and of their candidates."""

    anchors: Tensor  # (n,) int64
    candidates: Tensor  # (n, k) int64; the first is the match, the others are of other labels

    def __len__(self) -> int:
        return len(self.anchors)


def draw_tuples(anchor_labels: Tensor, candidate_labels: Tensor, k: int) -> Tuples:
    """Return one tuple for each anchor that has both a match and another among the candidates.

    The match and the others are drawn uniformly. An item is in a tuple twice only if an anchor
    has fewer than k - 1 others.

    Args:
        anchor_labels: (a,) int64.
        candidate_labels: (c,) int64.
        k: Candidates in a tuple, at least 2.
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
    """Tuples in both directions: voices as anchors (V-F), faces as anchors (F-V)."""

    voices_ask: Tuples
    faces_ask: Tuples

    def of(self, faces: Tensor, voices: Tensor) -> tuple[Tensor, Tensor]:
        """Return all tuples' anchors (n, dim) and candidates (n, k, dim), V-F before F-V."""
        anchors = voices[self.voices_ask.anchors], faces[self.faces_ask.anchors]
        candidates = faces[self.voices_ask.candidates], voices[self.faces_ask.candidates]
        return torch.cat(anchors), torch.cat(candidates)


def draw_both_ways(face_labels: Tensor, voice_labels: Tensor, k: int) -> BothWays:
    """Return tuples of k candidates for each voice and each face that can be an anchor."""
    return BothWays(
        draw_tuples(voice_labels, face_labels, k), draw_tuples(face_labels, voice_labels, k)
    )
