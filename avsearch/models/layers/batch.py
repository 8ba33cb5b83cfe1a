"""What a training step hands to a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

UNKNOWN = -1  # a gender or nationality that is not known


@dataclasses.dataclass(frozen=True, slots=True)
class BatchSide:
    """One modality's items of a step.

    ``labels`` name the class that both modalities share: the person where faces and voices are
    paired, an attribute such as gender where they are not. ``people`` name the person within
    the modality. ``inputs`` are what the model's ``embed_*`` take: faces (n, 3, size, size)
    uint8, voices (n, samples) float32 in [-1, 1] at 16 kHz, or, for a model of frozen
    features, (n, ...) float32 of the shape it was made for.
    """

    inputs: Tensor
    labels: Tensor  # (n,) int64
    people: Tensor  # (n,) int64
    genders: Tensor  # (n,) int64, UNKNOWN where it is
    nationalities: Tensor  # (n,) int64, UNKNOWN where it is
    private: Tensor | None = None  # (n, p) float32, P2VANet's private attributes, NaN if unknown
    teacher_embeddings: Tensor | None = None  # (n, t) float32, unit vectors of another encoder

    def __len__(self) -> int:
        return len(self.labels)

    def each(self, change: Callable[[Tensor], Tensor]) -> BatchSide:
        """The same with every tensor changed."""
        return BatchSide(
            change(self.inputs),
            change(self.labels),
            change(self.people),
            change(self.genders),
            change(self.nationalities),
            None if self.private is None else change(self.private),
            None if self.teacher_embeddings is None else change(self.teacher_embeddings),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Faces and voices of one step; the two need not be of the same people."""

    faces: BatchSide
    voices: BatchSide

    def pin(self) -> Batch:
        """The same in page-locked memory, from which a GPU copies while it computes."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> Batch:
        """The same on a device; from page-locked memory to a GPU nobody waits for the copy."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=device.type == "cuda"))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(self.faces.each(change), self.voices.each(change))
