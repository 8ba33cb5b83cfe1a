"""A recording to annotate: a file, or samples in memory; read in blocks, as often as needed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from avsearch.media.audio import (
    SAMPLE_RATE,
    Samples,
    cut_blocks,
    sound_has_gaps,
    stream_sound,
    stream_waveform,
)
from avsearch.media.speech_segments import Span
from indexer.errors import BadRequest
from indexer.runtime.atomic import absolute

_IN_MEMORY: Final = "recording"
Heard = Callable[[float], None]
OnGap = Callable[[float, float], None]  # receives the seconds heard before a gap, and its length


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """What is annotated. ``path`` is None for samples in memory; ``name`` is its file's stem.

    ``stream`` returns its sound: on the clock of the file with silence in its gaps, or, if
    ``clock`` is "sound", without them. ``gapless`` does the latter and reports the gaps. ``notes``
    are sentences on what was lost, left out or chosen between.
    """

    name: str
    path: Path | None
    stream: Callable[[], Iterator[Samples]] = dataclasses.field(repr=False)
    gapless: Callable[[OnGap], Iterator[Samples]] | None = dataclasses.field(
        default=None, repr=False
    )
    clock: Literal["file", "sound"] = "file"
    notes: list[str] = dataclasses.field(default_factory=list, repr=False)

    @property
    def shown(self) -> Path:
        """What items and messages call it."""
        return self.path or Path(self.name)

    def said(self) -> tuple[str, ...]:
        """Return the notes with the name of the recording, each once."""
        return tuple(f"{self.shown.name}: {note}" for note in dict.fromkeys(self.notes))

    def without_gaps(self, on_gap: OnGap) -> Recording:
        """Return the recording on the clock of its sound; ``on_gap`` receives the gaps."""
        if self.gapless is None:
            return self
        stream = functools.partial(self.gapless, on_gap)
        return dataclasses.replace(self, stream=stream, clock="sound")

    def has_gaps(self) -> bool:
        """Return True if the file may have gaps in its sound. Nothing is decoded."""
        return self.path is not None and sound_has_gaps(self.path)

    def cut(
        self, spans: Iterable[Span], heard: Heard = lambda _: None
    ) -> Iterator[tuple[Span, Samples]]:
        """Each span with its float32 (samples,) at 16 kHz, in one pass; memory holds one span.

        The spans are in order of their starts. What reaches beyond the end comes short, its span
        too. ``heard`` is told the seconds that were read, at last those of the whole recording,
        which is read to its end. Raises RefusedFile for a sound that cannot be read.
        """
        blocks = _counted(self.stream(), heard)
        wanted = list(spans)
        for span, samples in zip(wanted, cut_blocks(blocks, wanted), strict=True):
            end_s = min(span.end_s, span.start_s + len(samples) / SAMPLE_RATE)
            yield (span if end_s > span.end_s - 1e-4 else Span(span.start_s, end_s)), samples
        for _ in blocks:
            pass


def _counted(blocks: Iterator[Samples], heard: Heard) -> Iterator[Samples]:
    samples = 0
    for block in blocks:
        samples += len(block)
        heard(samples / SAMPLE_RATE)
        yield block


def open_recording(source: Any) -> Recording:
    """A recording of a file, or of what pyannote passes around: waveform and sample_rate.

    The waveform is (samples,) or (channels, samples), a tensor or an array; ``uri`` is its name.
    Raises BadRequest for anything else.
    """
    if isinstance(source, Recording):
        return source
    if isinstance(source, str | Path):
        return _in_file(absolute(source))  # it is read when the first block is asked for
    if isinstance(source, Mapping) and "audio" in source and "waveform" not in source:
        return open_recording(source["audio"])
    if not isinstance(source, Mapping) or not {"waveform", "sample_rate"} <= source.keys():
        raise BadRequest(
            "A recording is a file, or a mapping with 'waveform' and 'sample_rate'; "
            f"this is {type(source).__name__}."
        )
    return _in_memory(source)


def _in_file(path: Path) -> Recording:
    notes: list[str] = []

    def gapless(on_gap: OnGap) -> Iterator[Samples]:
        return stream_sound(path, on_note=notes.append, on_gap=on_gap)

    stream = functools.partial(stream_sound, path, on_note=notes.append)
    return Recording(path.stem, path, stream, gapless, notes=notes)


def _in_memory(source: Mapping[str, Any]) -> Recording:
    name = str(source.get("uri") or _IN_MEMORY)
    waveform = np.asarray(source["waveform"])
    if waveform.dtype.kind not in "fiu" or not 1 <= waveform.ndim <= 2 or not waveform.size:
        raise BadRequest(
            f"The waveform is {waveform.dtype} of shape {waveform.shape}; "
            "give numbers as (samples,) or (channels, samples)."
        )
    rate = int(source["sample_rate"])
    floats = waveform if waveform.dtype.kind == "f" else _scaled(waveform)
    return Recording(name, None, lambda: stream_waveform(Path(name), floats, rate))


def _scaled(waveform: np.ndarray[Any, np.dtype[Any]]) -> Samples:
    """Whole numbers to [-1, 1]."""
    limits = np.iinfo(waveform.dtype)
    middle = 0 if limits.min < 0 else (int(limits.max) + 1) // 2
    return ((waveform.astype(np.float64) - middle) / (int(limits.max) + 1 - middle)).astype(
        np.float32
    )
