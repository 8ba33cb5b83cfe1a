"""The versions in constraints.txt against what setup.cfg asks for."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tools import constraints
from tools.imports import installed_by

PINS = constraints.read_pins(constraints.CONSTRAINTS.read_text("utf-8"))
EVERYTHING = constraints.requirements(constraints.extras())


@pytest.mark.parametrize("requirement", EVERYTHING)
def test_every_dependency_has_a_version_that_is_allowed(requirement: str) -> None:
    pin = PINS[constraints.requirement_name(requirement)]
    assert Requirement(requirement).specifier.contains(pin, prereleases=True)


def test_what_the_dependencies_need_has_a_version_too() -> None:
    names = installed_by(constraints.requirements(["cpu", "dev"]))
    assert {"numpy", "typing-extensions"} < set(names)
    assert [name for name in names if name not in PINS] == []


def test_every_line_is_one_exact_version() -> None:
    assert all(
        str(Requirement(f"{name}=={pin}").specifier) == f"=={pin}" for name, pin in PINS.items()
    )
    assert "avsearch" not in PINS


def test_the_partners_of_torch_are_of_one_release() -> None:
    asked = {constraints.requirement_name(each): Requirement(each) for each in EVERYTHING}
    partners = {name: PINS[name] for name in ("torch", "torchaudio", "torchvision")}
    for name, pin in partners.items():
        assert str(asked[name].specifier) == f"=={pin}"
    torch = Version(partners["torch"])
    assert partners["torchaudio"] == partners["torch"]
    assert partners["torchvision"] == f"0.{torch.minor + 15}.{torch.micro}"


def test_extras_of_extras_are_counted_once() -> None:
    cpu = constraints.requirements(["cpu"])
    assert len(cpu) == len(set(cpu))
    assert {"click", "faiss-cpu", "torch"} <= set(map(constraints.requirement_name, cpu))
    assert not {"avsearch", "pytest"} & set(map(constraints.requirement_name, cpu))
    assert "setuptools" in map(constraints.requirement_name, constraints.requirements([]))


def test_an_environment_with_other_versions_is_told() -> None:
    found = {
        constraints.normalized(each.metadata["Name"]): each.version
        for each in importlib.metadata.distributions()
    }
    assert constraints.differences(found) == []
    numpy, click = found["numpy"], found.pop("click")
    wanted = {**found, "numpy": "1.0", "left-pad": "2.0"}
    assert constraints.differences(wanted) == [
        f"click: {click} is installed, and an empty environment gets nothing.",
        "left-pad: nothing is installed, and an empty environment gets 2.0.",
        f"numpy: {numpy} is installed, and an empty environment gets 1.0.",
    ]


def test_a_new_release_changes_what_an_empty_environment_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    write_wheel(tmp_path, "left-pad", "1.0")
    write_wheel(tmp_path, "Right.Pad", "1.0", "left-pad")
    limits = tmp_path / "limits.txt"
    limits.write_text("left-pad==1.0\n")
    assert constraints.resolve(["right-pad"]) == {"left-pad": "1.0", "right-pad": "1.0"}
    write_wheel(tmp_path, "left-pad", "1.1")
    assert constraints.resolve(["right-pad"]) == {"left-pad": "1.1", "right-pad": "1.0"}
    assert constraints.resolve(["right-pad"], limits) == {"left-pad": "1.0", "right-pad": "1.0"}


def write_wheel(folder: Path, name: str, version: str, *requires: str) -> None:
    stem = f"{name.replace('-', '_').replace('.', '_')}-{version}"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        facts = f"{stem}.dist-info"
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        wheel.writestr(f"{facts}/METADATA", head + needs)
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{facts}/WHEEL", tags)
        wheel.writestr(f"{facts}/RECORD", "")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["demo", "test", "docs", "bench"])
def test_every_installation_of_the_makefile_goes_by_the_constraints(
    target: str, tmp_path: Path
) -> None:
    said = subprocess.run(
        ["make", "--dry-run", target, f"VENV={tmp_path}"],
        cwd=constraints.ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    installs = [line for line in said.splitlines() if "pip install" in line]
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)
    assert all("isolation" in line for line in installs if "editable" in line)
    if target == "demo":
        (line,) = [line for line in installs if "editable" in line]
        chosen = line.partition("[")[2].partition("]")[0].split(",")
        wanted = set(map(constraints.requirement_name, constraints.requirements(chosen)))
        heavy = {"torch", "opencv-python-headless", "scikit-learn", "matplotlib"}
        assert not wanted & heavy
