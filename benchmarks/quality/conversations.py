"""Scripted conversations: real recordings of people in turns, with the true turns."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from avsearch.annotation.turns import Diarization, Turn, build_diarization
from avsearch.media import SAMPLE_RATE, read_audio
from avsearch.media.samples import Samples
from avsearch.media.speech_segments import Span
from avsearch.media.vad import find_speech

SOUNDS = (".ogg", ".wav")
PAUSE_S = 0.5  # a longer one ends a turn
LEVELS_DB = (-26.0, -16.0)  # of speech, root mean square to full scale
NOISE_DB = (10.0, 30.0)  # below the speech
OVERLAPPING = 0.15  # of the turns begin before the one before has ended
OVERLAP_S = (0.3, 1.0)
GAP_S = (0.0, 0.8)
PADDING_S = 2.0  # of silence at most, that a turn marked by hand has at either end


@dataclasses.dataclass(frozen=True, slots=True)
class Talker:
    """A speaker: recordings to enrol, and others for conversations."""

    key: str
    enrolled: tuple[Samples, ...]
    said: tuple[Samples, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """Audio and its true turns, by the keys of the people; the times are exact."""

    samples: Samples
    turns: Diarization


def read_talker(data: Path, key: str, most: int = 24) -> Talker | None:
    """Return a person of a gallery ``data / key``; None with too little speech to split.

    Every other recording is enrolled. A single recording is cut into halves at a pause, which makes
    the person easier to recognise: the room and the day are the same.
    """
    files = sorted(path for path in (data / key).iterdir() if path.suffix in SOUNDS)[:most]
    sounds = [read_audio(path) for path in files]
    if len(sounds) == 1:
        sounds = _halves(sounds[0])
    if len(sounds) < 2:
        return None
    return Talker(key, tuple(sounds[::2]), tuple(sounds[1::2]))


def _halves(samples: Samples) -> list[Samples]:
    turns = find_speech(samples)
    if len(turns) < 2:
        return [samples]
    middle_s = len(samples) / SAMPLE_RATE / 2
    cuts = [(a.end_s + b.start_s) / 2 for a, b in itertools.pairwise(turns)]
    cut = round(min(cuts, key=lambda at: abs(at - middle_s)) * SAMPLE_RATE)
    return [samples[:cut], samples[cut:]]


def converse(
    rng: np.random.Generator,
    cast: Sequence[Talker],
    most_turns: int,
    longest_gap_s: float = GAP_S[1],
) -> Conversation:
    """Return the cast in turns, drawn among those with recordings left, with noise."""
    left = {who.key: list(rng.permutation(len(who.said))) for who in cast}
    level = {who.key: rng.uniform(*LEVELS_DB) for who in cast}
    by_key = {who.key: who for who in cast}
    placed: list[tuple[str, float, Samples]] = []
    at_s, last = 0.5, ""
    for _ in range(most_turns):
        free = [key for key in left if left[key] and (key != last or len(cast) == 1)]
        if not free:
            break
        last = str(rng.choice(free))
        samples = _levelled(by_key[last].said[left[last].pop()], level[last])
        overlaps = placed and rng.random() < OVERLAPPING
        pause_s = -rng.uniform(*OVERLAP_S) if overlaps else rng.uniform(GAP_S[0], longest_gap_s)
        at_s = max(0.0, at_s + pause_s)
        placed.append((last, at_s, samples))
        at_s += len(samples) / SAMPLE_RATE
    turns = [turn for key, start_s, samples in placed for turn in _turns(key, start_s, samples)]
    return Conversation(_mixed(rng, placed), build_diarization(turns, "conversation"))


def _levelled(samples: Samples, level_db: float) -> Samples:
    power = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) or 1.0
    return np.asarray(samples * (10 ** (level_db / 20) / power), np.float32)


def _turns(key: str, start_s: float, samples: Samples) -> list[Turn]:
    """Turns with speech in a recording that begins at a time."""
    joined: list[Span] = []
    for span in find_speech(samples):
        if joined and span.start_s - joined[-1].end_s <= PAUSE_S:
            joined[-1] = Span(joined[-1].start_s, span.end_s)
        else:
            joined.append(span)
    return [Turn(start_s + span.start_s, start_s + span.end_s, key) for span in joined]


def _mixed(rng: np.random.Generator, placed: Sequence[tuple[str, float, Samples]]) -> Samples:
    starts = [round(start_s * SAMPLE_RATE) for _, start_s, _ in placed]
    length = max(at + len(sound) for at, (_, _, sound) in zip(starts, placed, strict=True))
    mixed = np.zeros(length + SAMPLE_RATE // 2, np.float32)
    for at, (_, _, sound) in zip(starts, placed, strict=True):
        mixed[at : at + len(sound)] += sound
    white = rng.standard_normal(len(mixed))
    noise = white + np.concatenate([[0.0], white[:-1]])  # falls towards high frequencies
    level_db = np.mean(LEVELS_DB) - rng.uniform(*NOISE_DB)
    return np.asarray(mixed + noise * (10 ** (level_db / 20) / noise.std()), np.float32)


def damaged(rng: np.random.Generator, truth: Diarization) -> Diarization:
    """Return turns with the errors of a diarizer.

    Ends are off by a quarter of a second (standard deviation), one turn in twenty has another
    speaker, turns under half a second are missed, and one speaker in five is split in two.
    """
    speakers = truth.speakers
    split = {who for who in speakers if rng.random() < 0.2}
    turns = []
    for turn in truth.turns:
        who = str(rng.choice(speakers)) if rng.random() < 0.05 else turn.speaker
        half = f"{who} again" if who in split and rng.random() < 0.5 else who
        start_s = max(0.0, turn.start_s + rng.normal(0, 0.25))
        end_s = turn.end_s + rng.normal(0, 0.25)
        if end_s - start_s > 0.5:
            turns.append(Turn(start_s, end_s, half))
    return build_diarization(turns or truth.turns, truth.recording)


def padded(truth: Diarization) -> Diarization:
    """Return turns as marked by hand, with the silence around them.

    A turn begins where the turn before it ended and ends where the next one begins, at most two
    seconds away. Turns that follow each other with the same speaker are one turn.
    """
    turns = sorted(truth.turns)
    wide: list[Turn] = []
    for number, turn in enumerate(turns):
        heard_s = max((each.end_s for each in turns[:number]), default=0.0)
        next_s = min((each.start_s for each in turns[number + 1 :]), default=turn.end_s + PADDING_S)
        start_s = min(turn.start_s, max(heard_s, turn.start_s - PADDING_S))
        end_s = max(turn.end_s, min(next_s, turn.end_s + PADDING_S))
        if wide and wide[-1].speaker == turn.speaker:
            wide[-1] = wide[-1]._replace(end_s=max(wide[-1].end_s, end_s))
        else:
            wide.append(Turn(max(0.0, start_s), end_s, turn.speaker))
    return build_diarization(wide, truth.recording)


def anonymous(turns: Diarization) -> tuple[Diarization, Mapping[str, str]]:
    """Return the turns with a diarizer's labels, and the person of each label."""
    labels = {who: f"SPEAKER_{number:02d}" for number, who in enumerate(turns.speakers)}
    said = tuple(turn._replace(speaker=labels[turn.speaker]) for turn in turns.turns)
    return Diarization(said, turns.recording), {label: who for who, label in labels.items()}
