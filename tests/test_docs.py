"""The docs are true: examples run; files, commands and modules that are named exist."""

from __future__ import annotations

import configparser
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import soundfile

import avsearch
from avsearch.cli import group
from avsearch.media import read_audio
from tests.helpers import speech
from tools.console import examples
from tools.constraints import ROOT

DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "avsearch" / "weights").glob("*.md")]
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what was
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


def name(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_the_files_that_a_page_links_to_exist(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("package", ["indexer", "avsearch", "trainer"])
def test_the_architecture_names_the_rooms_of_a_package(package):
    page = (DOCS / "architecture.md").read_text("utf-8")
    table = page.partition(f"### {package}:")[2].partition("### ")[0]
    named = re.findall(r"`([\w/]+(?:/|\.py))`", table)
    assert [each for each in named if not (ROOT / package / each).exists()] == []
    folders = {f"{each.parent.name}/" for each in (ROOT / package).glob("*/__init__.py")}
    assert folders <= set(named)


def test_the_python_reference_has_every_public_name():
    page = (DOCS / "api.md").read_text("utf-8")
    assert [each for each in avsearch.__all__ if f":: avsearch.{each}\n" not in page] == []


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_the_modules_that_a_page_runs_exist(page):
    modules = set(re.findall(r"python -m ([\w.]+)", page.read_text("utf-8"))) - {"venv", "pip"}
    assert [each for each in sorted(modules) if importlib.util.find_spec(each) is None] == []


@pytest.mark.parametrize("page", CURRENT, ids=name)
def test_the_commands_that_a_page_names_exist(page):
    verbs = re.findall(r"(?:^(?:    |\$ )|`)avsearch ([a-z]+)", page.read_text("utf-8"), re.M)
    assert [verb for verb in verbs if verb not in group.list_commands(click.Context(group))] == []


def test_the_commands_of_the_tutorial_print_what_it_says(tmp_path):
    speech.require_speech()
    environment = speech.with_avsearch(tmp_path / "bin")
    folder = (tmp_path / "work").resolve()
    folder.mkdir()
    _compare(DOCS / "tutorial.md", folder, environment)


def test_the_commands_of_the_readme_print_what_it_says(tmp_path):
    environment = speech.with_avsearch(tmp_path / "bin")
    folder = (tmp_path / "work").resolve()
    spoken = (("ruth", "slt", "interview"), ("tom", "awb", "lecture"))
    for person, voice, title in spoken:
        (folder / "gallery" / person).mkdir(parents=True)
        speech.say(folder / "gallery" / person / f"{title}.wav", voice, speech.TEXTS[title])
    people = "person,name,gender\nruth,Ruth Aldred,f\ntom,Tom Carrick,m\n"
    (folder / "gallery" / "people.csv").write_text(people)
    speech.say(folder / "voice.wav", "slt", speech.TEXTS["reply"])
    meeting = speech.conversation(folder / "meeting.wav", ["slt", "rms", "awb"])
    (folder / "meeting.rttm").write_text("".join(meeting))
    _compare(ROOT / "README.md", folder, environment)
    (program,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S
    )
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, check=True)


def _compare(page: Path, folder: Path, environment: dict[str, str]) -> None:
    found = list(examples(page.read_text("utf-8"), folder, environment))
    assert len(found) > 4
    assert [each for each in found if not each.holds] == []


def test_the_version_is_written_once():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    assert setup["metadata"]["version"] == "attr: avsearch.__version__"
    for file in ("setup.cfg", "pyproject.toml", "CITATION.cff", "docs/conf.py"):
        assert avsearch.__version__ not in (ROOT / file).read_text("utf-8")
