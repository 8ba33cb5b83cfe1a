"""What the scripted videos show, and when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from avsearch.annotation.turns import Turn, build_diarization
from avsearch.media.audio import read_audio
from avsearch.media.video import sample_frames
from benchmarks import annotating_videos as module
from benchmarks.conversations import Conversation

TURNS = [Turn(0.5, 2.0, "ann"), Turn(2.0, 3.0, "bob"), Turn(3.0, 4.0, "ann")]
COLOURS = {"ann": (250, 10, 10), "bob": (10, 10, 250)}


def spoken() -> Conversation:
    samples = 0.1 * np.sin(np.arange(64_000) / 20)
    return Conversation(samples.astype(np.float32), build_diarization(TURNS))


def pictures(folder: Path) -> dict[str, list[Path]]:
    for who, colour in COLOURS.items():
        Image.new("RGB", (60, 60), colour).save(folder / f"{who}.png")
    return {who: [folder / f"{who}.png"] for who in COLOURS}


def test_most_turns_show_who_speaks_some_a_listener_and_some_nobody(tmp_path: Path) -> None:
    rng, seen = np.random.default_rng(0), pictures(tmp_path)
    shown = [pair for _ in range(400) for pair in module.script(rng, spoken(), seen)]
    speaking = np.mean([path == seen[turn.speaker][0] for turn, path in shown])
    nobody = np.mean([path is None for _, path in shown])
    assert abs(nobody - module.NOBODY) < 0.04
    assert abs(speaking - (1 - module.NOBODY - module.LISTENER)) < 0.05


def test_a_video_shows_each_picture_through_its_turn_and_has_the_sound(tmp_path: Path) -> None:
    seen = pictures(tmp_path)
    shown = [(TURNS[0], seen["ann"][0]), (TURNS[1], None), (TURNS[2], seen["bob"][0])]
    path = tmp_path / "a.mp4"
    module.write_video(path, spoken(), shown)
    middles = {frame.time_s: frame.rgb[120, 160].astype(int) for frame in sample_frames(path, 0.5)}
    for time_s, pixel in middles.items():
        expected = COLOURS["ann"] if time_s < 2 else (60, 60, 60) if time_s < 3 else COLOURS["bob"]
        assert np.abs(pixel - expected).max() < 30
    assert len(middles) == 8
    assert abs(len(read_audio(path)) / 16_000 - 4) < 0.1
