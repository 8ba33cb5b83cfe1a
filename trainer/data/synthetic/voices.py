"""The voices of the synthetic world, by a source, a filter, and random syllables.

A train of glottal pulses with a melody, and noise for breath and hiss, pass through
resonances that move from vowel to vowel. The plan of an utterance is made a hundred times a
second; the filter is applied to overlapping frames in the frequency domain, all at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.data.synthetic.faces import Gender, Range, spread

Samples = NDArray[np.float64]
Signal = NDArray[np.float32]

FRAMES_PER_S = 100

# Each trait with the range it covers in women and in men, one component of the identity each.
VOICE_RANGES: dict[str, dict[Gender, Range]] = {
    "pitch": {"f": (245.0, 165.0), "m": (150.0, 86.0)},  # Hz; falls as the face widens
    "tract": {"f": (0.80, 0.94), "m": (0.94, 1.12)},  # length against an average man's
    "tilt": {"f": (-10.5, -4.5), "m": (-9.5, -3.5)},  # dB an octave, radiation included
    "tempo": {"f": (0.78, 1.30), "m": (0.78, 1.30)},  # against 5 syllables a second
    "breath": {"f": (0.01, 0.16), "m": (0.005, 0.12)},  # noise against pulses
    "space": {"f": (0.80, 1.18), "m": (0.80, 1.18)},  # how far vowels are apart
    "melody": {"f": (0.05, 0.20), "m": (0.04, 0.17)},  # log of the pitch's ups and downs
    "jitter": {"f": (0.002, 0.020), "m": (0.003, 0.025)},  # share of a period
}


@dataclasses.dataclass(frozen=True, slots=True)
class VoiceShape:
    """The traits of a person's voice, each a monotone function of a component."""

    pitch: float
    tract: float
    tilt: float
    tempo: float
    breath: float
    space: float
    melody: float
    jitter: float


@dataclasses.dataclass(frozen=True, slots=True)
class Accent:
    """An accent: the vowels, the rhythm and the melody of its phrases.

    ``opening`` and ``fronting`` scale the first and second resonance of every vowel;
    ``stress`` is the extra length of every other syllable; ``ending`` the rise of the log pitch
    over a phrase; ``consonants`` are those that begin syllables.
    """

    opening: float
    fronting: float
    stress: float
    ending: float
    consonants: str


ACCENTS = (
    Accent(0.92, 1.08, 0.10, -0.22, "smtlnk"),
    Accent(1.00, 0.88, 0.45, -0.30, "SktrfSn"),
    Accent(1.12, 0.96, 0.00, 0.10, "mnlwpt"),
    Accent(0.96, 1.16, 0.25, 0.18, "fsSjlr"),
    Accent(1.08, 1.04, 0.05, -0.05, "srtkln"),
    Accent(0.88, 0.94, 0.60, -0.12, "fwkmSt"),
)

# The lower resonances of an average man's vowels, in Hz; then the higher ones, which hardly move,
# and all of them in a neutral position.
VOWELS = np.array(
    [
        [290.0, 2250.0, 2950.0],
        [430.0, 1950.0, 2600.0],
        [740.0, 1280.0, 2500.0],
        [480.0, 900.0, 2450.0],
        [320.0, 800.0, 2300.0],
        [520.0, 1450.0, 2450.0],
    ]
)
HIGHER = np.array([3500.0, 4500.0, 5500.0, 6500.0])
NEUTRAL = np.array([500.0, 1500.0, 2500.0, *HIGHER])
BANDWIDTHS = np.array([70.0, 90.0, 130.0, 180.0, 260.0, 340.0, 420.0])  # Hz


@dataclasses.dataclass(frozen=True, slots=True)
class Consonant:
    """A consonant: its length, the loudness of its tone and hiss, and their frequencies."""

    seconds: float
    voiced: float = 0.0
    hiss: float = 0.0
    centre: float = 4000.0  # Hz, of the hiss
    resonances: tuple[float, float, float] | None = None  # Hz; None: the next vowel's
    closure: float = 0.0  # seconds of silence before it


CONSONANTS = {
    "s": Consonant(0.10, hiss=0.50, centre=5800.0),
    "S": Consonant(0.10, hiss=0.60, centre=3000.0),
    "f": Consonant(0.08, hiss=0.25, centre=4500.0),
    "p": Consonant(0.02, hiss=0.50, centre=1000.0, closure=0.06),
    "t": Consonant(0.03, hiss=0.80, centre=4300.0, closure=0.05),
    "k": Consonant(0.03, hiss=0.70, centre=2000.0, closure=0.05),
    "m": Consonant(0.07, voiced=0.45, resonances=(250.0, 1050.0, 2200.0)),
    "n": Consonant(0.06, voiced=0.45, resonances=(250.0, 1500.0, 2500.0)),
    "l": Consonant(0.06, voiced=0.65, resonances=(350.0, 1150.0, 2700.0)),
    "r": Consonant(0.06, voiced=0.60, resonances=(420.0, 1250.0, 1650.0)),
    "w": Consonant(0.06, voiced=0.60, resonances=(310.0, 680.0, 2250.0)),
    "j": Consonant(0.06, voiced=0.65, resonances=(280.0, 2250.0, 3000.0)),
}


class Piece(NamedTuple):
    """A constant piece of speech: resonances (7,) in Hz, and the fields of a Score."""

    seconds: float
    resonances: Samples
    voiced: float = 0.0
    hiss: float = 0.0
    centre: float = 4000.0
    melody: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """The controls of the synthesis by frame: (frames,) each, resonances (frames, 7) in Hz."""

    resonances: Samples
    voiced: Samples  # loudness of the tone
    hiss: Samples  # loudness of a consonant's noise
    centre: Samples  # Hz, of that noise
    melody: Samples  # log of the pitch against the person's own


def voice_shape(components: Sequence[float], gender: Gender) -> VoiceShape:
    """Return the voice of an identity; the traits take its components in turn."""
    traits = {
        name: spread(bounds[gender], components[position % len(components)])
        for position, (name, bounds) in enumerate(VOICE_RANGES.items())
    }
    return VoiceShape(**traits)


def speak(
    shape: VoiceShape, country: int, rng: np.random.Generator, *, seconds: float, rate: int
) -> Signal:
    """Return a segment of speech with room and microphone: (seconds * rate,) float32."""
    count = round(seconds * rate)
    frames = count // (rate // FRAMES_PER_S) + 1
    score = compose(shape, ACCENTS[country], rng, frames)
    sound = _synthesise(score, shape, rng, rate)[:count]
    return _record(sound, rng)


def compose(shape: VoiceShape, accent: Accent, rng: np.random.Generator, frames: int) -> Score:
    """Return random syllables in phrases with pauses, until the time is full."""
    pieces = [Piece(rng.uniform(0.08, 0.25), NEUTRAL)]
    while sum(_length(piece) for piece in pieces) < frames:
        pieces += _phrase(shape, accent, rng)
        pieces.append(Piece(rng.uniform(0.15, 0.40) / shape.tempo, NEUTRAL))
    lengths = np.array([_length(piece) for piece in pieces])
    _, resonances, *rest = zip(*pieces, strict=True)
    voiced, hiss, centre, melody = (np.repeat(track, lengths)[:frames] for track in rest)
    return Score(
        resonances=_smooth(np.repeat(np.array(resonances), lengths, axis=0)[:frames], 5),
        voiced=_smooth(voiced, 3),
        hiss=hiss,
        centre=centre,
        melody=_smooth(melody, 9),
    )


def _length(piece: Piece) -> int:
    """The number of frames of a piece."""
    return round(piece.seconds * FRAMES_PER_S)


def _phrase(shape: VoiceShape, accent: Accent, rng: np.random.Generator) -> list[Piece]:
    """Some syllables in one breath, with the melody of the accent."""
    count = int(rng.integers(4, 9))
    start = rng.normal(0.04, 0.03)
    pieces: list[Piece] = []
    for place in range(count):
        stress = 1.0 if place % 2 == 0 else 0.0
        accentuation = shape.melody * (stress - 0.4 + rng.normal(0.0, 0.5))
        height = start + accent.ending * place / count + accentuation
        length = (1.0 + accent.stress * (stress - 0.5)) / shape.tempo
        pieces += _syllable(shape, accent, rng, length, height)
    return pieces


def _syllable(
    shape: VoiceShape, accent: Accent, rng: np.random.Generator, length: float, height: float
) -> list[Piece]:
    """A consonant and a vowel; ``length`` scales their time, ``height`` is the log pitch."""
    vowel = _vowel(VOWELS[rng.integers(len(VOWELS))], shape, accent)
    consonant = CONSONANTS[accent.consonants[rng.integers(len(accent.consonants))]]
    tone = vowel.copy()
    if consonant.resonances is not None:
        tone[:3] = np.array(consonant.resonances) / shape.tract
    seconds = rng.uniform(0.11, 0.17) * length
    return [
        Piece(consonant.closure, tone),
        Piece(
            consonant.seconds * length,
            tone,
            consonant.voiced,
            consonant.hiss,
            consonant.centre,
            height,
        ),
        Piece(seconds, vowel, rng.uniform(0.8, 1.0), melody=height),
    ]


def _vowel(target: Samples, shape: VoiceShape, accent: Accent) -> Samples:
    """The resonances (7,) in Hz of a vowel of this person."""
    local = np.concatenate([target * [accent.opening, accent.fronting, 1.0], HIGHER])
    apart = np.array([shape.space, shape.space, 1.0, 1.0, 1.0, 1.0, 1.0])
    said: Samples = NEUTRAL * (local / NEUTRAL) ** apart / shape.tract
    return said


def _smooth(track: Samples, width: int) -> Samples:
    """A moving average over an odd number of frames, the ends held."""
    edges = [(width // 2, width // 2)] + [(0, 0)] * (track.ndim - 1)
    padded = np.pad(track, edges, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    mean: Samples = windows.mean(axis=-1)
    return mean


def _synthesise(score: Score, shape: VoiceShape, rng: np.random.Generator, rate: int) -> Signal:
    """Source through filter, in frames of two hops that fade into each other."""
    hop = rate // FRAMES_PER_S
    size = 4 * hop  # a frame, and as much again for what rings on after it
    hertz = np.fft.rfftfreq(size, 1.0 / rate).astype(np.float32)
    pulses = _frames(_pulses(score, shape, rng, rate), hop)
    noise = _frames(rng.standard_normal(len(score.voiced) * hop, dtype=np.float32), hop)
    source = (pulses + np.float32(shape.breath) * noise) * score.voiced[:, None].astype(np.float32)
    tilt = (np.maximum(hertz, 80.0) / 500.0) ** (shape.tilt / 6.02)
    spectrum = np.fft.rfft(source, size) * (tilt * _resonate(score.resonances, size, rate))
    hissing = score.hiss > 0.0
    hiss = np.fft.rfft(noise[hissing], size) * _hiss_bands(score, shape, hertz)[hissing]
    spectrum[hissing] += hiss
    return _overlap(np.fft.irfft(spectrum, size), hop)


def _pulses(score: Score, shape: VoiceShape, rng: np.random.Generator, rate: int) -> Signal:
    """One pulse a period, between samples and a little late or early: (frames * hop,)."""
    times = _pulse_times(score, shape, rate)
    period = np.gradient(times)
    wobble = shape.jitter * rng.standard_normal((2, len(times)))
    count = len(score.melody) * (rate // FRAMES_PER_S)
    moved = np.clip(times + period * wobble[0], 0.0, count - 2.0)
    # The shorter the period, the more pulses there are: each is weaker, for the same loudness.
    strength = np.sqrt(period) * (1.0 + 2.0 * wobble[1])
    before = np.floor(moved).astype(np.int64)
    part = moved - before
    train = np.bincount(before, strength * (1.0 - part), minlength=count)
    train += np.bincount(before + 1, strength * part, minlength=count)
    return train.astype(np.float32)


def _pulse_times(score: Score, shape: VoiceShape, rate: int) -> Samples:
    """When each period of the pitch's course ends, in samples: (periods,), two at least."""
    hop = rate // FRAMES_PER_S
    periods = np.cumsum(shape.pitch * np.exp(score.melody) * hop / rate)  # after each frame
    ends = np.arange(1, len(periods) + 1) * float(hop)
    beats = np.arange(1, max(3, int(periods[-1])))
    return np.asarray(np.interp(beats, periods, ends), dtype=np.float64)


def _frames(samples: Signal, hop: int) -> Signal:
    """Overlapping frames under a window that adds up to one: (frames, 2 * hop)."""
    padded = np.concatenate([samples, np.zeros(hop, dtype=np.float32)])
    window = 0.5 - 0.5 * np.cos(np.pi * (np.arange(2 * hop) + 0.5) / hop)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]
    frames: Signal = windows * window.astype(np.float32)
    return frames


def _overlap(frames: NDArray[np.floating], hop: int) -> Signal:
    """The sum of frames that each begin a hop after the one before."""
    parts = frames.shape[1] // hop
    total = np.zeros((len(frames) + parts - 1, hop), dtype=np.float32)
    for part in range(parts):
        total[part : part + len(frames)] += frames[:, part * hop : (part + 1) * hop]
    return total.ravel()


def _resonate(resonances: Samples, size: int, rate: int) -> NDArray[np.complex64]:
    """The response of resonators in a row, one at 0 Hz: (frames, size // 2 + 1)."""
    poles = _denominators(resonances, rate)  # (frames, 15)
    angle = 2.0 * np.pi / size * np.outer(np.arange(poles.shape[1]), np.arange(size // 2 + 1))
    waves = poles @ np.cos(angle) - 1j * (poles @ np.sin(angle))
    return np.asarray(poles.sum(axis=1, keepdims=True) / waves, dtype=np.complex64)


def _denominators(resonances: Samples, rate: int) -> Samples:
    """The product of one two-pole section a resonance, by power: (frames, 2 * 7 + 1)."""
    # A resonance above what the rate can carry is moved just below it, out of the way.
    angle = 2.0 * np.pi * np.minimum(resonances, 0.47 * rate) / rate
    radius = np.exp(-np.pi * BANDWIDTHS / rate)
    first, second = -2.0 * radius * np.cos(angle), radius**2
    poles = np.zeros((len(resonances), 1 + 2 * len(BANDWIDTHS)))
    poles[:, 0] = 1.0
    for place in range(len(BANDWIDTHS)):
        shifted = np.pad(poles, ((0, 0), (2, 0)))
        poles += first[:, place, None] * shifted[:, 1:-1] + second[place] * shifted[:, :-2]
    return poles


def _hiss_bands(score: Score, shape: VoiceShape, hertz: Signal) -> Signal:
    """A bump of a third of an octave either way about each frame's centre: (frames, bins)."""
    centre = (score.centre / shape.tract)[:, None].astype(np.float32)
    octaves = np.log2(np.maximum(hertz, 50.0)[None, :] / centre)
    return (score.hiss[:, None] * np.exp(-0.5 * (octaves / 0.35) ** 2)).astype(np.float32)


def _record(sound: Signal, rng: np.random.Generator) -> Signal:
    """A level, a room's noise, and a microphone that does not clip."""
    level = rng.uniform(0.05, 0.10)
    loudness = max(float(np.sqrt(np.mean(sound**2))), 1e-9)
    floor = level * 10.0 ** (-rng.uniform(28.0, 45.0) / 20.0)
    noise = rng.standard_normal(len(sound), dtype=np.float32)
    return np.tanh(np.float32(level / loudness) * sound + np.float32(floor) * noise)
