"""Sources of a data set's items: frozen features, and decoded faces and voices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avsearch.models.inputs import face_pixels, voice_windows
from trainer.data import augment
from trainer.data.dataset import DataSet, InputSource, Ints, Side
from trainer.data.pcm import waveform


class Store(Protocol):
    """Decoded items by row: a list in memory, or shards that are mapped when they are used."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, row: int, /) -> NDArray[Any]:
        """Return the item of a row."""


@dataclasses.dataclass(frozen=True, slots=True)
class FeatureSource:
    """Vectors or maps (n, ...) of another encoder, which are never augmented.

    ``values`` may be mapped from a file: only the rows that are used are read.
    """

    values: NDArray[Any]
    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.values)

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[np.float32]:  # noqa: ARG002
        """Return the features of rows, (n, ...) float32."""
        return np.asarray(self.values[rows], np.float32)

    def origin(self, row: int) -> str:
        """Return the path in the feature file."""
        return self.paths[row]

    @property
    def features(self) -> tuple[int, ...]:
        """The shape of one vector or map."""
        return tuple(self.values.shape[1:])


@dataclasses.dataclass(frozen=True, slots=True)
class AugmentedFeatures:
    """Features (copies, n, ...) of several augmented copies of every item.

    A batch has a random copy of each of its items, or the first copy without a generator.
    """

    copies: NDArray[np.float32]
    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Return the features of rows, (n, ...)."""
        drawn = 0 if rng is None else rng.integers(len(self.copies), size=len(rows))
        features: NDArray[np.float32] = self.copies[drawn, rows]
        return features

    def origin(self, row: int) -> str:
        """Return the path of the file."""
        return self.paths[row]

    @property
    def features(self) -> tuple[int, ...]:
        """The shape of one item's features."""
        return tuple(self.copies.shape[2:])


@dataclasses.dataclass(frozen=True, slots=True)
class FaceSource:
    """Square faces (s, s, 3) uint8, resized to ``size`` and augmented by ``change``."""

    items: Store
    paths: Sequence[str]
    size: int  # pixels a side
    change: Callable[..., NDArray[np.uint8]] = augment.face

    def __len__(self) -> int:
        return len(self.items)

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[np.uint8]:
        """Return the pixels of rows, (n, 3, size, size) uint8."""
        faces = [self.items[row] for row in rows.tolist()]
        if rng is None:
            return np.stack([face_pixels(face, self.size) for face in faces])
        return np.stack([self.change(face, self.size, rng) for face in faces])

    def origin(self, row: int) -> str:
        """Return the path of the file."""
        return self.paths[row]

    @property
    def features(self) -> tuple[int, ...]:
        """Empty: these are media."""
        return ()


@dataclasses.dataclass(frozen=True, slots=True)
class VoiceSource:
    """Voices (samples,) int16 at 16 kHz, cut to one window and augmented by ``change``."""

    items: Store
    paths: Sequence[str]
    seconds: float
    change: Callable[..., NDArray[np.float32]] = augment.voice

    def __len__(self) -> int:
        return len(self.items)

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Return a window of each row, (n, seconds * 16000) float32 in [-1, 1].

        A random one, or the first without a generator.
        """
        voices = [self.items[row] for row in rows.tolist()]
        if rng is None:
            return np.stack([voice_windows(waveform(one), self.seconds)[0] for one in voices])
        return np.stack([self.change(one, self.seconds, rng) for one in voices])

    def origin(self, row: int) -> str:
        """Return the path of the file."""
        return self.paths[row]

    @property
    def features(self) -> tuple[int, ...]:
        """Empty: these are media."""
        return ()


def with_input_sizes(data: DataSet, face_size: int, voice_seconds: float) -> DataSet:
    """Return a data set whose media have these sizes; frozen features stay as they are."""
    faces, voices = data.faces.source, data.voices.source
    if isinstance(faces, FaceSource):
        resized = dataclasses.replace(faces, size=face_size)
        data = data.with_side("face", dataclasses.replace(data.faces, source=resized))
    if isinstance(voices, VoiceSource):
        cut = dataclasses.replace(voices, seconds=voice_seconds)
        data = data.with_side("voice", dataclasses.replace(data.voices, source=cut))
    return data


def decoded(side: Side) -> list[NDArray[Any]]:
    """Return the decoded items of a side whose source is faces or voices."""
    assert isinstance(side.source, FaceSource | VoiceSource)
    return [side.source.items[row] for row in side.rows.tolist()]


@dataclasses.dataclass(frozen=True, slots=True)
class JoinedSource:
    """Several sources of one kind, one after the other."""

    parts: Sequence[InputSource]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def gather(self, rows: Ints, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return the inputs of rows, from any of the sources."""
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
        """Return the path of the file."""
        for part in self.parts:
            if row < len(part):
                return part.origin(row)
            row -= len(part)
        raise IndexError(row)

    @property
    def features(self) -> tuple[int, ...]:
        """The shape of the features of every source."""
        return self.parts[0].features
