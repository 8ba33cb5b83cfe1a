"""Voices that are chords, and an embedder that hears which; conversations of such voices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.turns import Turn
from avsearch.calibration import Calibration
from indexer.index import Index
from indexer.records import FileRecord, NewItem, Person, Stat
from indexer.types import Embedded, Media, Space

RATE = 16_000
BANDS = 32
EAR = Space("ear", "feedface", BANDS, "cosine")
CALIBRATIONS = {"V-V": Calibration(6.0, -3.0), "F-F": Calibration(6.0, -3.0)}
PITCHES_HZ = {"ann": 300.0, "bob": 700.0, "cyn": 1500.0, "dan": 3100.0}


def chord(who: str, seconds: float, level: float = 0.1) -> NDArray[np.float32]:
    """Somebody's voice, (n,) at 16 kHz."""
    times = np.arange(round(seconds * RATE)) / RATE
    waves = [np.sin(2 * np.pi * PITCHES_HZ[who] * factor * times) for factor in (1, 1.5)]
    return np.asarray(level * sum(waves), np.float32)


def conversation(turns: Sequence[Turn], seconds: float) -> NDArray[np.float32]:
    """The voices of turns whose speakers have these names, with a little noise."""
    samples = 0.001 * np.random.default_rng(0).standard_normal(round(seconds * RATE))
    for turn in turns:
        at, end = round(turn.start_s * RATE), round(turn.end_s * RATE)
        samples[at:end] += chord(turn.speaker, turn.end_s - turn.start_s)[: end - at]
    return samples.astype(np.float32)


class Ear:
    """The loudness of 32 bands as a vector; of a face, the colours of its quarters."""

    space = EAR

    def __init__(self) -> None:
        self.embedded = 0

    def embed(self, media: Sequence[Media]) -> Embedded:
        self.embedded += len(media)
        rows = [_heard(one) if one.modality == "voice" else _seen(one) for one in media]
        return Embedded(np.array(rows, np.float32).reshape(-1, BANDS), {})


def _heard(media: Media) -> NDArray[np.float64]:
    assert media.data is not None
    power = np.abs(np.fft.rfft(media.data.astype(np.float64))) ** 2
    edges = np.linspace(0, len(power) // 2, BANDS + 1).astype(int)
    bands = np.array([power[a : max(b, a + 1)].sum() for a, b in itertools.pairwise(edges)])
    return np.sqrt(bands)


def _seen(media: Media) -> NDArray[np.float64]:
    assert media.data is not None
    means = [part.mean((0, 1)) for part in np.array_split(media.data, 4)]
    return np.resize(np.concatenate(means) - 128, BANDS)


def index_of(folder: Path, people: Sequence[str], names: Sequence[str] = ()) -> Index:
    """An index of some of these voices, three stretches each; the caller closes it."""
    index = Index.create(folder, EAR)
    files = []
    for who in people:
        path = folder.parent / f"{who}.wav"
        media = [Media(path, "voice", data=chord(who, 1.0 + n, 0.05 * (n + 1))) for n in range(3)]
        items = [
            NewItem(who, "voice", float(n), n + 1.0, None, row)
            for n, row in enumerate(Ear().embed(media).vectors)
        ]
        asked = frozenset({(who, None, 0.0, None)})
        files.append((FileRecord(path, folder.parent, Stat(1, 1), "", "test", asked), items))
    called = {who: Person(who, name) for who, name in zip(people, names, strict=False)}
    with index.writing() as catalog, catalog.write("test") as write:
        write.put_files(files, called)
    return index
