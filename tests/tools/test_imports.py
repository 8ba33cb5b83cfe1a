"""Every library is imported, and one that does not load is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.distributions import install
from tools.imports import failure_of, installed_by, modules_of


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of libraries that this process and those it starts can import."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_what_is_required_in_turn_is_found(libraries: Path) -> None:
    install(libraries, "Top.Most", "1.0", {}, ["middle[more]", "absent; sys_platform == 'vms'"])
    install(libraries, "middle", "1.0", {}, ["base", "low; extra == 'more'", "no; extra == 'else'"])
    install(libraries, "base", "1.0", {})
    install(libraries, "low", "1.0", {}, ["middle"])
    assert installed_by(["top_most>=1"]) == ["base", "low", "middle", "top-most"]


def test_modules_are_those_that_can_be_imported(libraries: Path) -> None:
    files = ["a/__init__.py", "a/part.py", "b.py", "shared/a/__init__.py", "scripts/run-it.py"]
    install(libraries, "a-dist", "1.0", dict.fromkeys(files, ""))
    install(libraries, "b-dist", "1.0", {"shared/b/__init__.py": ""})
    install(libraries, "c-dist", "1.0", {})
    assert modules_of(["a-dist", "b-dist", "c-dist"]) == {
        "a-dist": ["a", "b", "shared.a"],
        "b-dist": ["shared.b"],
    }


def test_a_library_that_loads_is_not_complained_of(libraries: Path) -> None:
    install(libraries, "sound", "1.0", {"sound.py": "import warnings; warnings.warn('old')"})
    assert failure_of("sound", ["sound"]) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise OSError('/l/libb.so: undefined symbol: f')", "undefined symbol: f"),
        ("raise RuntimeError('operator b::nms does not exist')", "operator b::nms"),
        ("import not_there", "not_there"),
        ("import os; os.abort()", "ends with -6"),
        ("import sys; sys.exit('no')", "no"),
    ],
)
def test_a_library_that_does_not_load_is_named_with_its_version(
    code: str, words: str, libraries: Path
) -> None:
    install(libraries, "broken-one", "2.11.1", {"broken/__init__.py": code})
    said = failure_of("broken-one", ["broken"])
    assert said is not None
    assert said.startswith("broken-one 2.11.1")
    assert words in said


def test_it_is_named_too_where_what_it_needs_does_not_load(libraries: Path) -> None:
    install(libraries, "lower", "3.0", {"lower.py": "raise ImportError('libx.so: bad ELF')"})
    install(libraries, "upper", "1.0", {"upper.py": "import lower"}, ["lower"])
    said = failure_of("upper", ["upper"])
    assert said is not None
    assert said.startswith("upper 1.0: lower 3.0 does not load (libx.so: bad ELF)")
