"""A recording to annotate: a file, or samples in memory, read in blocks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from avsearch.media.audio import audio_has_gaps, cut_blocks, stream_audio, stream_waveform
from avsearch.media.samples import SAMPLE_RATE, Samples
from avsearch.media.speech_segments import Span
from indexer.errors import BadRequest
from indexer.runtime.atomic import absolute

_NAME_IN_MEMORY: Final = "recording"
ProgressCallback = Callable[[float], None]  # receives the seconds that were read
OnGap = Callable[[float, float], None]  # receives the seconds of audio before a gap, and its length


def ignore_progress(_: float) -> None:
    """Do nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """A recording to annotate.

    Attributes:
        name: The stem of its file, or the ``uri`` of samples in memory.
        path: Its file; None for samples in memory.
        stream: Returns its audio in blocks: on the clock of the file with silence in its gaps, or,
            if ``clock`` is "sound", without the gaps.
        stream_gapless: Returns its audio without gaps, and reports them.
        clock: The clock of ``stream``.
        notes: Sentences on what was lost, left out or chosen between.
    """

    name: str
    path: Path | None
    stream: Callable[[], Iterator[Samples]] = dataclasses.field(repr=False)
    stream_gapless: Callable[[OnGap], Iterator[Samples]] | None = dataclasses.field(
        default=None, repr=False
    )
    clock: Literal["file", "sound"] = "file"
    notes: list[str] = dataclasses.field(default_factory=list, repr=False)

    @property
    def display_path(self) -> Path:
        """The path for items and messages."""
        return self.path or Path(self.name)

    def file_notes(self) -> tuple[str, ...]:
        """Return the notes with the name of the file, each once."""
        return tuple(f"{self.display_path.name}: {note}" for note in dict.fromkeys(self.notes))

    def without_gaps(self, on_gap: OnGap) -> Recording:
        """Return the recording on the clock of its audio; ``on_gap`` receives the gaps."""
        if self.stream_gapless is None:
            return self
        stream = functools.partial(self.stream_gapless, on_gap)
        return dataclasses.replace(self, stream=stream, clock="sound")

    def has_gaps(self) -> bool:
        """Return True if the file may have gaps in its audio. Nothing is decoded."""
        return self.path is not None and audio_has_gaps(self.path)

    def cut(
        self, spans: Iterable[Span], on_progress: ProgressCallback = ignore_progress
    ) -> Iterator[tuple[Span, Samples]]:
        """Yield each span with its float32 (samples,) at 16 kHz, in one pass over the recording.

        The spans are in order of their starts; memory holds one of them. A span beyond the end
        comes shorter. The recording is read to its end.

        Raises:
            RefusedFile: The audio cannot be read.
        """

        def count(blocks: Iterator[Samples]) -> Iterator[Samples]:
            samples = 0
            for block in blocks:
                samples += len(block)
                on_progress(samples / SAMPLE_RATE)
                yield block

        blocks, wanted = count(self.stream()), list(spans)
        for span, samples in zip(wanted, cut_blocks(blocks, wanted), strict=True):
            end_s = min(span.end_s, span.start_s + len(samples) / SAMPLE_RATE)
            yield (span if end_s > span.end_s - 1e-4 else Span(span.start_s, end_s)), samples
        for _ in blocks:
            pass


def open_recording(source: Any) -> Recording:
    """Return the recording of a file, or of samples in memory as pyannote passes them around.

    Args:
        source: A path; or a mapping with ``waveform``, (samples,) or (channels, samples), a tensor
            or an array, ``sample_rate`` and maybe ``uri``; or one with ``audio``, a path.

    Raises:
        BadRequest: The source is something else.
    """
    if isinstance(source, Recording):
        return source
    if isinstance(source, str | Path):
        path, notes = absolute(source), list[str]()  # the file is read with the first block

        def stream_gapless(on_gap: OnGap) -> Iterator[Samples]:
            return stream_audio(path, on_note=notes.append, on_gap=on_gap)

        stream = functools.partial(stream_audio, path, on_note=notes.append)
        return Recording(path.stem, path, stream, stream_gapless, notes=notes)
    if isinstance(source, Mapping) and "audio" in source and "waveform" not in source:
        return open_recording(source["audio"])
    if not isinstance(source, Mapping) or not {"waveform", "sample_rate"} <= source.keys():
        raise BadRequest(
            "A recording is a file, or a mapping with 'waveform' and 'sample_rate'; "
            f"this is {type(source).__name__}."
        )
    name = str(source.get("uri") or _NAME_IN_MEMORY)
    waveform = np.asarray(source["waveform"])
    if waveform.dtype.kind not in "fiu" or not 1 <= waveform.ndim <= 2 or not waveform.size:
        raise BadRequest(
            f"The waveform is {waveform.dtype} of shape {waveform.shape}; "
            "give numbers as (samples,) or (channels, samples)."
        )
    rate = int(source["sample_rate"])
    if waveform.dtype.kind != "f":  # whole numbers to [-1, 1]
        limits = np.iinfo(waveform.dtype)
        middle = 0 if limits.min < 0 else (int(limits.max) + 1) // 2
        scaled = (waveform.astype(np.float64) - middle) / (int(limits.max) + 1 - middle)
        waveform = scaled.astype(np.float32)
    return Recording(name, None, lambda: stream_waveform(Path(name), waveform, rate))
