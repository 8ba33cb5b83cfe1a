"""The central types: media, spaces, and what an index asks of whoever reads media.

Everything that passes between the packages is defined here, without torch, so that a program
that only searches stays light.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.errors import BadRequest
from indexer.runtime.atomic import absolute

Modality = Literal["face", "voice"]
Metric = Literal["cosine", "l2"]
Kind = Literal["picture", "sound", "video"]
Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]
OnNote = Callable[[str], None]  # receives a sentence about a file that was taken

MODALITIES: tuple[Modality, Modality] = ("face", "voice")
METRICS: tuple[Metric, Metric] = ("cosine", "l2")


class Box(NamedTuple):
    """A rectangle in an upright picture, in pixels from its top left corner."""

    left: float
    top: float
    right: float
    bottom: float


@dataclasses.dataclass(frozen=True, slots=True)
class Media:
    """One thing to embed: a face in a file, or a stretch of speech in one.

    ``start_s`` and ``end_s`` are seconds from the start of a sound or video; ``end_s`` None
    means to the end. For a face in a video ``start_s`` is the time of its frame. ``box`` None
    means the whole picture. ``data`` is the decoded content where whoever found the item has
    it in hand, so that no file is decoded twice: a face as uint8 (height, width, 3) RGB, a
    voice as float32 (samples,) mono at 16 kHz. Without it the file is read again.

    The path may be given as text, and becomes absolute; a box may be any four numbers. Raises
    BadRequest for what is no path, modality, time or box.
    """

    path: Path
    modality: Modality
    start_s: float = 0.0
    end_s: float | None = None
    box: Box | None = None
    data: NDArray[Any] | None = dataclasses.field(default=None, repr=False, compare=False)

    if TYPE_CHECKING:

        def __init__(
            self,
            path: Path | str,
            modality: Modality,
            start_s: float = 0.0,
            end_s: float | None = None,
            box: Box | tuple[float, float, float, float] | None = None,
            data: NDArray[Any] | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        put = object.__setattr__
        if not (isinstance(self.path, Path) and self.path.is_absolute()):
            put(self, "path", absolute(self.path))
        if not isinstance(self.modality, str) or self.modality not in MODALITIES:
            raise BadRequest(f"The modality is {self.modality!r}; it is face or voice.")
        if type(self.start_s) is not float or not 0 <= self.start_s < math.inf:
            put(self, "start_s", _seconds("start_s", self.start_s))
        end_s = self.end_s
        if end_s is not None and (type(end_s) is not float or not 0 <= end_s < math.inf):
            put(self, "end_s", _seconds("end_s", end_s))
        if self.box is not None and type(self.box) is not Box:
            put(self, "box", _box(self.box))


def _seconds(what: str, value: Any) -> float:
    """A time as a float; BadRequest for what is none."""
    is_number = not isinstance(value, bool) and isinstance(value, numbers.Real)
    if is_number and 0 <= value < math.inf:
        return float(value)
    raise BadRequest(f"{what} is {value!r}; it must be 0 seconds or more.")


def _box(value: Any) -> Box:
    """Four numbers as a box; BadRequest for anything else."""
    try:
        left, top, right, bottom = map(float, value)
    except (TypeError, ValueError) as error:
        raise BadRequest(
            f"The box is {value!r}; give left, top, right, bottom in pixels."
        ) from error
    return Box(left, top, right, bottom)


@dataclasses.dataclass(frozen=True, slots=True)
class Space:
    """The identity of an embedding space; vectors of two spaces are never compared."""

    model: str
    weights_sha256: str
    dim: int
    metric: Metric

    def describe(self) -> str:
        """The space in a few words for a message: model, first digits of its hash, size."""
        return f"{self.model} ({self.weights_sha256[:12]}, {self.dim}-d, {self.metric})"


@dataclasses.dataclass(frozen=True, slots=True)
class Embedded:
    """What an embedder made of a list of media.

    ``vectors`` is (n, dim) float32, one row an item, in the order asked; the rows of refused
    items are NaN. ``refusals`` maps their positions to a reason a user understands.
    """

    vectors: Vectors
    refusals: Mapping[int, str]


def ignore_note(_: str) -> None:
    """Drop a note, for callers that show none."""


class Extractor(Protocol):
    """Answers what is in a file."""

    @property
    def settings(self) -> str:
        """How files are looked into, in a few words; a change makes every file new."""

    def kind(self, path: Path) -> Kind | None:
        """What a file claims to be by its name; None where its name is not one of media."""

    def extract(
        self,
        path: Path,
        modality: Modality | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        *,
        on_note: OnNote = ignore_note,
    ) -> Iterator[Media]:
        """Yield the items of one file, one at a time; at least one.

        ``modality`` leaves the other one out. A range of time (``start_s`` above 0 or ``end_s``
        given, in seconds) is one voice, exactly so long, and the faces of the frame at
        ``start_s``. ``on_note`` is told in a sentence each what of the file was lost, left out or
        chosen between. May be called from several threads at once.
        Raises RefusedFile with a reason a user understands, at the latest in place of the
        first item.
        """


class Embedder(Protocol):
    """Maps media to vectors, each item alone."""

    @property
    def space(self) -> Space:
        """The space its vectors live in."""

    def embed(self, media: Sequence[Media]) -> Embedded:
        """Vectors of a list of media; no vector depends on its neighbours in the list."""


class Reranker(Protocol):
    """Scores candidates against a query jointly; never indexed."""

    def score(self, query: Media, candidates: Sequence[Media]) -> Vectors:
        """(k,) float32 scores, larger is nearer, free of the candidates' order and number."""
