"""Sounds to arrays: float32 (samples,) mono at 16 kHz. The only importer of soundfile."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from avsearch.media.files import opened
from avsearch.media.stretches import Span
from indexer.errors import BadRequest, NotInFile, RefusedFile, printable
from indexer.types import OnNote, ignore_note

if TYPE_CHECKING:
    from avsearch.media.container import Resampler

Samples = NDArray[np.float32]

SAMPLE_RATE: Final = 16_000  # Hz, of everything that leaves this file
SHORTEST_S: Final = 0.1  # less holds no syllable
_BLOCK_S: Final = 10.0
_BLOCK_VALUES: Final = 8_000_000  # over all channels: 32 MB
_RATES_HZ: Final = (4_000, 1_000_000)  # below, no speech is left; above, the header is wrong
_END_TOLERANCE_S: Final = 0.5  # ends are often rounded up to what a clock shows
# MPEG audio, with tags before it or without: it may be cut or joined, and say nothing true of its
# length, on which libsndfile relies.
_MPEG: Final = (b"ID3", b"\xff")
_OGG_BEGINS: Final = b"OggS\0\2"  # the first page of a stream; of several libsndfile hears one


def read_sound(path: Path, start_s: float = 0.0, end_s: float | None = None) -> Samples:
    """A sound, or the sound of a video, as float32 (samples,) mono at 16 kHz in [-1, 1].

    Channels are averaged; other rates are resampled, band-limited. ``start_s`` and ``end_s``
    cut out a part; the file is decoded from its beginning all the same, so that a part is
    exactly what the whole has there. Raises RefusedFile for what cannot be decoded, holds
    NaN, or is shorter than 0.1 s; NotInFile for a part that is not in the sound, BadRequest
    for one that is no range of time.
    """
    if start_s == 0 and end_s is None:
        return np.concatenate(list(stream_sound(path)))
    span = Span(start_s, float("inf") if end_s is None else end_s)
    if not 0 <= start_s < span.end_s:
        raise BadRequest(
            f"{printable(path)}: {start_s:g} s to {span.end_s:g} s is no range of time; "
            "the start must lie before the end."
        )
    samples = next(cut_sound(path, [span]))
    _require_covered(path, span, len(samples) / SAMPLE_RATE)
    return samples


def cut_sound(path: Path, spans: Sequence[Span]) -> Iterator[Samples]:
    """Float32 (samples,) at 16 kHz of each span of a sound, in one pass over the file.

    The spans are in order of their starts. What reaches beyond the end of the sound comes
    short, or empty. Memory holds one span, not the sound. Raises RefusedFile as read_sound.
    """
    return cut_blocks(stream_sound(path), spans)


def cut_blocks(blocks: Iterator[Samples], spans: Iterable[Span]) -> Iterator[Samples]:
    """As cut_sound, of a sound that comes in blocks; no more of them are taken than it needs."""
    held, held_to = np.empty(0, np.float32), 0  # the last samples read, and where they end
    for span in spans:
        start, end = round(span.start_s * SAMPLE_RATE), span.end_s * SAMPLE_RATE
        parts = [_from(start, held, held_to)]
        while held_to < end and (block := next(blocks, None)) is not None:
            held_to += len(block)
            parts.append(_from(start, block, held_to))
        held = np.concatenate(parts)
        held_from = held_to - len(held)
        yield held[: max(0, round(min(end, held_to)) - held_from)].copy()


def _from(start: int, samples: Samples, samples_end: int) -> Samples:
    """What of the samples that end at ``samples_end`` lies at or after ``start``."""
    return samples[max(0, len(samples) - max(0, samples_end - start)) :]


def stream_sound(path: Path, *, on_note: OnNote = ignore_note) -> Iterator[Samples]:  # noqa: ARG001
    """The blocks of a sound as read_sound has it, some seconds each, for any length.

    Raises RefusedFile as read_sound; what is wrong further on is raised when it is reached.
    """
    return _checked(path, _native_blocks(path))


def stream_waveform(name: Path, waveform: NDArray[Any], sample_rate: int) -> Iterator[Samples]:
    """As stream_sound, of (samples,) or (channels, samples) floats in memory of any rate.

    ``name`` is what messages call it.
    """
    channels = np.atleast_2d(waveform)
    step = round(sample_rate * _BLOCK_S) or 1
    parts = (channels[:, at : at + step].T for at in range(0, channels.shape[1], step))
    return _checked(name, ((sample_rate, _mixed(part)) for part in parts))


def _checked(path: Path, blocks: Iterable[tuple[int, Samples]]) -> Iterator[Samples]:
    total = 0
    for block in _resampled(path, blocks):
        _require_numbers(path, block, total)
        total += len(block)
        yield block
    if total < SHORTEST_S * SAMPLE_RATE:
        raise RefusedFile(
            path,
            f"the sound lasts {total / SAMPLE_RATE:.3f} s, too short for a voice; "
            f"at least {SHORTEST_S} s are needed.",
        )


def _resampled(path: Path, blocks: Iterable[tuple[int, Samples]]) -> Iterator[Samples]:
    """Blocks of one rate, whichever, to 16 kHz; empty ones left out."""
    resampler, rate = None, 0
    for block_rate, block in blocks:
        if not rate:
            _require_sane_rate(path, block_rate)
            resampler, rate = _resampler(block_rate), block_rate
        if block_rate != rate:
            raise RefusedFile(path, "its sampling rate changes half way; convert it to WAV first.")
        if len(ready := block if resampler is None else resampler.push(block)):
            yield ready
    if resampler is not None and len(rest := resampler.finish()):
        yield rest


def _resampler(rate: int) -> Resampler | None:
    """What makes 16 kHz of a rate; None where nothing has to be done."""
    if rate == SAMPLE_RATE:
        return None
    from avsearch.media.container import Resampler  # PyAV takes long to import

    return Resampler(rate, SAMPLE_RATE)


def _native_blocks(path: Path) -> Iterator[tuple[int, Samples]]:
    """(samples a second, (n,) float32 mono) at the file's own rate.

    libsndfile first, exact and fast; FFmpeg for what it does not know, or not to the end.
    """
    with opened(path) as file:
        sound = _soundfile(file)
        if sound is None:
            from avsearch.media.container import sound_track

            yield from _gathered(sound_track(path))
            return
        with sound:
            yield from _soundfile_blocks(path, sound)


def _soundfile(file: BinaryIO) -> soundfile.SoundFile | None:
    """The file open in libsndfile; None where that does not know it, or not all of it."""
    head = os.pread(file.fileno(), len(_OGG_BEGINS), 0)
    if head.startswith(_MPEG) or (head == _OGG_BEGINS and _begins_again(file)):
        return None
    try:
        return soundfile.SoundFile(file.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        return None


def _begins_again(file: BinaryIO) -> bool:
    """Whether one Ogg stream follows another in the file."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_OGG_BEGINS, 1) > 0


def _soundfile_blocks(path: Path, sound: soundfile.SoundFile) -> Iterator[tuple[int, Samples]]:
    rate = int(sound.samplerate)
    frames = int(min(rate * _BLOCK_S, _BLOCK_VALUES // sound.channels)) or 1
    try:
        # Not `blocks`, which takes files for as long as they say, and needs to seek in them.
        while len(block := sound.read(frames, dtype="float32", always_2d=True)):
            yield rate, _mixed(block)
    except soundfile.LibsndfileError as error:
        raise RefusedFile(
            path, f"the sound is damaged or cut short ({error.error_string}); copy it again."
        ) from error


def _gathered(packets: Iterable[tuple[int, NDArray[Any]]]) -> Iterator[tuple[int, Samples]]:
    """Pieces of some milliseconds mixed and joined to blocks of some seconds of one rate."""
    rate, parts, length = 0, list[Samples](), 0
    for packet_rate, packet in packets:
        if parts and (packet_rate != rate or length >= rate * _BLOCK_S):
            yield rate, np.concatenate(parts)
            parts, length = [], 0
        rate = packet_rate
        parts.append(_mixed(packet))
        length += len(packet)
    if parts:
        yield rate, np.concatenate(parts)


def _mixed(samples: NDArray[Any]) -> Samples:
    """(n, channels) to their mean, (n,) float32."""
    with np.errstate(invalid="ignore"):  # infinite samples are refused further on
        mean: Samples = samples.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mean


def _require_sane_rate(path: Path, rate: int) -> None:
    low, high = _RATES_HZ
    if not low <= rate <= high:
        raise RefusedFile(
            path, f"it has {rate} samples a second; speech needs {low} to {high}; record it anew."
        )


def _require_numbers(path: Path, block: Samples, position: int) -> None:
    finite = np.isfinite(block)
    if not finite.all():
        at_s = (position + int(np.argmin(finite))) / SAMPLE_RATE
        raise RefusedFile(
            path, f"it has NaN or infinite samples, the first at {at_s:.2f} s; export it again."
        )


def _require_covered(path: Path, span: Span, found_s: float) -> None:
    """Refuse a part of which the sound has nothing, or ends well before it."""
    wanted_s = 0.0 if np.isinf(span.end_s) else span.duration_s
    if found_s >= max(SHORTEST_S, wanted_s - _END_TOLERANCE_S):
        return
    if 0 < wanted_s < SHORTEST_S:
        why = "which is too short for a voice"
    elif found_s:
        why = f"but the sound ends after {span.start_s + found_s:.2f} s"
    else:
        why = "but the sound ends before"
    raise NotInFile(
        path,
        f"{span.start_s:g} s to {span.end_s:g} s was asked for, {why}; "
        f"name a part of at least {SHORTEST_S} s inside it.",
    )
