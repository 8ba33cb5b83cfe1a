"""The command line in processes that cannot import torch, beside this one, where torch embeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from avsearch.runtime import onnx_session

Done = subprocess.CompletedProcess[bytes]
TORCH = ("torch", "torchaudio", "torchvision", "facenet_pytorch", "silero_vad")
PROGRAM = """
import sys
sys.modules.update(dict.fromkeys({absent!r}))  # None there: importing them raises
from avsearch.cli import main
main()
"""
# Each takes longer to import than a question to be answered, and torch is there for other tests.
NOT_OF_A_QUERY = (*TORCH, "sqlalchemy", "alembic", "faiss", "av", "tqdm", "pandas", "scipy")
ALL = ("--want", "any", "--by", "item")


def without(absent: tuple[str, ...], *arguments: Any) -> Done:
    """Run the command line where some packages are not installed."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(absent=absent), *map(str, arguments)],
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def without_torch(*arguments: Any) -> Done:
    """Run the command line where torch is not installed."""
    return without(TORCH, *arguments)


def answer(*arguments: Any) -> Any:
    """Return its output with --json; standard error must be empty."""
    done = without_torch(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout)


@pytest.fixture
def _by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process torch runs the model; onnxruntime still finds faces and speech."""
    monkeypatch.setattr(onnx_session, "can_import", lambda package: package != "onnxruntime")


@pytest.fixture(scope="module")
def place(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the gallery, made without torch."""
    place = tmp_path_factory.mktemp("onnx") / "index"
    report = answer("index", gallery, "--index", place, "--model", "demo")
    assert (report["people"], report["faces"], report["refused"]) == (3, 3, [])
    return place


@pytest.mark.usefixtures("_by_torch")
def test_indexing_and_asking_without_torch_give_what_they_give_with_it(
    run: Callable[..., Result], place: Path, gallery: Path, voice: Path, face: Path, tmp_path: Path
) -> None:
    assert run("index", gallery, "--index", tmp_path / "i", "--model", "demo").exit_code == 0
    for file in (voice, face):
        ours = answer("query", file, "--index", place, *ALL)
        for index in (tmp_path / "i", place):  # an index made with one is asked with the other
            theirs = json.loads(run("query", file, "--index", index, *ALL, "--json").stdout_bytes)
            assert ours["query"] == theirs["query"]
            assert scores(ours) == pytest.approx(scores(theirs), abs=1e-3)


def scores(found: dict[str, Any]) -> dict[str, float]:
    """The score of each place, to a pixel and a hundredth of a second."""
    return {_place(hit): hit["score"] for hit in found["hits"]}


def _place(hit: dict[str, Any]) -> str:
    box = np.round(hit["box"] or []).tolist()
    return f"{hit['path']} {hit['start_s']:.2f} {box}"


def test_recordings_are_annotated_without_torch(place: Path, voice: Path) -> None:
    done = without_torch("annotate", voice, "--index", place, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["speakers"]


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_what_needs_torch_says_so_in_a_sentence(verb: str, place: Path, tmp_path: Path) -> None:
    arguments = {
        "train": ["--model", "adsm", "--data", tmp_path, "--out", tmp_path / "a.safetensors"],
        "evaluate": ["--index", place],
    }
    done = without_torch(verb, *arguments[verb])
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line == (
        "avsearch: this needs torch, which is not installed: pip install 'avsearch[torch]'."
    )


@pytest.mark.parametrize(
    ("verb", "file", "what"),
    [("query", "voice", "speech"), ("query", "face", "faces"), ("annotate", "voice", "speech")],
)
def test_what_needs_onnxruntime_says_so_in_a_sentence(
    verb: str, file: str, what: str, place: Path, request: pytest.FixtureRequest
) -> None:
    """Also beside torch, which finds neither faces nor speech."""
    done = without(("onnxruntime",), verb, request.getfixturevalue(file), "--index", place)
    (line,) = done.stderr.decode().splitlines()
    assert (done.returncode, line) == (
        2,
        f"avsearch: Finding {what} needs onnxruntime, which is not installed: "
        "pip install 'avsearch[search]'.",
    )


def test_a_re_ranker_says_that_it_needs_torch(place: Path, voice: Path, models: list[Path]) -> None:
    done = without_torch("query", voice, "--index", place, "--rerank", models[0])
    assert done.returncode == 2
    assert "pip install 'avsearch[torch]'" in done.stderr.decode()


@pytest.mark.parametrize("file", ["voice", "face"])
def test_a_query_imports_no_more_than_its_answer_needs(
    place: Path, file: str, request: pytest.FixtureRequest
) -> None:
    arguments = ["query", str(request.getfixturevalue(file)), "--index", str(place)]
    program = (
        "import sys; from avsearch.cli import group;"
        f"group.main({arguments!r}, standalone_mode=False);"
        f"sys.exit(' '.join({set(NOT_OF_A_QUERY)!r} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.stderr, done.returncode) == (b"", 0)
