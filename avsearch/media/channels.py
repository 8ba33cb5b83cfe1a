"""Several audio channels to one, so that no voice is lost.

Channels are averaged, unless the mean may hide a voice: where channels cancel each other, or one of
them is loud and has no speech. Then speech is detected in each channel, ten seconds at a time. The
choice depends only on the audio up to there, so that a part of a file that is read again is the
same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsearch.media import vad
from avsearch.media.detectors.silero import FRAME
from avsearch.media.samples import SAMPLE_RATE, resample
from indexer.types import OnNote, ignore_note

Samples = NDArray[np.float32]
Energy = NDArray[np.float32]
Floats = NDArray[np.float64]

_WINDOW_S: Final = 10.0  # for which channels are chosen
_FADE_S: Final = 0.02  # from one choice to the next
_MAX_CHANNELS: Final = 8  # in which speech is detected, the loudest
# Levels are measured in frames of 32 ms, by some of the samples, which costs little.
_MEASURED_HZ: Final = 8_000
_APART_S: Final = 0.00025
_FRAME_S: Final = 0.032
_MIN_FRAMES: Final = 8
_SILENT: Final = 1e-10  # share of the energy of the loudest channel
_HARMLESS: Final = 3e-3  # share of energy below which noise or a tone does no harm
_STEADY_DB: Final = 3.0  # standard deviation of the level of noise and tones; speech has 10
_MIN_CORRELATION: Final = 0.9  # of the levels of a channel and of the mean
_SPEECH_DB: Final = 8.0  # deviation of the level of a difference that may be speech,
_DIFFERENT: Final = 0.7  # and its correlation with that of the mean
_CANCELLED: Final = 1e-2  # share of the energy of a channel that is left in the mean
_MIN_SPEECH_S: Final = 0.25
_MOST_SPEECH: Final = 0.8  # share of the most speech of any choice
_QUIET_QUANTILE: Final = 0.1  # of the energy, that counts as background
_MIN_BACKGROUND: Final = 1e-5  # share of the energy of speech
_BETTER_DB: Final = 6.0  # by which a choice must exceed the ones before it


def mix_channels(
    blocks: Iterable[tuple[int, NDArray[Any]]], on_note: OnNote = ignore_note
) -> Iterator[tuple[int, Samples]]:
    """Yield (samples a second, (n,) float32) of (samples a second, (n, channels) floats)."""
    mixer = _Mixer(on_note)
    for rate, window in _windows(blocks):
        yield rate, mixer.mix(rate, window)


def _windows(
    blocks: Iterable[tuple[int, NDArray[Any]]],
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield several channels in windows of one length, and a single channel unchanged."""
    rate, held, length = 0, list[NDArray[Any]](), 0
    for block_rate, block in blocks:
        if held and (block_rate, block.shape[1]) != (rate, held[0].shape[1]):
            yield rate, np.concatenate(held)
            held, length = [], 0
        rate = block_rate
        if block.shape[1] == 1:
            yield rate, block
            continue
        held.append(block)
        length += len(block)
        size = round(rate * _WINDOW_S)
        while length >= size:
            joined = held[0] if len(held) == 1 else np.concatenate(held)
            yield rate, joined[:size]
            held, length = [joined[size:]], length - size
    if length:
        yield rate, np.concatenate(held)


class _Mixer:
    """Mixes channels, window by window, by weights; None for the mean."""

    def __init__(self, on_note: OnNote) -> None:
        self._on_note = on_note
        self._weights: Samples | None = None
        self._mixed_s = 0.0
        self._noted = False

    def mix(self, rate: int, window: NDArray[Any]) -> Samples:
        """Return (n,) of (n, channels)."""
        before = self._weights
        if before is not None and len(before) != window.shape[1]:
            before = None
        # After another choice the mean is only taken where it is as good.
        if before is not None or mean_hides_voice(rate, window):
            self._weights = _choose_weights(rate, window, before)
        else:
            self._weights = None
        mixed = _weighted(window, self._weights)
        if before is not self._weights and self._mixed_s:
            end = min(len(window), round(rate * _FADE_S))
            rise = np.linspace(0, 1, end, dtype=np.float32)
            mixed[:end] = mixed[:end] * rise + _weighted(window[:end], before) * (1 - rise)
        if self._weights is not None and not self._noted:
            self._noted = True
            self._on_note(
                f"from {self._mixed_s:.0f} s on {_weights_text(self._weights)} was taken: the "
                "mean of its channels would hide a voice."
            )
        self._mixed_s += len(window) / rate
        return mixed


def _weights_text(weights: Samples) -> str:
    taken = [str(at + 1) for at in np.flatnonzero(weights)]
    if (weights < 0).any():
        return f"the difference of channels {' and '.join(taken)}"
    return f"channel {taken[0]}" if len(taken) == 1 else f"the mean of channels {', '.join(taken)}"


def _weighted(samples: NDArray[Any], weights: Samples | None) -> Samples:
    if weights is not None:
        return (samples @ weights.astype(np.float64)).astype(np.float32)
    with np.errstate(invalid="ignore"):  # infinite samples are refused later
        mean: Samples = samples.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mean


def mean_hides_voice(rate: int, window: NDArray[Any]) -> bool:
    """Return True if the mean of (n, channels) may lack a voice of one of them.

    It has all of them if its level follows the level of each channel, and if channels with a
    steady level, which have no speech, are low.
    """
    if window.shape[1] == 1:
        return False
    energy, rest, mean = _energies(rate, window)
    if len(mean) < _MIN_FRAMES or not np.isfinite(energy).all():
        return False
    total = energy.mean(axis=0)
    audible = total > total.max() * _SILENT
    if audible.sum() < 2:
        return False
    energy, total, floor = energy[:, audible], total[audible], energy.max() * 1e-9
    levels, mean_level = _decibels(energy, floor), _decibels(mean, floor)
    varies = levels.std(axis=0) >= _STEADY_DB
    rest_levels = _decibels(rest[:, rest.mean(axis=0) > _HARMLESS * mean.mean()], floor)
    rest_std = rest_levels.std(axis=0)
    if mean_level.std() < _STEADY_DB:
        return bool(varies.any() or (rest_std >= _STEADY_DB).any())
    if not varies.any():
        return False
    return bool(
        (total[~varies] > _HARMLESS * total[varies].max()).any()
        or (mean.mean() < _CANCELLED * total[varies]).any()
        or (_correlations(mean_level, levels[:, varies]) < _MIN_CORRELATION).any()
        or (_correlations(mean_level, rest_levels[:, rest_std >= _SPEECH_DB]) < _DIFFERENT).any()
    )


def _decibels(energy: Energy, floor: float) -> Floats:
    return 10 * np.log10(energy.astype(np.float64) + floor)


def _correlations(level: Floats, others: Floats) -> Floats:
    """Return the correlation (n,) of levels (f,) with others (f, n)."""
    centred, each = level - level.mean(), others - others.mean(axis=0)
    lengths = np.linalg.norm(centred) * np.linalg.norm(each, axis=0)
    found: Floats = (centred @ each) / lengths
    return found


def _energies(rate: int, window: NDArray[Any]) -> tuple[Energy, Energy, Energy]:
    """Return energies (frames, channels) of channels and of their difference from the mean.

    The third is that of the mean, (frames,). Samples a quarter of a millisecond apart are
    subtracted first, so that hum counts little.
    """
    step, apart = max(1, rate // _MEASURED_HZ), max(1, round(rate * _APART_S))
    with np.errstate(invalid="ignore", over="ignore"):
        changes = (window[apart::step] - window[:-apart:step]).astype(np.float32)
        size = round(rate / step * _FRAME_S)
        frames = changes[: len(changes) // size * size].reshape(-1, size, window.shape[1])
        mean = frames.mean(axis=2)
        rest = frames - mean[:, :, None]
        energy, rest_energy, mean_energy = (
            np.square(each).mean(axis=1) for each in (frames, rest, mean)
        )
    return energy, rest_energy, mean_energy


class _Choice(NamedTuple):
    weights: Samples | None
    speech_s: float
    clear_db: float


def _choose_weights(rate: int, window: NDArray[Any], before: Samples | None) -> Samples | None:
    """Return the weights with all of the speech and the least background.

    Of several that are about as good it returns those of the window before, else those of the most
    channels. Without speech it returns those of the window before.
    """
    energy, channels = _energies(rate, window)[0], window.shape[1]
    if len(energy) < _MIN_FRAMES or not np.isfinite(window).all():
        return before
    one_hot = np.eye(channels, dtype=np.float32)
    loudest = np.sort(np.argsort(-energy.mean(axis=0))[:_MAX_CHANNELS])
    alone = [_measure(rate, window, one_hot[at]) for at in loudest]
    least_s = max(each.speech_s for each in alone) / 2
    spoken = [at for at, each in zip(loudest, alone, strict=True) if each.speech_s >= least_s]
    several: list[Samples | None] = [None] if before is None else [before, None]
    if 1 < len(spoken) < channels:
        several.append(one_hot[spoken].mean(axis=0))
    if channels == 2:  # their difference lacks what they share
        several.append(np.array([0.5, -0.5], np.float32))
    found = [*(_measure(rate, window, weights) for weights in several), *alone]
    most_s = max(each.speech_s for each in found)
    if most_s < _MIN_SPEECH_S:
        return before
    enough = [each for each in found if each.speech_s >= _MOST_SPEECH * most_s]
    clearest_db = max(each.clear_db for each in enough)
    return next(each for each in enough if each.clear_db >= clearest_db - _BETTER_DB).weights


def _measure(rate: int, window: NDArray[Any], weights: Samples | None) -> _Choice:
    """Return the speech that weights give, and its distance from the background."""
    samples = resample(rate, _weighted(window, weights))
    energy = np.square(samples[: len(samples) // FRAME * FRAME]).reshape(-1, FRAME).mean(axis=1)
    even = vad.even_level([samples], len(samples))
    spoken = vad.speech_probabilities(even)[: len(energy)] >= vad.ONSET
    if not spoken.any():
        return _Choice(weights, 0.0, 0.0)
    loud = float(energy[spoken].mean())
    rest = max(float(np.quantile(energy, _QUIET_QUANTILE)), loud * _MIN_BACKGROUND)
    speech_s = float(spoken.sum()) * FRAME / SAMPLE_RATE
    return _Choice(weights, speech_s, float(10 * np.log10(loud / rest)))
