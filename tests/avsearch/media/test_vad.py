from __future__ import annotations

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from avsearch.media.audio import read_audio
from avsearch.media.detectors.silero import FRAME, Silero, SileroState
from avsearch.media.samples import SAMPLE_RATE
from avsearch.media.speech_segments import Span
from avsearch.media.vad import find_speech, find_speech_in_blocks, find_speech_in_stream
from indexer.errors import LibraryUnusable
from tests.helpers.making import tone


@pytest.mark.parametrize("level", [0.001, 0.01, 0.1, 0.5])
def test_noise_is_no_speech(level: float) -> None:
    noise = np.random.default_rng(0).normal(0, level, 5 * SAMPLE_RATE)
    assert find_speech(noise.astype(np.float32)) == []


def test_silence_a_hum_and_nothing_are_no_speech() -> None:
    assert find_speech(np.zeros(5 * SAMPLE_RATE, np.float32)) == []
    assert find_speech(tone(50, SAMPLE_RATE, 5)) == []
    assert find_speech(np.empty(0, np.float32)) == []


def test_speech_is_found_where_it_is(sentence: np.ndarray) -> None:
    silence = np.zeros(3 * SAMPLE_RATE, np.float32)
    turns = find_speech(np.concatenate([silence, sentence, silence]))
    end_s = 3 + len(sentence) / SAMPLE_RATE
    assert all(2.9 < turn.start_s < turn.end_s < end_s + 0.1 for turn in turns)
    assert sum(turn.duration_s for turn in turns) > 0.8


def test_speech_to_the_very_end_ends_with_the_sound(sentence: np.ndarray) -> None:
    (turn, *_) = find_speech(sentence)
    cut = sentence[: round((turn.start_s + turn.end_s) / 2 * SAMPLE_RATE)]
    assert find_speech(cut)[-1].end_s == len(cut) / SAMPLE_RATE


@pytest.mark.parametrize("size", [100, FRAME, 16_000, 1_000_000])
def test_the_cuts_of_the_blocks_do_not_matter(sentence: np.ndarray, size: int) -> None:
    sound = np.tile(sentence, 8)
    blocks = [sound[start : start + size] for start in range(0, len(sound), size)]
    assert find_speech_in_blocks(blocks) == find_speech(sound)


def seconds(turns: list[Span]) -> float:
    return sum(turn.duration_s for turn in turns)


@pytest.mark.parametrize("level", [1e-5, 1e-4, 1e-3, 0.03, 1, 1000, 32_768])
@pytest.mark.parametrize("offset", [0, 0.02])
def test_speech_of_any_level_is_found_where_it_is(
    sentence: np.ndarray, level: float, offset: float
) -> None:
    """Around zero or not."""
    sound = np.pad(np.tile(sentence, 3), 3 * SAMPLE_RATE)
    found = find_speech_in_stream(lambda: [(sound * level + offset).astype(np.float32)])
    expected = find_speech(sound)
    assert seconds(found) > 0.8 * seconds(expected)
    assert found[0].start_s == pytest.approx(expected[0].start_s, abs=0.2)
    assert found[-1].end_s == pytest.approx(expected[-1].end_s, abs=0.2)


def test_quiet_speech_behind_a_bang_is_found(sentence: np.ndarray) -> None:
    bang = np.zeros(SAMPLE_RATE * 6, np.float32)
    bang[100:200] = 1
    sound = np.concatenate([bang, 3e-4 * np.tile(sentence, 2)])
    assert seconds(find_speech_in_stream(lambda: [sound])) > 1


def test_a_sound_at_an_ordinary_level_is_heard_once(sentence: np.ndarray) -> None:
    asked = []

    def stream() -> list[np.ndarray]:
        asked.append(1)
        return [sentence]

    assert find_speech_in_stream(stream) == find_speech(sentence)
    assert len(asked) == 1


@pytest.mark.parametrize("level", [1e-5, 1e-3, 100])
def test_at_no_level_noise_silence_and_a_hum_are_speech(level: float) -> None:
    noise = np.random.default_rng(0).normal(0, level, 5 * SAMPLE_RATE).astype(np.float32)
    for sound in (noise, level * tone(50, SAMPLE_RATE, 5), np.zeros(5 * SAMPLE_RATE, np.float32)):
        assert find_speech_in_stream(lambda sound=sound: [sound]) == []


def test_speech_is_found_in_every_voice(test_data: Path) -> None:
    for folder in ("ravdess", "librispeech", "fsdd", "urdu", "nemo"):
        paths = [p for p in (test_data / folder).glob("*/*") if p.suffix in (".ogg", ".wav")]
        for path in sorted(paths)[:: len(paths) // 4]:
            assert find_speech(read_audio(path)), path


def test_the_probabilities_are_those_of_the_package(sentence: np.ndarray) -> None:
    """Also where the state is carried from block to block."""
    samples = sentence[: len(sentence) // (5 * FRAME) * 5 * FRAME]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        silero_vad = pytest.importorskip("silero_vad")
        model = silero_vad.load_silero_vad()
    theirs = model.audio_forward(torch.from_numpy(samples)[None], SAMPLE_RATE)[0]
    found, state = [], SileroState.start()
    for block in samples.reshape(5, -1):
        probabilities, state = Silero()(block, state)
        found.append(probabilities)
    np.testing.assert_allclose(np.concatenate(found), theirs, atol=1e-4)


def test_where_onnxruntime_is_missing_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(LibraryUnusable, match=r"speech .*pip install 'avsearch\[search\]'"):
        Silero()


def test_threads_share_the_network(sentence: np.ndarray) -> None:
    expected = find_speech(sentence)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(find_speech, [sentence] * 8)) == [expected] * 8
