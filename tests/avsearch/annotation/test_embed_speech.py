from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from avsearch.annotation.audio_source import open_recording
from avsearch.annotation.embed_speech import SpeechEmbedder
from avsearch.annotation.resume import SavedVectors
from avsearch.annotation.turns import Turn
from avsearch.media.speech_segments import Span
from indexer.errors import BadRequest, RefusedFile
from indexer.types import Media, Space
from tests.helpers.ears import Ear, chord, conversation

AXES = np.eye(3, dtype=np.float32)


def test_what_is_heard_is_each_stretch_whole(tmp_path: Path) -> None:
    turns = [Turn(0.5, 2, "ann"), Turn(3, 4, "bob"), Turn(4.5, 40, "ann")]
    samples = conversation(turns, 41)
    recording = open_recording({"waveform": samples, "sample_rate": 16_000})
    wanted = [("a", Span(0.5, 2)), ("b", Span(3, 4)), ("a", Span(4.5, 14.5)), ("a", Span(45, 46))]
    told: list[float] = []
    listener = SpeechEmbedder(recording, Ear(), on_progress=told.append)
    heard = list(listener.embed(wanted))
    assert [(each.speaker, each.span) for each in heard] == wanted[:3]
    assert listener.duration_s == pytest.approx(41, abs=1e-3)
    assert told == sorted(told)
    assert told[-1] == listener.duration_s
    for each, who in zip(heard, ("ann", "bob", "ann"), strict=True):
        alone = Ear().embed([Media(tmp_path, "voice", data=chord(who, 1.0))]).vectors[0]
        assert each.vector @ alone / np.linalg.norm(alone) > 0.98


@pytest.mark.parametrize(
    "waveform",
    [np.zeros((2, 32_000), np.float32), np.zeros(32_000), np.zeros(32_000, np.int16)],
)
def test_a_waveform_of_any_shape_and_numbers_is_a_recording(waveform: np.ndarray) -> None:
    recording = open_recording({"waveform": waveform, "sample_rate": 32_000, "uri": "talk"})
    assert recording.name == "talk"
    assert sum(map(len, recording.stream())) == 16_000


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32])
def test_whole_numbers_are_scaled(dtype: type) -> None:
    limits = np.iinfo(dtype)
    waveform = np.full(16_000, limits.max, dtype)
    (block,) = open_recording({"waveform": waveform, "sample_rate": 16_000}).stream()
    np.testing.assert_allclose(block, 1, atol=0.01)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (7, "a mapping with 'waveform' and 'sample_rate'; this is int"),
        ({"waveform": np.zeros(9)}, "this is dict"),
        ({"waveform": np.zeros((2, 2, 2)), "sample_rate": 16_000}, "of shape"),
        ({"waveform": np.zeros(0), "sample_rate": 16_000}, "of shape"),
        ({"waveform": np.array(["a"]), "sample_rate": 16_000}, "The waveform is"),
    ],
)
def test_what_is_no_recording_is_refused_in_a_sentence(source: object, match: str) -> None:
    with pytest.raises(BadRequest, match=match):
        open_recording(source)


@pytest.mark.parametrize(
    ("waveform", "rate", "match"),
    [
        (np.full(16_000, np.nan), 16_000, "NaN or infinite"),
        (np.zeros(10), 16_000, "too short for a voice"),
        (np.zeros(16_000), 3, "3 samples a second"),
    ],
)
def test_samples_that_cannot_be_a_voice_are_refused(
    waveform: np.ndarray, rate: int, match: str
) -> None:
    recording = open_recording({"waveform": waveform, "sample_rate": rate})
    with pytest.raises(RefusedFile, match=match):
        list(recording.stream())


SPACE = Space("ear", "feed", 3, "cosine")


def test_kept_vectors_are_there_again_after_a_stop(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    with suppress(KeyboardInterrupt), SavedVectors(path, SPACE, "a") as kept:
        assert kept.vectors == {}
        for at in range(3):
            kept.add(Span(at, at + 1), AXES[at])
        raise KeyboardInterrupt
    with suppress(KeyboardInterrupt), SavedVectors(path, SPACE, "a") as kept:
        assert list(kept.vectors) == [Span(0, 1), Span(1, 2), Span(2, 3)]
        np.testing.assert_array_equal(kept.vectors[Span(1, 2)], AXES[1])
        kept.add(Span(5, 6), AXES[0])
        raise KeyboardInterrupt
    with SavedVectors(path, SPACE, "a") as kept:
        assert len(kept.vectors) == 4
    assert not path.exists()


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_record_that_is_damaged_is_dropped_with_all_behind_it(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "kept"
    with suppress(KeyboardInterrupt), SavedVectors(path, SPACE, "a") as kept:
        for at in range(3):
            kept.add(Span(at, at + 1), AXES[at])
        raise KeyboardInterrupt
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-5]
    else:
        content[-5] ^= 1
    path.write_bytes(content)
    with suppress(KeyboardInterrupt), SavedVectors(path, SPACE, "a") as kept:
        assert list(kept.vectors) == [Span(0, 1), Span(1, 2)]
        kept.add(Span(7, 8), AXES[2])
        raise KeyboardInterrupt
    with SavedVectors(path, SPACE, "a") as kept:
        assert list(kept.vectors) == [Span(0, 1), Span(1, 2), Span(7, 8)]


def test_vectors_of_another_recording_or_model_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    for space, about in ((SPACE, "a"), (SPACE, "b"), (Space("ear", "beef", 3, "cosine"), "b")):
        with suppress(KeyboardInterrupt), SavedVectors(path, space, about) as kept:
            assert kept.vectors == {}
            kept.add(Span(0, 1), AXES[0])
            raise KeyboardInterrupt
