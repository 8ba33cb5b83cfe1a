"""The batch of a training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

UNKNOWN = -1  # the label of an unknown gender or nationality


@dataclasses.dataclass(frozen=True, slots=True)
class BatchSide:
    """The items of one modality.

    Attributes:
        inputs: Faces (n, 3, size, size) uint8, voices (n, samples) float32 in [-1, 1] at 16 kHz,
            or the frozen features (n, ...) float32 that the model takes.
        labels: (n,) int64, the class that both modalities share: the person if faces and voices
            are paired, else an attribute such as gender.
        people: (n,) int64, the person within the modality.
        genders, nationalities: (n,) int64, or UNKNOWN.
        private: (n, p) float32, P2VANet's private attributes, NaN if unknown.
        teacher_embeddings: (n, t) float32, unit vectors of another encoder.
    """

    inputs: Tensor
    labels: Tensor
    people: Tensor
    genders: Tensor
    nationalities: Tensor
    private: Tensor | None = None
    teacher_embeddings: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def each(self, change: Callable[[Tensor], Tensor]) -> BatchSide:
        """Return the side with every tensor changed."""
        changed: dict[str, Any] = {
            field.name: None if value is None else change(value)
            for field in dataclasses.fields(self)
            for value in (getattr(self, field.name),)
        }
        return BatchSide(**changed)


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Faces and voices of one step; they need not be of the same people."""

    faces: BatchSide
    voices: BatchSide

    def pin(self) -> Batch:
        """Return the batch in page-locked memory, which a GPU can copy while it computes."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; copies from page-locked memory are asynchronous."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=device.type == "cuda"))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(self.faces.each(change), self.voices.each(change))
