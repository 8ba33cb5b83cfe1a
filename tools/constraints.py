"""The versions of all dependencies: what setup.cfg allows, and what constraints.txt names.

    python -m tools.constraints write              write constraints.txt, with the newest versions
    python -m tools.constraints resolve EXTRA...   print what an empty environment gets now
    python -m tools.constraints compare            exit 1 where this environment has other versions
                                                   than those on standard input

It imports the standard library alone, because it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import configparser
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
HEADER = """\
# The versions that are tested together. `make constraints` writes this file.
# CI runs with the versions of the extras cpu and dev; those of the others only resolve with them.
"""
_ITSELF = re.compile(r"avsearch\[(.+)\]")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
# Every environment has them, or ours is them.
_UNCOUNTED = {"avsearch", "pip", "setuptools", "wheel"}


def extras() -> list[str]:
    """Return the names of all extras."""
    return list(_setup()["options.extras_require"])


def requirements(chosen: Iterable[str]) -> list[str]:
    """Return the requirements of the package, of its build and of the chosen extras, each once."""
    setup = _setup()
    table = setup["options.extras_require"]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]
    base = _lines(setup["options"]["install_requires"])
    found = dict.fromkeys([*build["requires"], *base])
    waiting = list(chosen)
    while waiting:
        for line in _lines(table[waiting.pop()]):
            if others := _ITSELF.fullmatch(line):
                waiting += re.split(r"\s*,\s*", others[1])
            else:
                found[line] = None
    return list(found)


def requirement_name(requirement: str) -> str:
    """Return the normalized name of the distribution that a requirement or a pin is about."""
    match = _NAME.match(requirement)
    if match is None:
        raise ValueError(f"{requirement!r} begins with no name")
    return normalized(match[0])


def normalized(name: str) -> str:
    """Return the name of a distribution as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(text: str) -> dict[str, str]:
    """Return the version of each distribution that lines of ``name==version`` name."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pins = [line.split("==") for line in lines]
    return {normalized(name): version for name, version in pins}


def resolve(wanted: Sequence[str], constraints: Path | None = None) -> dict[str, str]:
    """Return the version of each distribution that pip installs into an empty environment.

    A new environment's own pip resolves them, because that is the pip that ``make`` uses.
    """
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True, symlinks=True)
        report = Path(folder, "report.json")
        limits = ["--constraint", str(constraints)] if constraints else []
        subprocess.run(
            [
                Path(folder, "bin", "python"), "-m", "pip", "install", "--quiet", "--dry-run",
                "--ignore-installed", "--report", report, *limits, *wanted,
            ],
            check=True,
            stdout=sys.stderr,
        )  # fmt: skip
        installed = json.loads(report.read_text("utf-8"))["install"]
    found = {
        normalized(each["metadata"]["name"]): each["metadata"]["version"] for each in installed
    }
    return dict(sorted(found.items()))


def differences(wanted: Mapping[str, str]) -> list[str]:
    """Return a sentence for each distribution that this environment has in another version."""
    found = {
        normalized(each.metadata["Name"]): each.version
        for each in importlib.metadata.distributions()
    }
    names = sorted(wanted.keys() | found.keys() - _UNCOUNTED)
    return [
        f"{name}: {found.get(name, 'nothing')} is installed, "
        f"and an empty environment gets {wanted.get(name, 'nothing')}."
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def _setup() -> configparser.ConfigParser:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    return setup


def _lines(value: str) -> list[str]:
    return value.strip().splitlines()


def _text(pins: Mapping[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in pins.items())


def main() -> None:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(prog="python -m tools.constraints")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write", help="write constraints.txt, with the newest versions")
    empty = commands.add_parser("resolve", help="print what an empty environment gets now")
    empty.add_argument("extras", nargs="+", choices=extras(), metavar="EXTRA")
    commands.add_parser("compare", help="compare this environment with standard input")
    chosen = parser.parse_args()
    if chosen.command == "write":
        CONSTRAINTS.write_text(HEADER + _text(resolve(requirements(extras()))), "utf-8")
    elif chosen.command == "resolve":
        sys.stdout.write(_text(resolve(requirements(chosen.extras), CONSTRAINTS)))
    elif other := differences(read_pins(sys.stdin.read())):
        sys.exit("\n".join(other))


if __name__ == "__main__":
    main()
