"""Where in a sound somebody speaks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsearch.media.audio import SAMPLE_RATE, Samples
from avsearch.media.detectors.silero import FRAME, State, load_silero
from avsearch.media.speech_segments import Span
from avsearch.runtime.threads import on_one_core

# As Silero VAD's own defaults, but for shorter turns: a spoken digit is one.
ONSET: Final = 0.5  # probability at which speech begins
OFFSET: Final = 0.35  # and below which it ends
_SHORTEST_PAUSE: Final = 1600  # samples, 100 ms; a shorter dip is part of the turn
_SHORTEST_TURN: Final = 1600  # samples, 100 ms
_PAD: Final = 480  # samples, 30 ms, left standing at either end
# Silence put before the sound: a clip that begins with speech is else half over before the
# network believes it, and one word long it would be missed.
_LEAD_IN: Final = 8 * FRAME
_BLOCK: Final = 512 * FRAME  # samples looked at in one go, 16 s
# Sounds with another peak, or without speech, are searched again at an even level.
_PEAKS: Final = (0.01, 8.0)
_EVEN: Final = 0.02  # root mean square
_EVENED: Final = 3 * SAMPLE_RATE


def find_speech(samples: Samples) -> list[Span]:
    """Turns of speech in float32 (n,) samples at 16 kHz, in order; maybe none."""
    return find_speech_in_blocks([samples])


def find_speech_in_blocks(blocks: Iterable[Samples]) -> list[Span]:
    """Turns of speech in a sound that comes in blocks of any size, as find_speech.

    Where the blocks are cut changes nothing. Memory holds some seconds of sound and 31
    numbers for each second heard. May be called from several threads at once.
    """
    counted = _Counted(blocks)
    probabilities = np.concatenate(list(_probabilities(counted)))
    return _turns(probabilities[_LEAD_IN // FRAME :], counted.samples)


def find_speech_in_stream(stream: Callable[[], Iterable[Samples]]) -> list[Span]:
    """Return turns of speech at any level, as find_speech, in a sound that can be read twice.

    ``stream`` returns the blocks of the sound. It is called again if the sound is very quiet or
    loud, or has no speech as it is. The result with more speech counts.
    """
    counted = _Counted(stream())
    found = find_speech_in_blocks(counted)
    low, high = _PEAKS
    if found and low <= counted.peak <= high:
        return found
    again = find_speech_in_blocks(evened(stream()))
    return max(found, again, key=lambda turns: sum(turn.duration_s for turn in turns))


def speech_s(blocks: Iterable[Samples], enough_s: float = math.inf) -> float:
    """Return the seconds of speech in a sound, which is read until there are enough."""
    heard_s = 0.0
    for probabilities_ in _probabilities(blocks):
        heard_s += float((probabilities_ >= ONSET).sum()) * FRAME / SAMPLE_RATE
        if heard_s >= enough_s:
            break
    return heard_s


def probabilities(samples: Samples) -> NDArray[np.float32]:
    """Return the probability of speech of each 32 ms of (n,) samples."""
    return np.concatenate(list(_probabilities([samples])))[_LEAD_IN // FRAME :]


def evened(blocks: Iterable[Samples], size: int = _EVENED) -> Iterator[Samples]:
    """Yield a sound without offset and at one level, ``size`` samples at a time."""
    rest = np.empty(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= size:
            yield _even(rest[:size])
            rest = rest[size:]
    if len(rest):
        yield _even(rest)


def _even(samples: Samples) -> Samples:
    around_zero = samples - samples.mean(dtype=np.float64)
    level = float(np.sqrt(np.square(around_zero).mean()))
    even: Samples = (around_zero * (_EVEN / level) if level > 0 else around_zero).astype(np.float32)
    return even


class _Counted:
    """Passes blocks on, and counts their samples and the peak around their mean."""

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self._blocks = blocks
        self.samples = 0
        self.peak = 0.0

    def __iter__(self) -> Iterator[Samples]:
        for block in self._blocks:
            self.samples += len(block)
            if len(block):
                middle = float(block.mean(dtype=np.float64))
                self.peak = max(self.peak, float(block.max()) - middle, middle - float(block.min()))
            yield block


def _probabilities(blocks: Iterable[Samples]) -> Iterator[NDArray[np.float32]]:
    """How likely each 32 ms are speech, those of the lead-in first."""
    model, state = load_silero(), State.start()
    for block in _whole_frames(blocks):
        probabilities, state = on_one_core(model, block, state)
        yield probabilities


def _whole_frames(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """The lead-in and the samples in blocks of whole frames, the last filled up with silence."""
    rest = np.zeros(_LEAD_IN, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= _BLOCK:
            yield rest[:_BLOCK]
            rest = rest[_BLOCK:]
    if len(rest):
        yield np.pad(rest, (0, -len(rest) % FRAME))


def _turns(probabilities: NDArray[np.float32], length: int) -> list[Span]:
    """(n,) probabilities of a sound of ``length`` samples to turns of speech."""
    turns: list[list[int]] = []
    for start, end in _runs(probabilities):
        if turns and start - turns[-1][1] < _SHORTEST_PAUSE:
            turns[-1][1] = end
        else:
            turns.append([start, end])
    long_enough = [(start, end) for start, end in turns if end - start >= _SHORTEST_TURN]
    # Pads never meet: a pause is longer than two of them.
    return [
        Span(max(0, start - _PAD) / SAMPLE_RATE, min(length, end + _PAD) / SAMPLE_RATE)
        for start, end in long_enough
    ]


def _runs(probabilities: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """Runs from an onset to where the probability falls below the offset, in samples."""
    above = np.concatenate([[False], probabilities >= OFFSET, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        onsets = np.flatnonzero(probabilities[first:last] >= ONSET)
        if len(onsets):
            yield int(first + onsets[0]) * FRAME, int(last) * FRAME
