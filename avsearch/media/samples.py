"""Samples of audio at 16 kHz, and resampling to it."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

SAMPLE_RATE: Final = 16_000  # Hz, of all audio that is decoded here


def resampled(blocks: Iterable[tuple[int, Samples]]) -> Iterator[Samples]:
    """Yield blocks of any rates at 16 kHz, without empty ones."""
    for rate, alike in itertools.groupby(blocks, operator.itemgetter(0)):
        if rate == SAMPLE_RATE:
            yield from (block for _, block in alike if len(block))
            continue
        from avsearch.media.containers.ffmpeg import Resampler  # PyAV takes long to import

        resampler = Resampler(rate, SAMPLE_RATE)
        for _, block in alike:
            if len(ready := resampler.push(block)):
                yield ready
        if len(rest := resampler.finish()):
            yield rest


def resample(rate: int, samples: Samples) -> Samples:
    """Return samples (n,) of any rate at 16 kHz."""
    return np.concatenate([np.empty(0, np.float32), *resampled([(rate, samples)])])
