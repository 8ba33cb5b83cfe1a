"""The programs in examples/ run, and are short."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import speech
from tools.constraints import ROOT

EXAMPLES = ROOT / "examples"
ACTORS = ("Actor_01", "Actor_02", "Actor_03", "Actor_04")


def run(program: str, *arguments: object) -> list[str]:
    """Return the lines that a program prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / program, *map(str, arguments)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def gallery(test_data: Path, tmp_path: Path) -> Path:
    """Four people with a picture and three recordings each."""
    folder = tmp_path / "gallery"
    for actor in ACTORS:
        source = test_data / "ravdess" / actor
        (folder / actor).mkdir(parents=True)
        for file in (source / "face.png", *sorted(source.glob("*.ogg"))[:3]):
            shutil.copy(file, folder / actor)
    rows = [f"{actor},{gender}\n" for actor, gender in zip(ACTORS, "mfmf", strict=True)]
    (folder / "people.csv").write_text("person,gender\n" + "".join(rows))
    return folder


@pytest.fixture
def voice(test_data: Path) -> Path:
    """Another recording of the second person."""
    return sorted((test_data / "ravdess" / "Actor_02").glob("*.ogg"))[5]


def test_every_example_is_tested_and_shorter_than_sixty_lines():
    tested = Path(__file__).read_text("utf-8")
    for program in EXAMPLES.glob("*.py"):
        assert f'"{program.name}"' in tested
        assert len(program.read_text("utf-8").splitlines()) < 60


def test_a_gallery_is_searched(gallery, voice):
    lines = run("search_gallery.py", gallery, voice)
    assert lines[0] == "4 people, 4 faces, 12 voices"
    assert {line.split()[1] for line in lines[1:3]} == {"Actor_02", "Actor_04"}  # the women


def test_a_diarization_is_named(tmp_path):
    pytest.importorskip("pyannote.core")
    for person, voice in (("ruth", "slt"), ("tom", "awb")):
        (tmp_path / "gallery" / person).mkdir(parents=True)
        speech.say(tmp_path / "gallery" / person / "1.wav", voice, speech.TEXTS["interview"])
    turns = speech.conversation(tmp_path / "talk.wav", ["awb", "slt"])
    (tmp_path / "talk.rttm").write_text("".join(turns))
    run("search_gallery.py", tmp_path / "gallery", tmp_path / "talk.wav")
    lines = run(
        "name_diarization.py", tmp_path / "gallery", tmp_path / "talk.wav", tmp_path / "talk.rttm"
    )
    assert lines[0].startswith("SPEAKER_00 is tom:")
    assert lines[1].startswith("SPEAKER_01 is ruth:")
    assert [line.split()[-1] for line in lines[2:]] == ["tom", "ruth"]


def test_a_model_is_evaluated(gallery, voice, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    run("search_gallery.py", gallery, voice)
    lines = run("evaluate_model.py", gallery, tmp_path / "out")
    assert any(line.startswith("verification V-F U: AUC 0.") for line in lines)
    assert (tmp_path / "out" / "report.html").is_file()


def test_an_encoder_of_ones_own_is_used(gallery, voice):
    lines = run("own_encoder.py", gallery, voice)
    assert [line.split(".")[0] for line in lines] == ["1", "2", "3", "4", "5"]


def test_vectors_of_another_tool_are_searched(tmp_path):
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    lines = run("other_vectors.py", tmp_path)
    assert "50 people, 250 faces, 250 voices" in lines[0]
    assert lines[1].startswith("1. person-07")
