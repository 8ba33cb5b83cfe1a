"""Real galleries, broken files, and the command line run in this process and in its own."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from PIL import Image

from avsearch.cli import group
from avsearch.models.checkpoint import save_checkpoint
from indexer.errors import AvsearchError
from tests.helpers.tiny import tiny_adsm

PEOPLE = """\
person,name,gender,nationality,accent
Actor_01,Ann One,m,Canada,North
Actor_02,Bea Two,f,Canada,South
bbaf2n,Cid Three,,,
"""


@pytest.fixture(autouse=True)
def _no_index_of_the_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AVSEARCH_INDEX", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints of models that have learnt nothing."""
    folder = tmp_path_factory.mktemp("models")
    paths = [folder / f"tiny{seed}.safetensors" for seed in range(2)]
    for seed, path in enumerate(paths):
        save_checkpoint(path, "adsm", tiny_adsm(seed), {})
    return paths


@pytest.fixture(scope="session")
def model(models: list[Path]) -> Path:
    return models[0]


@pytest.fixture(scope="session")
def gallery(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two actors with a picture and two sentences each, and one speaker in a video."""
    folder = tmp_path_factory.mktemp("media") / "gallery"
    for actor in ("Actor_01", "Actor_02"):
        source = test_data / "ravdess" / actor
        files = [source / "face.png", *sorted(source.glob("*.ogg"))[:2]]
        _copy(files, folder / actor)
    _copy((test_data / "grid" / "bbaf2n").glob("*.mpg"), folder / "bbaf2n")
    (folder / "people.csv").write_text(PEOPLE)
    return folder


@pytest.fixture
def actors(test_data: Path, tmp_path: Path) -> Path:
    """A woman and a man who are not in the training data, a picture and two sentences each."""
    for actor in ("Actor_12", "Actor_13"):
        source = test_data / "ravdess" / actor
        (tmp_path / "actors" / actor).mkdir(parents=True)
        for file in (source / "face.png", *sorted(source.glob("*.ogg"))[:2]):
            shutil.copy(file, tmp_path / "actors" / actor)
    (tmp_path / "actors" / "people.csv").write_text("person,gender\nActor_12,f\nActor_13,m\n")
    return tmp_path / "actors"


def _copy(files: Any, folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder)


@pytest.fixture(scope="session")
def indexed(gallery: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the gallery, inside its folder's working folder; tests only read it."""
    place = tmp_path_factory.mktemp("indexed")
    done = in_process(
        "index", str(gallery), "--index", str(place / ".avsearch"), "--model", str(model), "--json"
    )
    assert done.exit_code == 0, done.stderr
    return place


@pytest.fixture
def copy_of_index(indexed: Path, tmp_path: Path) -> Path:
    """A copy that may be written to."""
    return Path(shutil.copytree(indexed / ".avsearch", tmp_path / "copy"))


@pytest.fixture(scope="session")
def voice(gallery: Path) -> Path:
    return min((gallery / "Actor_01").glob("*.ogg"))


@pytest.fixture(scope="session")
def face(gallery: Path) -> Path:
    return gallery / "Actor_02" / "face.png"


def in_process(*arguments: str, input: bytes | None = None) -> Result:  # noqa: A002 of click
    """The command line in this process; errors become exit codes as in its main()."""
    result = CliRunner().invoke(group, list(arguments), input=input, prog_name="avsearch")
    if isinstance(result.exception, AvsearchError):
        result.exit_code = result.exception.exit_code
        result.stderr_bytes += f"avsearch: {result.exception}\n".encode()
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="session")
def run() -> Callable[..., Result]:
    """Run avsearch in this process."""
    return lambda *arguments, **options: in_process(*map(str, arguments), **options)


@pytest.fixture(scope="session")
def ask(run: Callable[..., Result], indexed: Path) -> Callable[..., dict[str, Any]]:
    """Query the index of the gallery; what --json prints."""

    def go(*arguments: object) -> dict[str, Any]:
        result = run("query", *arguments, "--index", indexed, "--json")
        assert result.exit_code == 0, result.stderr
        assert result.stderr == ""
        answer: dict[str, Any] = json.loads(result.stdout_bytes.decode("utf-8"))
        return answer

    return go


def in_own_process(
    *arguments: str | bytes | Path, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """``python -m avsearch``, warnings being errors, nothing on its standard input."""
    environment = {**os.environ, "PYTHONWARNINGS": "error", **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "avsearch", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        env=environment,
        **options,
    )


@pytest.fixture(scope="session")
def spawn() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run avsearch in a process of its own."""
    return in_own_process


@pytest.fixture(scope="session")
def bad_files(test_data: Path) -> Callable[[Path], dict[str, str]]:
    """Write a folder of broken files; the names and words that their refusal has."""

    def write(folder: Path) -> dict[str, str]:
        folder.mkdir(parents=True)
        picture = min((test_data / "lfw_full").glob("*/*.jpg")).read_bytes()
        return {
            **_broken_pictures(folder, picture),
            **_broken_sounds(folder),
            **_no_files(folder),
        }

    return write


def _broken_pictures(folder: Path, picture: bytes) -> dict[str, str]:
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(picture[: len(picture) // 2])
    (folder / "text.jpg").write_text("this is a text\n")
    Image.new("RGB", (200, 200), (90, 120, 200)).save(folder / "sky.png")
    (folder / "huge.png").write_bytes(_huge_png())
    return {
        "empty.jpg": "is empty; copy it again",
        "cut.jpg": "damaged or cut short",
        "text.jpg": "not an image of a known format; check",
        "sky.png": "no face found; an image that is a face crop already has to be taken whole",
        "huge.png": "60000 x 60000 pixels, more than 200 megapixels; scale it down",
    }


def _huge_png() -> bytes:
    """60,000 x 60,000 pixels of which the first are there, in less than a kilobyte."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(60_000 // 8 + 1))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def _broken_sounds(folder: Path) -> dict[str, str]:
    (folder / "page.wav").write_text("<!DOCTYPE html><html><body>404</body></html>")
    soundfile.write(folder / "silence.wav", np.zeros(32_000), 16_000)
    soundfile.write(folder / "one.wav", np.zeros(1), 16_000)
    samples = np.zeros(16_000, np.float32)
    samples[800] = np.nan
    soundfile.write(folder / "nan.wav", samples, 16_000, subtype="FLOAT")
    return {
        "page.wav": "not audio or video that can be decoded",
        "silence.wav": "no speech found; check",
        "one.wav": "too short for a voice; at least 0.1 s",
        "nan.wav": "NaN or infinite samples, the first at 0.05 s; export it again",
    }


def _no_files(folder: Path) -> dict[str, str]:
    (folder / "link.wav").symlink_to("nowhere.wav")
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")).write_bytes(b"x")
    return {
        "link.wav": "is a link to something that is not there; mend or remove it",
        "folder.wav": "is a folder",
        "pipe.wav": "is a pipe, socket or device; put a plain file",
        "caf\\xe9.wav": "has a name that is not UTF-8; rename it",
    }
