"""The command line where a library does not load, and with no more than the demo installs."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.distributions import install
from tools.constraints import normalized, requirements
from tools.imports import installed_by, modules_of

Spawn = Callable[..., subprocess.CompletedProcess[bytes]]
UNDEFINED = "/l/lib.so: undefined symbol: f"

# None in sys.modules would do for imports, but not for libraries that look there themselves.
WITHOUT = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *where):
        absent = name in {names!r} or name.partition(".")[0] in {names!r}
        return None if absent else self.finder.find_spec(name, *where)
sys.meta_path[:] = map(Without, sys.meta_path)
from avsearch.cli import main
main()
"""


@pytest.fixture
def arguments(indexed: Path, gallery: Path, voice: Path, face: Path, tmp_path: Path) -> Any:
    """The words after ``avsearch`` of a verb that uses a library."""
    index = ("--index", str(indexed / ".avsearch"))
    return {
        "evaluate": ["evaluate", *index],
        "export": ["export", str(tmp_path / "index.parquet"), *index],
        "index": ["index", str(gallery), "--model", "demo", "--index", str(tmp_path / "new")],
        "face": ["query", str(face), *index],
        "voice": ["query", str(voice), *index],
    }


@pytest.mark.parametrize(
    ("library", "module", "verb", "kind"),
    [
        ("torch", "torch", "evaluate", "ImportError"),
        ("torchaudio", "torchaudio", "evaluate", "OSError"),
        ("pyarrow", "pyarrow", "export", "OSError"),
        ("SQLAlchemy", "sqlalchemy", "index", "ImportError"),
        ("av", "av", "index", "OSError"),
        ("pillow", "PIL", "face", "ImportError"),
        ("onnxruntime", "onnxruntime", "voice", "OSError"),
        ("soundfile", "soundfile", "voice", "OSError"),
        ("numpy", "numpy", "voice", "RuntimeError"),
    ],
)
def test_a_library_that_does_not_load_is_named_with_its_version(
    library: str, module: str, verb: str, kind: str, arguments: Any, spawn: Spawn, tmp_path: Path
) -> None:
    broken = tmp_path / "libraries"
    code = f"raise {kind}({UNDEFINED!r})"
    install(broken, library, "99.1", {f"{module}/__init__.py": code})
    path = os.pathsep.join(filter(None, [str(broken), os.environ.get("PYTHONPATH")]))
    done = spawn(*arguments[verb], env={"PYTHONPATH": path})
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"avsearch: {library.lower()} 99.1 does not load ({UNDEFINED})")
    assert "permission" not in line


@pytest.fixture(scope="session")
def slim() -> Callable[..., bytes]:
    """Run the command line with the libraries of ``make demo`` alone; what it prints."""
    needed = installed_by(requirements(["search", "parquet"]))
    found = {normalized(each.metadata["Name"]) for each in importlib.metadata.distributions()}
    absent = modules_of(sorted(found - {*needed, "avsearch", "pip", "setuptools"}))
    names = [module for modules in absent.values() for module in modules]
    assert {"torch", "cv2", "sklearn", "matplotlib", "pandas"} <= set(names)
    program = WITHOUT.format(names=names)

    def go(*arguments: Any) -> bytes:
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return go


def test_the_demo_needs_no_more_than_it_installs(
    slim: Callable[..., bytes], tmp_path: Path
) -> None:
    assert json.loads(slim("demo", "--out", tmp_path / "demo", "--json"))["shown"]


def test_nor_does_what_is_done_with_a_gallery_of_ones_own(
    slim: Callable[..., bytes], actors: Path, tmp_path: Path
) -> None:
    shown = json.loads(slim("demo", "--gallery", actors, "--out", tmp_path / "demo", "--json"))
    assert Path(shown["page"]).exists()
    place = ("--index", tmp_path / "index")
    report = json.loads(slim("index", actors, *place, "--json"))
    assert (report["people"], report["refused"]) == (2, [])
    voice, face = min((actors / "Actor_12").glob("*.ogg")), actors / "Actor_13" / "face.png"
    for file in (voice, face):
        assert json.loads(slim("query", file, *place, "--json"))["hits"]
    assert json.loads(slim("annotate", voice, *place, "--json"))["speakers"]
    turns = tmp_path / "turns.rttm"
    turns.write_text("SPEAKER voice 1 0.5 2.0 <NA> <NA> ann <NA> <NA>\n")
    slim("enrol", voice, "--rttm", turns, *place)
    slim("export", tmp_path / "all.parquet", *place)
    slim("import", tmp_path / "all.parquet", "--index", tmp_path / "other")
    slim("forget", "ann", *place)
    for verb in ("info", "verify"):
        slim(verb, *place)
