"""What a training step hands to a model."""

from __future__ import annotations

import dataclasses

from torch import Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Faces and voices of one step; the two need not be of the same people.

    ``*_labels`` name the class that both modalities share: the person where faces and voices
    are paired, an attribute such as gender where they are not. ``*_people`` name the person
    within its own modality.
    """

    faces: Tensor  # (n, 3, size, size) uint8
    voices: Tensor  # (m, samples) float32 in [-1, 1], 16 kHz
    face_labels: Tensor  # (n,) int64
    voice_labels: Tensor  # (m,) int64
    face_people: Tensor  # (n,) int64
    voice_people: Tensor  # (m,) int64
