"""Speech that a computer reads aloud: nobody's voice is needed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tools.constraints import ROOT

TEXTS = {
    "interview": "My mother worked at the mill for eleven years and walked home every evening.",
    "lecture": "The boats went out long before it was light, and came back in the afternoon.",
    "reply": "Nobody read the letters again before the house was sold to another family.",
}


@functools.cache
def _can_speak() -> bool:
    if shutil.which("ffmpeg") is None:
        return False
    filters = subprocess.run(
        ["ffmpeg", "-hide_banner", "-filters"], capture_output=True, text=True, check=True
    )
    return " flite " in filters.stdout


def require_speech() -> None:
    """Skip the test where ffmpeg is absent or cannot speak."""
    if not _can_speak():
        pytest.skip("ffmpeg with the filter flite is not installed")


def say(path: Path, voice: str, text: str) -> Path:
    """Write a sound in which a voice of flite, such as slt, awb or rms, reads a text."""
    require_speech()
    source = f"flite=voice={voice}:text='{text}'"
    command = [
        "ffmpeg",
        "-y",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-ar",
        "16000",
        "-ac",
        "1",
    ]
    subprocess.run([*command, path], check=True)
    return path


def conversation(path: Path, voices: Sequence[str]) -> list[str]:
    """Write a sound in which voices speak one after the other; return its turns as RTTM."""
    samples, lines, start = [], [], 0.0
    for at, voice in enumerate(voices):
        said, rate = soundfile.read(say(path.with_name("turn.wav"), voice, TEXTS["reply"]))
        length = len(said) / rate
        turn = f"{start:.3f} {length:.3f} <NA> <NA> SPEAKER_{at:02}"
        lines.append(f"SPEAKER {path.stem} 1 {turn} <NA> <NA>\n")
        samples.append(said)
        start += length
    path.with_name("turn.wav").unlink()
    soundfile.write(path, np.concatenate(samples), 16_000)
    return lines


def with_avsearch(folder: Path) -> dict[str, str]:
    """Return an environment in which ``avsearch`` is a command and no index is named."""
    folder.mkdir()
    command = folder / "avsearch"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m avsearch "$@"\n')
    command.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "AVSEARCH_INDEX"}
    return environment | {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
