"""Voice activity detection: the turns of speech in audio."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.media.detectors.silero import FRAME, SileroState, load_silero
from avsearch.media.samples import SAMPLE_RATE, Samples
from avsearch.media.speech_segments import Span
from avsearch.runtime.threads import on_one_core

# Silero VAD's own defaults, but for shorter turns: a spoken digit is one.
ONSET: Final = 0.5  # probability at which speech starts
OFFSET: Final = 0.35  # and below which it ends
_MIN_PAUSE: Final = 1600  # samples, 100 ms; a shorter dip is part of the turn
_MIN_TURN: Final = 1600  # samples, 100 ms
_PAD: Final = 480  # samples, 30 ms, at either end of a turn
# Silence before the audio: without it a clip that starts with speech would be half over before the
# network detects it, and a clip of one word would be missed.
_LEAD_IN: Final = 8 * FRAME
_BLOCK: Final = 512 * FRAME  # samples in one pass, 16 s
# Audio with another peak, or without speech, is searched again at an even level.
_PEAKS: Final = (0.01, 8.0)
_EVEN_RMS: Final = 0.02
_EVEN_BLOCK: Final = 3 * SAMPLE_RATE


def find_speech(samples: Samples) -> list[Span]:
    """Return the turns of speech in float32 (n,) samples at 16 kHz, in order; maybe none."""
    return find_speech_in_blocks([samples])


def find_speech_in_blocks(blocks: Iterable[Samples]) -> list[Span]:
    """Return the turns of speech in audio that comes in blocks of any size, as find_speech.

    Where the blocks are cut changes nothing. Memory holds some seconds of audio and 31 numbers for
    each second. Several threads may call this at once.
    """
    return _find(_Meter(blocks))


def find_speech_in_stream(stream: Callable[[], Iterable[Samples]]) -> list[Span]:
    """Return the turns of speech at any level, as find_speech, in audio that can be read twice.

    ``stream`` returns the blocks of the audio. It is called again if the audio is very quiet or
    loud, or has no speech as it is. The result with more speech counts.
    """
    meter = _Meter(stream())
    found = _find(meter)
    low, high = _PEAKS
    if found and low <= meter.peak <= high:
        return found
    again = find_speech_in_blocks(even_level(stream()))
    return max(found, again, key=lambda turns: sum(turn.duration_s for turn in turns))


def speech_duration(blocks: Iterable[Samples], enough_s: float = math.inf) -> float:
    """Return the seconds of speech in audio, which is read until there are enough."""
    found_s = 0.0
    for probabilities in _stream_probabilities(blocks):
        found_s += float((probabilities >= ONSET).sum()) * FRAME / SAMPLE_RATE
        if found_s >= enough_s:
            break
    return found_s


def speech_probabilities(blocks: Iterable[Samples]) -> NDArray[np.float32]:
    """Return the probability of speech in each 32 ms of audio."""
    return np.concatenate(list(_stream_probabilities(blocks)))[_LEAD_IN // FRAME :]


def even_level(blocks: Iterable[Samples], size: int = _EVEN_BLOCK) -> Iterator[Samples]:
    """Yield audio without offset and at one level, ``size`` samples at a time."""
    for samples in _rechunk(blocks, np.empty(0, np.float32), size):
        around_zero = samples - samples.mean(dtype=np.float64)
        level = float(np.sqrt(np.square(around_zero).mean()))
        yield (around_zero * (_EVEN_RMS / level if level > 0 else 1)).astype(np.float32)


class _Meter:
    """Passes blocks on, counts their samples, and measures the peak around their mean."""

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self._blocks = blocks
        self.samples = 0
        self.peak = 0.0

    def __iter__(self) -> Iterator[Samples]:
        for block in self._blocks:
            self.samples += len(block)
            if len(block):
                mean = float(block.mean(dtype=np.float64))
                self.peak = max(self.peak, float(block.max()) - mean, mean - float(block.min()))
            yield block


def _rechunk(blocks: Iterable[Samples], first: Samples, size: int) -> Iterator[Samples]:
    """Yield ``first`` and the blocks in blocks of ``size`` samples, the last maybe shorter."""
    rest = first
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if len(rest):
        yield rest


def _stream_probabilities(blocks: Iterable[Samples]) -> Iterator[NDArray[np.float32]]:
    """Yield the probability of speech in each 32 ms, those of the lead-in first."""
    model, state = load_silero(), SileroState.start()
    for block in _rechunk(blocks, np.zeros(_LEAD_IN, np.float32), _BLOCK):
        frames = np.pad(block, (0, -len(block) % FRAME))
        probabilities, state = on_one_core(model, frames, state)
        yield probabilities


def _find(meter: _Meter) -> list[Span]:
    probabilities = speech_probabilities(meter)
    above = np.concatenate([[False], probabilities >= OFFSET, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    turns: list[tuple[int, int]] = []  # in samples, from an onset to an offset
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        onsets = np.flatnonzero(probabilities[first:last] >= ONSET)
        if not len(onsets):
            continue
        start, end = int(first + onsets[0]) * FRAME, int(last) * FRAME
        if turns and start - turns[-1][1] < _MIN_PAUSE:
            start = turns.pop()[0]
        turns.append((start, end))
    # Pads never meet: a pause is longer than two of them.
    return [
        Span(max(0, start - _PAD) / SAMPLE_RATE, min(meter.samples, end + _PAD) / SAMPLE_RATE)
        for start, end in turns
        if end - start >= _MIN_TURN
    ]
