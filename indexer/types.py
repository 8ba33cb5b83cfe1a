"""The central types: media, spaces, and the protocols of extractors, embedders and re-rankers.

Everything that passes between the packages is defined here, without torch.
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
Kind = Literal["image", "audio", "video"]
Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]
OnNote = Callable[[str], None]  # receives sentences on a file that was taken

MODALITIES: tuple[Modality, Modality] = ("face", "voice")
METRICS: tuple[Metric, Metric] = ("cosine", "l2")


class Box(NamedTuple):
    """A rectangle in an upright image, in pixels from its top left corner."""

    left: float
    top: float
    right: float
    bottom: float


@dataclasses.dataclass(frozen=True, slots=True)
class Media:
    """One thing to embed: a face or a segment of speech in a file.

    Attributes:
        path: the file; given as text or path, it becomes absolute.
        modality: face or voice.
        start_s: start in seconds from the start of a recording; for a face in a video the time of
            its frame.
        end_s: end in seconds; None means the end of the file.
        box: the face in pixels, given as any four numbers; None means the whole image.
        data: the decoded content, if it is at hand: a face as uint8 (height, width, 3) RGB, a
            voice as float32 (samples,) mono at 16 kHz. Without it the file is read again.

    Raises:
        BadRequest: a path, modality, time or box is none.
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
    """Return a time as a float; BadRequest for anything else."""
    is_number = not isinstance(value, bool) and isinstance(value, numbers.Real)
    if is_number and 0 <= value < math.inf:
        return float(value)
    raise BadRequest(f"{what} is {value!r}; it must be 0 seconds or more.")


def _box(value: Any) -> Box:
    """Return four numbers as a box; BadRequest for anything else."""
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
        """Return the space in a few words for a message: model, first digits of its hash, size."""
        return f"{self.model} ({self.weights_sha256[:12]}, {self.dim}-d, {self.metric})"


@dataclasses.dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of a list of media.

    Attributes:
        vectors: (n, dim) float32 in the order of the media; rows of rejected items are NaN.
        refusals: the reasons of rejected items, by position.
    """

    vectors: Vectors
    refusals: Mapping[int, str]


def ignore_note(_: str) -> None:
    """Ignore a note."""


class Extractor(Protocol):
    """Finds the items of files."""

    @property
    def settings(self) -> str:
        """The settings in a few words; if they change, every file is read again."""

    def kind(self, path: Path) -> Kind | None:
        """Return the kind of a file by its name; None for other names."""

    def extract(
        self,
        path: Path,
        modality: Modality | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        *,
        on_note: OnNote = ignore_note,
    ) -> Iterator[Media]:
        """Yield the items of one file, at least one.

        Several threads may call it at once.

        Args:
            path: the file.
            modality: face or voice; None means both.
            start_s: start of a time range in seconds. A range (``start_s`` above 0 or ``end_s``
                given) gives exactly one voice of its length, and the faces of the frame at
                ``start_s``.
            end_s: end of the range in seconds.
            on_note: receives sentences on what was lost, left out or chosen in the file.

        Raises:
            RefusedFile: with a reason that a user understands, at the latest in place of the first
                item.
        """


class Embedder(Protocol):
    """Maps media to vectors, each item alone."""

    @property
    def space(self) -> Space:
        """The space of its vectors."""

    def embed(self, media: Sequence[Media]) -> Embedded:
        """Return the vectors of media; no vector depends on the others in the list."""


class Reranker(Protocol):
    """Scores pairs of a query and a candidate jointly; its scores are never indexed."""

    def score(self, query: Media, candidates: Sequence[Media]) -> Vectors:
        """Return (k,) float32 scores, larger is nearer, independent of order and number."""
