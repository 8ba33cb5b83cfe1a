"""Import every library that extras bring, each in a process of its own.

    python -m tools.imports EXTRA...

Ends with 1, and the name and version of each library that does not load, if there is one.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from packaging.requirements import Requirement

from tools.constraints import ROOT, extras, normalized, requirements

_COMPILED = tuple(importlib.machinery.EXTENSION_SUFFIXES)
# Prints what is wrong in a sentence, where that is known; a crash has none.
_PROGRAM = f"""
import importlib, sys
sys.path.append({str(ROOT)!r})  # behind the libraries
from indexer.runtime.load_failures import load_failure
try:
    for module in sys.argv[1:]:
        importlib.import_module(module)
except Exception as error:
    sys.exit(load_failure(error) or repr(error))
"""


def installed_by(wanted: Iterable[str]) -> list[str]:
    """Return the names of the distributions that requirements bring here, sorted.

    These are the distributions themselves and all that they require in turn, for this system.

    Raises importlib.metadata.PackageNotFoundError for one that is not installed.
    """
    found = set[tuple[str, str]]()
    waiting = [Requirement(line) for line in wanted]
    while waiting:
        one = waiting.pop()
        for extra in ("", *one.extras):
            if (key := (normalized(one.name), extra)) in found:
                continue
            found.add(key)
            for line in importlib.metadata.requires(one.name) or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return sorted({name for name, _ in found})


def modules_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the modules of each distribution to import; one that has none is left out.

    These are its top-level modules, and its packages in a folder that it shares with others.
    """
    owners = importlib.metadata.packages_distributions()
    found: dict[str, list[str]] = {}
    for name in names:
        modules = [top for top in owners if name in map(normalized, owners[top])]
        shared = [top for top in modules if _is_shared(top)]
        parts = [file.parts for file in importlib.metadata.files(name) or []]
        modules += [_top(p[0]) for p in parts if len(p) == 1 and p[0].endswith(_COMPILED)]
        modules += {f"{p[0]}.{p[1]}" for p in parts if p[0] in shared and p[2:] == ("__init__.py",)}
        named = {each for each in modules if each.replace(".", "_").isidentifier()}
        if own := sorted(named.difference(shared)):
            found[name] = own
    return found


def _top(module: str) -> str:
    return module.partition(".")[0]


def _is_shared(module: str) -> bool:
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    return spec is not None and spec.origin is None


def failure_of(name: str, modules: Sequence[str]) -> str | None:
    """Return why a distribution's modules cannot be imported; None where they can."""
    # -P: a folder here must not stand in for a library of its name.
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", _PROGRAM, *modules],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    said = done.stderr.strip() or f"its import ends with {done.returncode}"
    versioned = f"{name} {importlib.metadata.version(name)}"
    return said if said.startswith(versioned) else f"{versioned}: {said}"


def main() -> None:
    """Import the libraries of the extras that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.imports")
    parser.add_argument("extras", nargs="+", choices=extras(), metavar="EXTRA")
    chosen = parser.parse_args().extras
    try:
        modules = modules_of(installed_by(requirements(chosen)))
    except importlib.metadata.PackageNotFoundError as error:
        sys.exit(f"{error.name} is not installed.")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = pool.map(failure_of, modules.keys(), modules.values())
        failures = [each for each in said if each is not None]
    if failures:
        sys.exit("\n".join(failures))
    sys.stdout.write(f"{len(modules)} libraries load.\n")


if __name__ == "__main__":
    main()
