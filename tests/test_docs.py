"""The examples of the docs run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import soundfile

from avsearch.media import read_audio

DOCS = Path(__file__).resolve().parents[1] / "docs"
PEOPLE = "person,name,gender\nada,Ada,f\nbob,Bob,m\n"


@pytest.fixture
def files(test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files that the examples name."""
    for key, actor in (("ada", "Actor_02"), ("bob", "Actor_01")):
        source = test_data / "ravdess" / actor
        (tmp_path / "gallery" / key).mkdir(parents=True)
        for file in (source / "face.png", *sorted(source.glob("*.ogg"))[:3]):
            shutil.copy(file, tmp_path / "gallery" / key)
    (tmp_path / "gallery" / "people.csv").write_text(PEOPLE)
    said = sorted((test_data / "ravdess" / "Actor_02").glob("*.ogg"))[4]
    for name in ("voice.wav", "talk.wav"):
        soundfile.write(tmp_path / name, read_audio(said), 16_000)
    (tmp_path / "talk.rttm").write_text("SPEAKER talk 1 0.5 2.0 <NA> <NA> SPEAKER_00 <NA> <NA>\n")
    shutil.copy(test_data / "ravdess" / "Actor_01" / "face.png", tmp_path / "portrait.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_for_python_run(files, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / "python.md").read_text(), re.M | re.S)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "python.md", "exec"), names)
    ranks = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ranks[0] == ["1", "ada"]
    assert (files / "out" / "talk.rttm").is_file()
