"""Sources of a data set's items: frozen features, and faces and voices that were decoded before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avsearch.models.inputs import face_pixels, voice_windows
from trainer.data import augment
from trainer.data.dataset import InputSource, Ints
from trainer.data.pcm import waveform


class Store(Protocol):
    """Decoded items by row: a list in memory, or shards that are mapped when asked for."""

    def __len__(self) -> int:
        """How many items there are."""

    def __getitem__(self, row: int, /) -> NDArray[Any]:
        """The item of a row."""


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

    @property
    def features(self) -> tuple[int, ...]:
        """The shape of one vector or map."""
        return tuple(self.values.shape[1:])


@dataclasses.dataclass(frozen=True, slots=True)
class FaceSource:
    """Square faces (s, s, 3) uint8 brought to ``size``; turned, cut and relit at random."""

    items: Store
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

    @property
    def features(self) -> tuple[int, ...]:
        """None: media."""
        return ()

    def _one(self, rgb: NDArray[np.uint8], rng: np.random.Generator | None) -> NDArray[np.uint8]:
        return face_pixels(rgb, self.size) if rng is None else augment.face(rgb, self.size, rng)


@dataclasses.dataclass(frozen=True, slots=True)
class VoiceSource:
    """Voices (samples,) int16 at 16 kHz; one window of ``seconds``, at random with a channel."""

    items: Store
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

    @property
    def features(self) -> tuple[int, ...]:
        """None: media."""
        return ()

    def _one(
        self, samples: NDArray[np.int16], rng: np.random.Generator | None
    ) -> NDArray[np.float32]:
        if rng is not None:
            return augment.voice(samples, self.seconds, rng)
        windows = voice_windows(waveform(samples), self.seconds)
        first: NDArray[np.float32] = windows[0]
        return first


@dataclasses.dataclass(frozen=True, slots=True)
class JoinedSource:
    """Several sources of one kind, the rows of one after those of another."""

    parts: Sequence[InputSource]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[Any]:
        """The inputs in the order asked, whichever part they are of."""
        ends = np.cumsum([len(part) for part in self.parts])
        which = np.searchsorted(ends, rows, side="right")
        gathered: NDArray[Any] | None = None
        for at in np.unique(which):
            own = which == at
            inputs = self.parts[at].gather(rows[own] - (ends[at] - len(self.parts[at])), rng)
            if gathered is None:
                gathered = np.empty((len(rows), *inputs.shape[1:]), inputs.dtype)
            gathered[own] = inputs
        if gathered is None:
            return self.parts[0].gather(rows, rng)
        return gathered

    def origin(self, row: int) -> str:
        """That of the part."""
        for part in self.parts:
            if row < len(part):
                return part.origin(row)
            row -= len(part)
        raise IndexError(row)

    @property
    def features(self) -> tuple[int, ...]:
        """Those of every part."""
        return self.parts[0].features
