"""Sources of a data set's items: frozen features, and faces and voices that were decoded before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsearch.models.frontends import face_pixels, voice_windows
from trainer.data import augment
from trainer.data.sets import Ints

FULL_SCALE = np.float32(32768)  # of a 16-bit sample


@dataclasses.dataclass(frozen=True, slots=True)
class FeatureSource:
    """Vectors or maps that another encoder computed, (n, ...); they are never changed at random.

    ``values`` may be mapped from a file: only the rows asked for are read.
    """

    values: NDArray[Any]
    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.values)

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[np.float32]:  # noqa: ARG002
        """(n, ...) float32."""
        return np.asarray(self.values[rows], np.float32)

    def origin(self, row: int) -> str:
        """The path in the feature file."""
        return self.paths[row]


@dataclasses.dataclass(frozen=True, slots=True)
class FaceSource:
    """Square faces (s, s, 3) uint8 brought to ``size``; turned, cut and relit at random."""

    items: Sequence[NDArray[np.uint8]]
    paths: Sequence[str]
    size: int  # pixels a side

    def __len__(self) -> int:
        return len(self.items)

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[np.uint8]:
        """(n, 3, size, size) uint8."""
        return np.stack([self._one(self.items[row], rng) for row in rows.tolist()])

    def origin(self, row: int) -> str:
        """The file."""
        return self.paths[row]

    def _one(self, rgb: NDArray[np.uint8], rng: np.random.Generator | None) -> NDArray[np.uint8]:
        return face_pixels(rgb, self.size) if rng is None else augment.face(rgb, self.size, rng)


@dataclasses.dataclass(frozen=True, slots=True)
class VoiceSource:
    """Voices (samples,) int16 at 16 kHz; one window of ``seconds``, at random with a channel."""

    items: Sequence[NDArray[np.int16]]
    paths: Sequence[str]
    seconds: float

    def __len__(self) -> int:
        return len(self.items)

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[np.float32]:
        """(n, seconds * 16000) float32 in [-1, 1]; without a generator the first window."""
        return np.stack([self._one(self.items[row], rng) for row in rows.tolist()])

    def origin(self, row: int) -> str:
        """The file."""
        return self.paths[row]

    def _one(
        self, samples: NDArray[np.int16], rng: np.random.Generator | None
    ) -> NDArray[np.float32]:
        if rng is not None:
            return augment.voice(samples, self.seconds, rng)
        windows = voice_windows(samples.astype(np.float32) / FULL_SCALE, self.seconds)
        first: NDArray[np.float32] = windows[0]
        return first
