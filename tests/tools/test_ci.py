"""CI makes its environment afresh when an empty one would get other versions."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.constraints import ROOT

# Stand in for python, which resolves and compares versions, and for make, which installs them.
PYTHON = """#!/bin/sh
case "$*" in
    --version) echo Python 3.11 ;;
    *"constraints resolve"*) cat "$STATE/versions" ;;
    *"constraints compare") exec cmp --silent - "$(dirname "$0")/installed" ;;
esac
"""
MAKE = """#!/bin/sh
echo "$1" | sed 's|.*/||' >> "$STATE/log"
case "$1" in */ready-dev)
    [ ! -e "$1" ] || exit 0
    echo "made" >> "$STATE/log"
    mkdir -p "$VENV/bin"
    cp "$STATE/versions" "$VENV/bin/installed"
    cp "$STATE/python" "$VENV/bin/python"
    touch "$VENV/ready" "$1" ;;
esac
"""

Run = Callable[[str], list[str]]


@pytest.fixture
def ci(tmp_path: Path) -> Run:
    """Run CI where the dependencies resolve to these versions; the targets that were made."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    for name, text in (("python", PYTHON), ("make", MAKE)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ,
        "AVSEARCH_CI_PAUSE": "0",
        "AVSEARCH_CI_VENVS": str(tmp_path / "venvs"),
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": str(tmp_path / "python"),
        "STATE": str(tmp_path),
    }

    def run(versions: str) -> list[str]:
        (tmp_path / "versions").write_text(versions)
        (tmp_path / "log").unlink(missing_ok=True)
        subprocess.run(["bash", ROOT / ".ci" / "run"], env=environment, check=True)
        return (tmp_path / "log").read_text().split()

    return run


def test_an_environment_is_made_once_for_each_set_of_versions(ci: Run, tmp_path: Path) -> None:
    assert ci("torch==1\n") == ["ready", "demo", "ready-dev", "made", "check", "docs", "test"]
    assert ci("torch==1\n") == ["ready", "demo", "ready-dev", "check", "docs", "test"]
    assert "made" in ci("torch==1\ntorchaudio==2\n")
    assert "made" not in ci("torch==1\n")
    assert len(list((tmp_path / "venvs").iterdir())) == 2


def test_one_that_has_other_versions_is_made_afresh(ci: Run, tmp_path: Path) -> None:
    ci("torch==1\n")
    (installed,) = (tmp_path / "venvs").glob("*/bin/installed")
    installed.write_text("torch==2\n")
    (installed.parents[1] / "left").touch()
    assert "made" in ci("torch==1\n")
    assert installed.read_text() == "torch==1\n"
    assert not (installed.parents[1] / "left").exists()


def test_one_that_is_no_longer_used_goes(ci: Run, tmp_path: Path) -> None:
    ci("torch==1\n")
    (old,) = (tmp_path / "venvs").iterdir()
    os.utime(old, (1, 1))
    ci("torch==2\n")
    assert not old.exists()


def test_it_ends_where_the_versions_cannot_be_resolved(ci: Run, tmp_path: Path) -> None:
    ci("torch==1\n")
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(subprocess.CalledProcessError):
        ci("torch==1\n")


def test_what_only_fetches_packages_is_tried_again(ci: Run, tmp_path: Path) -> None:
    failing_once = (
        'case "$*" in *resolve*)\n'
        '    [ -e "$STATE/failed" ] || { touch "$STATE/failed"; exit 1; } ;;\n'
        "esac"
    )
    (tmp_path / "python").write_text(PYTHON.replace("\n", f"\n{failing_once}\n", 1))
    assert ci("torch==1\n")[-1] == "test"
    assert (tmp_path / "failed").exists()


def test_tests_are_run_once(ci: Run, tmp_path: Path) -> None:
    make = MAKE.replace("\n", '\ncase "$1" in test) echo ran >> "$STATE/tests"; exit 1;; esac\n', 1)
    (tmp_path / "make").write_text(make)
    with pytest.raises(subprocess.CalledProcessError):
        ci("torch==1\n")
    assert (tmp_path / "tests").read_text() == "ran\n"
